"""Keys go on from slot to slot only under the lead's word, or its deputy's: a pure state machine, walked at random."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.membership import CaseMembers, remove_statement
from connectors.rotating import confirm_statement, rotate_statement
from connectors.slots import WEEK_US, WEEKLY, Slots
from connectors.standing import TRANSITIONS, KeyState
from schemas.checks import sha256
from schemas.errors import HandslagError
from schemas.identifiers import ZERO32
from schemas.statements import MemberStatement, SignedStatement
from tests.seals.forge import flipped
from tests.seals.world import DAY, LEAD, NOW, POLICE, PRISON, joining, lead_opening, member_id, refused, seat

WEEK = 7 * DAY
SLOTS = Slots(length_us=WEEK, offset_us=NOW)  # slot 0 starts now


class Case:
    """The statements of a case as its members make them, every slot at its first day; `view` has seen them all."""

    def __init__(self, *roles):
        opening = lead_opening(not_before_us=NOW, not_after_us=NOW + 400 * DAY)
        self.start = self.view = CaseMembers.pinned(opening, sha256(opening.statement), SLOTS)
        self.statements = []
        self.held = {LEAD: seat(LEAD)}
        for role in roles:
            joined = joining(self.view, role, not_before_us=NOW, not_after_us=NOW + 400 * DAY)
            self.held[role] = seat(role)
            self.add(joined)

    def add(self, statement):
        self.view = self.view.applied(statement)
        self.statements.append(statement)
        return statement

    def made(self, role, slot):
        """The role's next pair and the ROTATE to it."""
        seq = self.view.members[member_id(role)].seq + 1
        new = seat(f"{role} {seq}")
        at_us = NOW + slot * WEEK + DAY
        call = {"members": self.view, "member": member_id(role), "old": self.held[role], "new": new.public}
        return new, rotate_statement(**call, at_us=at_us)

    def rotate(self, role, slot):
        new, statement = self.made(role, slot)
        self.held[role] = new
        return self.add(statement)

    def word(self, role, slot, by=LEAD, keys=None):
        rotated = self.view.members[member_id(role)]
        call = {"members": self.view, "signer": member_id(by), "keys": keys or self.held[by], "rotated": rotated}
        return confirm_statement(**call, at_us=NOW + slot * WEEK + DAY)

    def confirm(self, role, slot, by=LEAD):
        return self.add(self.word(role, slot, by))

    def week(self, slot, *roles):
        """Everybody rotates, the lead first, and is confirmed."""
        self.rotate(LEAD, slot)
        for role in roles:
            self.rotate(role, slot)
            self.confirm(role, slot)

    def state(self, role, slot):
        key = self.view.members[member_id(role)]
        return self.view.state(key, NOW + slot * WEEK + 2 * DAY)

    def believed(self, role, slot):
        """Whether the role's present keys are sealed to, and its signature accepted, in a slot."""
        at_us = NOW + slot * WEEK + 2 * DAY
        held = self.held[role].public
        try:
            return self.view.holder(role, at_us).keys == held and self.view.sender(held.key_id, at_us).role == role
        except HandslagError:
            return False


def test_slots_are_weeks_that_start_at_night_in_the_week():
    start = WEEKLY.start(2900)
    assert WEEKLY.number(start) == 2900
    assert WEEKLY.number(start - 1) == 2899
    assert (start // DAY + 3) % 7 == 1  # a Tuesday: the epoch was a Thursday, which is 3 counted from Monday
    assert start % DAY == 3600 * 1_000_000
    moments = {WEEKLY.moment(2900, bytes([n])) for n in range(50)}
    assert len(moments) == 50
    assert all(start <= moment < start + WEEK_US // 4 for moment in moments)
    assert max(moments) - min(moments) > WEEK_US // 8
    assert all(0 <= WEEKLY.catch_up(2900, bytes([n])) < WEEK_US // 1024 for n in range(50))


def test_everybody_goes_on_from_slot_to_slot():
    case = Case(POLICE, PRISON)
    for slot in range(1, 5):
        case.week(slot, POLICE, PRISON)
        for role in (LEAD, POLICE, PRISON):
            assert case.believed(role, slot)
            assert case.view.disputed == frozenset()
        # What was signed in its time stays good: an event may wait for weeks.
        assert case.view.sender(seat(PRISON).key_id, NOW + 3 * DAY).role == PRISON
    assert refused(case.view.sender, seat(PRISON).key_id, NOW + 2 * WEEK)[0] == "HS-KEY-EXPIRED"


def test_a_statement_counts_in_the_slot_of_its_confirmation_and_the_next():
    case = Case(PRISON)
    assert [case.believed(PRISON, slot) for slot in range(4)] == [True, True, False, False]
    case.rotate(LEAD, 1)
    case.rotate(PRISON, 1)
    assert refused(case.view.sender, case.held[PRISON].key_id, NOW + WEEK + 2 * DAY) == (
        "HS-KEY-UNTRUSTED", "unconfirmed",
    )  # fmt: skip
    assert case.view.holder(PRISON, NOW + WEEK + 2 * DAY).keys == seat(PRISON).public
    case.confirm(PRISON, 1)
    assert [case.believed(PRISON, slot) for slot in range(1, 5)] == [True, True, False, False]
    assert refused(case.view.holder, PRISON, NOW + 3 * WEEK)[0] == "HS-KEY-EXPIRED"
    assert case.view.seated(PRISON) == member_id(PRISON)


def test_a_removal_that_is_hidden_lives_two_slots():
    case = Case(PRISON)
    remove_statement(members=case.view, lead=case.held[LEAD], member=member_id(PRISON), at_us=NOW + DAY)  # never shown
    for slot in (1, 2, 3):
        case.rotate(LEAD, slot)
        case.rotate(PRISON, slot)  # and no honest lead confirms it
    assert not case.believed(PRISON, 2)
    assert case.state(PRISON, 3) is KeyState.WAITING
    assert refused(case.view.holder, PRISON, NOW + 2 * WEEK + DAY)[0] == "HS-KEY-EXPIRED"


def test_the_word_of_an_old_lead_key_is_worth_nothing():
    case = Case(PRISON)
    case.week(1, PRISON)
    case.week(2, PRISON)
    case.rotate(LEAD, 3)
    case.rotate(PRISON, 3)
    stolen = case.word(PRISON, 3, keys=seat(LEAD))
    data = replace(MemberStatement.from_bytes(stolen.statement), not_before_us=NOW + DAY).to_bytes()
    case.add(SignedStatement(statement=data, signature=seat(LEAD).sign(data), hpke_key=None))
    assert not case.believed(PRISON, 3)
    case.confirm(PRISON, 3)
    assert case.believed(PRISON, 3)


def test_a_rotation_is_signed_by_the_key_before_and_names_its_statement():
    case = Case(PRISON)
    case.week(1, PRISON)
    _new, honest = case.made(PRISON, 2)
    said = MemberStatement.from_bytes(honest.statement)
    evil = seat("evil")

    def other(by, **changes):
        data = replace(said, **changes).to_bytes()
        return SignedStatement(statement=data, signature=by.sign(data), hpke_key=honest.hpke_key)

    held = case.held[PRISON]
    bad = {
        "rotate-signature": [other(evil), other(seat(PRISON)), replace(honest, signature=flipped(honest.signature))],
        "previous": [other(held, previous=sha256(b"another"))],
        "seq": [other(held, seq=7), other(held, invitation_hash=sha256(b"i")), other(held, seq=0)],
        "chain": [other(held, signer=member_id(LEAD)), other(held, case_tag=bytes(16))],
        "hpke-key": [replace(honest, hpke_key=evil.public.hpke)],
        "validity": [other(held, not_before_us=NOW)],
        "key-of-another": [other(held, signing_key=seat(PRISON).public.signing)],
    }
    for check, statements in bad.items():
        for statement in statements:
            assert refused(case.view.applied, statement) == ("HS-KEY-UNTRUSTED", check), check
    assert case.view.applied(honest) is not case.view


def test_a_confirmation_is_the_leads_or_the_deputys_and_of_a_rotation_that_is_there():
    case = Case(POLICE, PRISON)
    case.rotate(LEAD, 1)
    case.rotate(PRISON, 1)
    honest = case.word(PRISON, 1)
    said = MemberStatement.from_bytes(honest.statement)

    def other(by, **changes):
        data = replace(said, **changes).to_bytes()
        return SignedStatement(statement=data, signature=by.sign(data), hpke_key=None)

    lead = case.held[LEAD]
    bad = {
        "chain": [other(seat(PRISON), signer=member_id(PRISON)), other(lead, signer=member_id("nobody"))],
        "chain-signature": [other(seat("evil")), other(lead, signer=member_id(POLICE))],
        "confirmed": [
            other(lead, previous=ZERO32),
            other(lead, seq=2),
            other(lead, signing_key=seat("evil").public.signing),
        ],
    }
    for check, statements in bad.items():
        for statement in statements:
            assert refused(case.view.applied, statement) == ("HS-KEY-UNTRUSTED", check), check
    for word in (honest, case.word(PRISON, 1, by=POLICE)):
        view = case.view.applied(word)
        assert view.standing.vouched(view.members[member_id(PRISON)]) is not None


def test_one_confirmed_statement_is_enough_for_who_saw_none_before():
    case = Case(PRISON)
    case.week(1, PRISON)
    case.week(2, PRISON)
    late = case.start
    for statement in case.statements:
        said = MemberStatement.from_bytes(statement.statement)
        if said.role == LEAD:
            late = late.applied(replace(statement, hpke_key=None))  # superseded: nobody needs its HPKE key
    newest, word = case.statements[-2:]
    waiting = late.applied(newest)
    key = case.held[PRISON].key_id
    assert refused(waiting.sender, key, NOW + 2 * WEEK + 2 * DAY) == ("HS-KEY-UNTRUSTED", "unconfirmed")
    assert waiting.applied(word).holder(PRISON, NOW + 2 * WEEK + 2 * DAY).keys.key_id == key


def test_two_rotations_of_one_number_disarm_both_but_an_unsigned_one_does_not():
    for role in (PRISON, LEAD):
        case = Case(POLICE, PRISON)
        other = Case(POLICE, PRISON)
        first = case.rotate(role, 1)
        said = MemberStatement.from_bytes(first.statement)
        second_keys = seat("second")
        public = {"signing_key": second_keys.public.signing, "hpke_key_hash": second_keys.public.hpke_hash}
        data = replace(said, **public).to_bytes()
        unsigned = SignedStatement(statement=data, signature=bytes(64), hpke_key=second_keys.public.hpke)
        assert refused(case.view.applied, unsigned) == ("HS-KEY-UNTRUSTED", "rotate-signature")
        assert case.view.disputed == frozenset()
        second = replace(unsigned, signature=seat(role).sign(data))
        for order in ((first, second), (second, first)):
            view = other.view
            for statement in order:
                view = view.applied(statement)
            assert view.disputed == {member_id(role)}
            assert refused(view.holder, role, NOW + WEEK)[0] == "HS-EQUIVOCATION"
            for key in (seat(role), seat(f"{role} 1"), second_keys):
                assert refused(view.sender, key.key_id, NOW + WEEK)[0] == "HS-EQUIVOCATION"


def test_a_silent_lead_does_not_silence_the_case():
    case = Case(POLICE, PRISON)
    case.week(1, POLICE, PRISON)
    for slot in range(2, 6):  # the lead is never heard again
        case.rotate(POLICE, slot)
        case.rotate(PRISON, slot)
        case.confirm(PRISON, slot, by=POLICE)
        assert case.believed(POLICE, slot)
        assert case.believed(PRISON, slot)
    assert refused(case.view.holder, LEAD, NOW + 4 * WEEK)[0] == "HS-KEY-EXPIRED"
    # Heard again, and without a word for the deputy: it was removed, and the broker hid that.
    late = case.rotate(LEAD, 6)
    assert not case.believed(LEAD, 6)
    assert late.statement
    case.confirm(LEAD, 6, by=POLICE)
    assert case.believed(LEAD, 6)
    assert case.state(POLICE, 6) is KeyState.WAITING
    assert not case.believed(POLICE, 6)
    between = seat(f"{POLICE} 3").key_id
    assert refused(case.view.sender, between, NOW + 3 * WEEK + 2 * DAY) == ("HS-KEY-UNTRUSTED", "unconfirmed")
    case.rotate(POLICE, 6)
    case.confirm(POLICE, 6)
    assert case.believed(POLICE, 6)
    # It was the deputy all the time: what it signed meanwhile and still waits is good.
    assert case.view.sender(between, NOW + 3 * WEEK + 2 * DAY).role == POLICE
    assert refused(case.view.sender, between, NOW + 5 * WEEK)[0] == "HS-KEY-EXPIRED"


def test_a_late_lead_stands_alone_only_where_no_deputy_is_known():
    for roles, stands in (((PRISON,), True), ((POLICE, PRISON), False)):
        case = Case(*roles)
        case.rotate(LEAD, 4)
        assert case.believed(LEAD, 4) is stands
        case.rotate(LEAD, 5)  # what follows a key that does not stand does not stand either
        assert case.believed(LEAD, 5) is stands


def test_a_case_in_which_all_slept_wakes_up():
    case = Case(POLICE, PRISON)
    case.week(1, POLICE, PRISON)
    for role in (PRISON, POLICE, LEAD):
        case.rotate(role, 5)
        assert not case.believed(role, 5)
    case.confirm(LEAD, 5, by=POLICE)
    assert case.believed(LEAD, 5)
    for role in (POLICE, PRISON):
        case.confirm(role, 5)
        assert case.believed(role, 5)


def test_a_removed_member_stays_removed_whatever_it_signs():
    case = Case(POLICE, PRISON)
    case.week(1, POLICE, PRISON)
    lead, at_us = case.held[LEAD], NOW + WEEK + DAY
    remove = remove_statement(members=case.view, lead=lead, member=member_id(PRISON), at_us=at_us)
    _new, rotation = case.made(PRISON, 2)
    for order in permutations((remove, rotation)):
        view = case.view
        for statement in order:
            view = view.applied(statement)
        assert refused(view.holder, PRISON, NOW + 2 * WEEK + 2 * DAY)[0] == "HS-NO-HOLDER"
        assert all(k.role != PRISON for k in view.waiting(member_id(LEAD)))


_OPS = st.one_of(
    st.just(("slot",)),
    st.tuples(st.just("rotate"), st.sampled_from([LEAD, POLICE, PRISON])),
    st.tuples(st.just("confirm"), st.sampled_from([LEAD, POLICE, PRISON]), st.sampled_from([LEAD, POLICE])),
    st.tuples(st.just("remove"), st.sampled_from([POLICE, PRISON])),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(_OPS, max_size=14), st.randoms(use_true_random=False))
def test_every_key_follows_the_table_and_order_does_not_matter(ops, random):
    case, slot, before = Case(POLICE, PRISON), 0, {}
    for op in [*ops, ("slot",), ("slot",)]:
        match op:
            case ("slot",):
                slot += 1
            case ("rotate", role):
                if case.view.members[member_id(role)].seq < 4:
                    case.rotate(role, slot)
            case ("confirm", role, by) if role != by and case.view.members[member_id(role)].seq:
                signer = case.view.members[member_id(by)]
                may = by == LEAD or signer.member in case.view.standing.deputies
                if may and signer.covers(NOW + slot * WEEK + DAY):
                    case.confirm(role, slot, by)
            case ("remove", role):
                lead, at_us = case.held[LEAD], NOW + slot * WEEK + DAY
                if at_us <= case.view.members[member_id(LEAD)].not_after_us:
                    call = {"members": case.view, "lead": lead, "member": member_id(role)}
                    case.add(remove_statement(**call, at_us=at_us))
        at_us = NOW + slot * WEEK + 2 * DAY
        for chain in case.view.chains.values():
            for key in chain:
                now = case.view.state(key, at_us)
                was = before.get((key.member, key.seq), now)
                assert now is was or now in TRANSITIONS[was], (was, now)
                before[key.member, key.seq] = now
            # Whatever happened, nobody has two keys at once, and one that nobody vouches for is not believed.
            counting = [key for key in chain if case.view.state(key, at_us) is KeyState.COUNTS]
            assert len(counting) <= 1
            assert all(case.view.standing.vouched(key) is not None for key in counting)
    again = case.start
    keys_first = sorted(case.statements, key=lambda s: (_rank(s), random.random()))
    for statement in keys_first:
        again = again.applied(statement)
    assert again.chains == case.view.chains
    assert (again.removed, again.disputed) == (case.view.removed, case.view.disputed)


def _rank(signed):
    """Keys by number, then words for them: what a broker that forwards in order keeps to."""
    said = MemberStatement.from_bytes(signed.statement)
    return ("JOIN", "ROTATE", "CONFIRM", "REMOVE").index(said.kind), said.role != LEAD, said.seq


def test_the_table_names_every_state_and_removal_is_final():
    assert set(TRANSITIONS) == set(KeyState)
    assert TRANSITIONS[KeyState.REMOVED] == frozenset()


@pytest.mark.parametrize("length", [5_000_000, WEEK_US])
def test_a_slot_is_told_from_any_moment(length):
    slots = Slots(length, 1_000)
    for number in (0, 1, 4000):
        assert slots.number(slots.start(number)) == number
        assert slots.number(slots.start(number + 1) - 1) == number
        assert slots.start(number) < slots.deputy_from(number) < slots.start(number + 1)
