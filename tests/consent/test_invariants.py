"""The invariants of the consent ledger (consent page, "Invariants"), each a property, each with a decision it catches.

1 to 6 and 8 to 11 are properties of the pure decision, here. 7, no release without a durable entry, needs the gate:
`test_inv_7_*` in `test_model.py`. 12 has no use: there are no replicas to read from. What 5, 6 and 8 say beyond the
decision (restored stores, entries of refusals, sizes and timings) is in tests/hold, tests/promises and tests/seals.
Each runs 2,000 examples in the long tier and a tenth of them in the first (`pure.py`).
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import strategies as st

from consent.decide import decide
from consent.ledger import view_of
from schemas.identifiers import ZERO16
from tests.consent import reference
from tests.consent.generated import PLAIN_RULES, RULES, STORIES, Draw, act_of, events_of, narrowing_of, stories
from tests.consent.making import HOUR, T0, act, named, recorded, scope
from tests.consent.pure import pure

numbers = st.integers(0, 2**31)


def product(asked, notes):
    return decide(asked, view_of(events_of(notes)), RULES)


def goes(decision):
    return {place for place, section in enumerate(decision.sections) if section.released}


def last_us(notes):
    return max([T0, *(at_us for _, at_us, _ in notes)])


def without(*kinds):
    """A decision that does not see these acts."""
    return lambda asked, notes: product(asked, [one for one in notes if one[0].act not in kinds])


def blind(terms_of):
    """A decision that reads the terms of consents otherwise."""

    def decider(asked, notes):
        return product(asked, [
            (replace(one, terms=terms_of(one.terms)) if one.act in {"GRANT", "AMEND"} else one, at_us, signed)
            for one, at_us, signed in notes
        ])  # fmt: skip

    return decider


def trusting(asked, events):
    """A decision that takes a ledger for whole that cannot be followed."""
    return decide(asked, replace(view_of(events), broken=False), RULES)


def strict(asked, events):
    return decide(asked, view_of(events), RULES)


# --- each invariant as a check of one story by a decision; it raises AssertionError where the invariant does not hold


def inv_1(decider, story, number):
    """After a withdrawal nothing goes; what went before it stays lawful, asked as of then or as known then."""
    said = T0 + number % 16 * HOUR
    before = decider(story.asked, story.notes)
    end = (act("WITHDRAW_ALL", ZERO16, effective_at_us=said), last_us(story.notes), False)
    after = decider(story.asked, (*story.notes, end))
    if story.asked.at_us >= min(said, end[1]):
        assert not goes(after)
    else:  # of consents that end together by it another may now be cited
        assert [one[:3] for one in after.sections] == [one[:3] for one in before.sections]


def inv_2(decider, story, number):
    """An act that narrows, put in anywhere, once or twice, never opens; in whatever order they were noted."""
    notes = list(story.notes)
    place = number % (len(notes) + 1)
    one = (narrowing_of(number, story.family), notes[place - 1][1] if place else T0, True)
    without_it = goes(decider(story.asked, notes))
    once = goes(decider(story.asked, [*notes[:place], one, *notes[place:]]))
    assert once <= without_it
    again = [*notes[:place], one, *notes[place:], (one[0], last_us(notes), True)]
    assert goes(decider(story.asked, again)) <= once


def inv_2_parts(decider, story, number):
    """Partial withdrawals add up: in any order, and noted twice, they take the same."""
    dice = Draw(number)
    parts = [
        (act("WITHDRAW", dice.choice("AB"), effective_at_us=T0,
             scope=scope(categories=dice.some(story.family.categories), purposes=dice.some(story.family.purposes))),
         last_us(story.notes), True)
        for _ in range(3)
    ]  # fmt: skip
    mixed = [*parts, dice.choice(parts)]
    dice.shuffle(mixed)
    first = decider(story.asked, [*story.notes, *parts])
    assert first.sections == decider(story.asked, [*story.notes, *mixed]).sections


def inv_3(decider, story, _number):
    """What is released cites consents, recorded and covering by themselves; nothing cites, nothing goes."""
    found = decider(story.asked, story.notes)
    for part, section in zip(story.asked.sections, found.sections, strict=True):
        assert bool(section.grants) == section.released
        for used in section.grants:
            alone = [one for one in story.notes if one[0].consent_id == used or one[0].act not in {"GRANT", "AMEND"}]
            name = reference.reference_rules.TOLD_BY_NAME.get(story.asked.event_type)
            parts = [part, *(one for one in story.asked.sections if one.category == name)]
            parts.append(replace(part, category=name or part.category, data_from_us=None, data_until_us=None))
            noted = [reference.Noted(*one) for one in alone]
            assert used in reference.consent_ids(noted)
            each = [reference.question(PLAIN_RULES, noted, story.asked, one) for one in parts]
            assert any(not reference.reasons(one, used) for one in each)


def inv_4(decider, story, number):
    """As of t, known at k, the answer never changes, however the ledger grows."""
    then = decider(story.asked, story.notes)
    dice = Draw(number)
    known = last_us(story.notes)
    later = [(act_of(dice, story.family), known + place * HOUR, True) for place in (1, 2)]
    assert decider(story.asked, [*story.notes, *later], known) == then


def known_then(asked, notes, known_at_us=None):
    view = view_of(events_of(notes))
    return decide(asked, view if known_at_us is None else view.as_known(known_at_us), RULES)


def inv_5(decider, story, number):
    """A ledger that was restored to an earlier state and goes on has a hole: nothing goes on it, ever again."""
    events = events_of((*story.notes, *story.notes[:1]))
    lost = number % (len(events) - 1)
    whole = goes(decider(story.asked, events))
    gone = decider(story.asked, [*events[:lost], *events[lost + 1 :]])
    assert not goes(gone), whole


def inv_6(decider, story, number):
    """An act nobody knows, or that nobody can read, closes the ledger wherever it stands; so does a statute's."""
    notes = list(story.notes)
    place = number % len(notes)
    unknown = act(("FORGET", "STATUTORY_DISCLOSURE", "")[number % 3])
    assert not goes(decider(story.asked, events_of([*notes[:place], (unknown, notes[place][1], True), *notes[place:]])))
    events = events_of(notes)
    junk = b"\xff" * (number % 9)
    spoiled = recorded([(one, at_us) for one, at_us, _ in notes])
    spoiled[place] = replace(events[place], act=junk)
    assert not goes(decider(story.asked, spoiled))


def inv_8(decider, story, _number):
    """A part that is held back leaves no trace in what goes: not in its duties, its end, or what it rests on."""
    whole = decider(story.asked, story.notes)
    name = reference.reference_rules.TOLD_BY_NAME.get(story.asked.event_type)
    if not goes(whole) or any(
        one.category == name and place not in goes(whole) for place, one in enumerate(story.asked.sections)
    ):
        return
    kept = tuple(one for place, one in enumerate(story.asked.sections) if place in goes(whole))
    alone = decider(replace(story.asked, sections=kept), story.notes)
    assert [one for one in whole.sections if one.released] == list(alone.sections)
    assert (whole.holds_until_us, whole.depends_on, whole.obligations) == (
        alone.holds_until_us, alone.depends_on, alone.obligations,
    )  # fmt: skip


def inv_9(decider, story, number):
    """A section about several goes only if each of them, asked about alone, would let it go."""
    person = 1 + number % 3
    shared = replace(
        story.asked,
        sections=tuple(replace(one, persons=tuple({0, person, *one.persons})) for one in story.asked.sections),
    )
    both = goes(decider(shared, story.notes))
    assert both <= goes(decider(replace(shared, sections=tuple(
        replace(one, persons=(0,)) for one in shared.sections)), story.notes))  # fmt: skip
    consents = {one.consent_id for one, _, _ in story.notes if one.act in {"GRANT", "AMEND"} and one.terms is not None
                and person in (one.terms.about or (0,))}  # fmt: skip
    for place in both:
        assert consents & set(decider(shared, story.notes).sections[place].grants)


def inv_10(decider, story, _number):
    """A release that rests on a guardian's word has all guardians who may be asked, in office, and the child's own."""
    found, at_us = decider(story.asked, story.notes), story.asked.at_us
    for consent_id in found.depends_on:
        noted = [reference.Noted(*one) for one in story.notes]
        given = reference.terms_at(noted, reference.version_at(noted, consent_id, at_us))
        guardians = [one for one in given.givers or () if one.capacity == "GUARDIAN"]
        if not guardians and given.minor is None:
            continue
        assert given.minor is not None
        assert at_us < given.minor.reassess_at_us
        assert all(one.authority_until_us is None or at_us < one.authority_until_us for one in guardians)
        assert given.minor.child_view != "OBJECTS"
        signed = any(one.capacity == "SELF" for one in given.givers or ())
        assert signed or (given.minor.age_band == "UNDER_12" and given.minor.maturity != "SUFFICIENT")
        wanted = given.minor.guardians - given.minor.guardians_excluded
        assert len({one.person for one in guardians}) == max(wanted, 0)
        assert wanted > 0 or any(one.capacity == "SPECIAL_GUARDIAN" for one in given.givers or ())


def inv_11(decider, story, number):
    """One changed bit, in any byte of any recorded act or head, is seen."""
    events = events_of(story.notes)
    place = number % len(events)
    data = bytearray(events[place].act)
    data[number // 7 % len(data)] ^= 1 << number % 8
    head = bytearray(events[place].head)
    head[number % 32] ^= 1 << number % 8
    for changed in (replace(events[place], act=bytes(data)), replace(events[place], head=bytes(head))):
        assert not goes(decider(story.asked, [*events[:place], changed, *events[place + 1 :]]))


def plain_children(given):
    """Terms as if nobody had heard of children."""
    return replace(given, minor=None, givers=None, given_by="SELF")


def traced(asked, notes):
    """A decision whose end is that of whatever was asked, held back or not."""
    found = product(asked, notes)
    early = min((one.terms.valid_until_us or T0 for one, _, _ in notes if one.terms is not None), default=T0)
    return found if all(one.released for one in found.sections) else found._replace(holds_until_us=early)


def only_the_last(asked, notes):
    """A decision for which the newest withdrawal takes the place of those before it."""
    last = max((place for place, one in enumerate(notes) if one[0].act == "WITHDRAW"), default=None)
    return product(asked, [one for place, one in enumerate(notes) if one[0].act != "WITHDRAW" or place == last])


def cites_another(asked, notes):
    found = product(asked, notes)
    return found._replace(
        sections=tuple(one._replace(grants=(named("C"),)) if one.released else one for one in found.sections)
    )


def two_make_none(asked, notes):
    """A decision for which an act that is noted twice is as good as not noted."""
    acts = [one[0] for one in notes]
    return product(asked, [one for one in notes if one[0].act == "GRANT" or acts.count(one[0]) == 1])


EACH = {
    "1": (inv_1, product, without("WITHDRAW_ALL")),
    "2": (inv_2, product, two_make_none),
    "2-parts": (inv_2_parts, product, only_the_last),
    "3": (inv_3, product, cites_another),
    "4": (inv_4, known_then, lambda asked, notes, _known=None: known_then(asked, notes)),
    "5": (inv_5, strict, trusting),
    "6": (inv_6, strict, trusting),
    "8": (inv_8, product, traced),
    "9": (inv_9, product, lambda asked, notes: product(
        replace(asked, sections=tuple(replace(one, persons=(0,)) for one in asked.sections)), notes)),
    "10": (inv_10, product, blind(plain_children)),
    "11": (inv_11, strict, trusting),
}  # fmt: skip


@pure(stories, numbers)
def test_inv_1_nothing_goes_after_a_withdrawal(story, number):
    inv_1(product, story, number)


@pure(stories, numbers)
def test_inv_2_what_narrows_never_opens(story, number):
    inv_2(product, story, number)


@pure(stories, numbers)
def test_inv_2_partial_withdrawals_add_up(story, number):
    inv_2_parts(product, story, number)


@pure(stories, numbers)
def test_inv_3_a_release_cites_consents_in_force(story, number):
    inv_3(product, story, number)


@pure(stories, numbers)
def test_inv_4_what_was_known_then_stays_decided(story, number):
    inv_4(known_then, story, number)


@pure(stories, numbers)
def test_inv_5_a_restored_ledger_resurrects_nothing(story, number):
    inv_5(strict, story, number)


@pure(stories, numbers)
def test_inv_6_what_nobody_understands_opens_nothing(story, number):
    inv_6(strict, story, number)


@pure(stories, numbers)
def test_inv_8_what_is_held_back_leaves_no_trace(story, number):
    inv_8(product, story, number)


@pure(stories, numbers)
def test_inv_9_every_person_permits(story, number):
    inv_9(product, story, number)


@pure(stories, numbers)
def test_inv_10_a_child_with_all_who_must_give(story, number):
    inv_10(product, story, number)


@pure(stories, numbers)
def test_inv_11_any_changed_bit_is_seen(story, number):
    inv_11(strict, story, number)


@pytest.mark.parametrize("number", EACH)
def test_each_invariant_catches_a_decision_that_breaks_it(number):
    """Positive control: the property fails on some story, and only for the broken decision."""
    check, sound, broken = EACH[number]
    caught = 0
    for place, story in enumerate(STORIES):
        try:
            check(broken, story, place)
        except AssertionError:
            caught += 1
            check(sound, story, place)
            if caught == 3:
                break
    assert caught
