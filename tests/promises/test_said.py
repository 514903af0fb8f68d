"""What was said outside the broker is recorded as it was, releases nothing, and changes no later decision."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from broker import cases
from broker import said as broker_said
from broker.resolve import party_of, vacant
from broker.store import tables
from consent.decide import decide
from consent.terms import DecisionRequest, Party, SectionAsk
from schemas import codes
from schemas.calls import CloseRequest
from schemas.errors import HandslagError
from schemas.identifiers import authority_of
from schemas.said import SPOKEN, DisclosureRequest, SpokenDisclosure
from tests.promises.case import HOUR, PURPOSE, deliveries, ready, sent
from tests.promises.trail import trail
from tests.site import DAY, LEAD, PROBATION, Site, Unit, to_role

SPEAK = ("DISCLOSE", "ORAL_DISCUSS")
RELEASED = ("IC04", "IC06")


@pytest.fixture
async def site(tmp_path):
    site = await ready(tmp_path)
    yield site
    site.close()


def statement(site: Site, unit: Unit, **fields) -> SpokenDisclosure:
    assert unit.members is not None
    base = SpokenDisclosure(
        case_tag=unit.members.case_tag,
        member=unit.member,
        disclosure_id=os.urandom(16),
        manner="CALL",
        said_at_us=site.clock(),
        purpose=PURPOSE,
        roles=(LEAD,),
        categories=("IC04",),
        public_interest_released=RELEASED,
        consents=(),
        actor_ref="handläggare 1",
        assurance="ASSERTED",
        noted_at_us=site.clock(),
    )
    return replace(base, **fields)


def signed(unit: Unit, told: SpokenDisclosure) -> DisclosureRequest:
    raw = told.to_bytes()
    return DisclosureRequest(call_id=os.urandom(16), seat_id=unit.seat_id, statement=raw, signature=unit.seat.sign(raw))


async def say(site: Site, unit: Unit | None = None, **fields):
    unit = unit or site.police
    return await broker_said.record(site.context, unit.code, signed(unit, statement(site, unit, **fields)))


async def spoken_entries(site: Site, unit: Unit | None = None):
    found = await trail(site, (unit or site.police).seat_id)
    return [one for one in found if one.operation == "DISCLOSURE" and one.payload.event_type == SPOKEN]


async def talk(site: Site, **terms) -> bytes:
    return await site.grant(site.police, [to_role(LEAD)], ["IC04", "IC06"], [PURPOSE], actions=SPEAK, **terms)


async def test_what_a_consent_covers_is_recorded_as_covered(site):
    consent = await talk(site)
    answer = await say(site, categories=("IC04", "IC06"))
    (role,) = answer.roles
    assert (role.outcome, [s.consents for s in role.sections]) == ("RELEASED", [(consent,), (consent,)])
    (entry,) = await spoken_entries(site)
    assert (entry.outcome, entry.payload.code, entry.payload.basis) == ("RELEASED", None, "CONSENT")
    assert entry.payload.recipient_sealed is not None
    assert entry.raw.entry_id == role.entry_id
    assert await deliveries(site) == []


async def test_what_no_consent_covers_is_recorded_as_exactly_that(site):
    """Never refused for being wrong: without a consent, of another category, to a role that nobody holds."""
    await talk(site)
    answer = await say(site, categories=("IC04", "IC07"), roles=(LEAD, PROBATION, "health_care"))
    assert [role.outcome for role in answer.roles] == ["PARTIAL", "WITHHELD", "WITHHELD"]
    entries = await spoken_entries(site)
    assert [one.payload.code for one in entries] == ["HS-SAID-WITHOUT-CONSENT"] * 3
    assert "NO_HOLDER" in entries[2].payload.sections[0].reasons
    # The seat itself is told no more than a sender is: not whether anybody sits in the role.
    assert all("NO_HOLDER" not in section.reasons for section in answer.roles[2].sections)


async def test_what_is_answered_to_who_spoke_does_not_tell_whether_a_role_is_held(site):
    """Held and not held answer alike while no consent of the seat names the role; the entry says what is."""
    await talk(site)
    held = (await say(site, categories=("IC04", "IC06"), roles=(PROBATION,))).roles[0]
    request = CloseRequest(call_id=os.urandom(16), seat_id=site.probation.seat_id)
    await cases.close(site.context, site.probation.code, request)
    vacant = (await say(site, categories=("IC04", "IC06"), roles=(PROBATION,))).roles[0]
    assert (held.outcome, held.sections) == (vacant.outcome, vacant.sections)
    reasons = [one.payload.sections[0].reasons for one in await spoken_entries(site)]
    assert ["NO_HOLDER" in each for each in reasons] == [False, True]


async def test_a_consent_to_send_is_none_to_speak_and_a_letter_is_sent(site):
    await site.grant(site.police, [to_role(LEAD)], ["IC04"], [PURPOSE])
    by_phone, by_letter = await say(site), await say(site, manner="LETTER")
    assert by_phone.roles[0].sections[0].reasons == ("ACTION_NOT_COVERED",)
    assert by_letter.roles[0].outcome == "RELEASED"


async def test_a_consent_after_the_words_does_not_cover_them(site):
    said_at = site.clock()
    site.clock.us += HOUR
    await talk(site)
    assert (await say(site, said_at_us=said_at)).roles[0].sections[0].reasons == ("NOT_YET_VALID",)
    assert (await say(site)).roles[0].outcome == "RELEASED"


async def test_words_before_the_withdrawal_were_covered_and_after_it_not(site):
    consent = await talk(site)
    before = site.clock()
    site.clock.us += HOUR
    spoke = site.clock()  # the person said it then; it is noted an hour later
    site.clock.us += HOUR
    await site.act(site.police, "WITHDRAW", consent, effective_at_us=spoke)
    assert (await say(site, said_at_us=before)).roles[0].outcome == "RELEASED"
    late = await say(site, said_at_us=spoke + 1)
    assert late.roles[0].sections[0].reasons == ("WITHDRAWN",)


async def test_a_block_speaks_against_words_too(site):
    await talk(site)
    await site.act(site.police, "BLOCK", os.urandom(16), terms=_block(site))
    assert "BLOCK_IN_FORCE" in (await say(site)).roles[0].sections[0].reasons


def _block(site: Site):
    from schemas.acts import Terms

    return Terms(
        recipients=(to_role(LEAD),), categories=("IC04",), purposes=(), actions=(), valid_from_us=site.clock.us,
        reservations=(), text_version="", terms_version="", processing_acknowledged=False, given_by="SELF",
        method="WRITTEN",
    )  # fmt: skip


async def test_a_recorded_word_never_opens_what_is_sent(site):
    """Said with or without consent, the same event is decided as before."""
    for _ in range(3):
        await say(site)
    await sent(site)
    assert await deliveries(site) == []
    await site.grant(site.police, [to_role(LEAD)], list(RELEASED), [PURPOSE])  # the control: now it goes
    await sent(site)
    assert len(await deliveries(site)) == 1


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"manner": "SHOUT"}, "HS-CODE-UNKNOWN"),
        ({"categories": ()}, "HS-CODE-UNKNOWN"),
        ({"categories": ("IC99",)}, "HS-CODE-UNKNOWN"),
        ({"categories": ("IC04", "IC04")}, "HS-TOO-LARGE"),
        ({"roles": ("nobody",)}, "HS-CODE-UNKNOWN"),
        ({"case_tag": bytes(16)}, "HS-SIGNATURE-INVALID"),
        ({"member": bytes(16)}, "HS-SIGNATURE-INVALID"),
    ],
)
async def test_the_form_is_checked(site, fields, code):
    with pytest.raises(HandslagError) as refused:
        await say(site, **fields)
    assert refused.value.code == code
    assert await spoken_entries(site) == []


async def test_nothing_is_recorded_for_another_seat_or_ahead_of_time(site):
    told = signed(site.police, statement(site, site.police))
    with pytest.raises(HandslagError) as foreign:
        await broker_said.record(site.context, site.lead.code, told)
    assert foreign.value.code == "HS-SEAT-UNKNOWN"
    with pytest.raises(HandslagError) as early:
        await say(site, said_at_us=site.clock.us + DAY)
    assert early.value.code == "HS-SAID-LATER"
    forged = replace(told, signature=bytes(64))
    with pytest.raises(HandslagError) as unsigned:
        await broker_said.record(site.context, site.police.code, forged)
    assert unsigned.value.code == "HS-SIGNATURE-INVALID"


async def test_the_same_call_gets_the_same_answer_and_one_entry(site):
    request = signed(site.police, statement(site, site.police))
    first = await broker_said.record(site.context, site.police.code, request)
    assert await broker_said.record(site.context, site.police.code, request) == first
    assert len(await spoken_entries(site)) == 1


async def test_only_the_speaker_sees_it(site):
    await say(site)
    for other in (site.lead, site.probation):
        assert await spoken_entries(site, other) == []
        assert [item.kind for item in await site.fetch(other) if item.kind in {"NOTICE", "DELIVERY"}] == []
    assert len(await spoken_entries(site)) == 1


WRITTEN = {"entry", "payload", "call"}


async def everything(site: Site) -> dict[str, list]:
    """Every row of every table, but for the three that a recording writes."""

    def look(rows):
        return {
            name: sorted(map(repr, rows.gate._c.execute(select(table)).all()))
            for name, table in tables.metadata.tables.items()
            if name not in WRITTEN
        }

    return await site.store.read(look)


async def test_a_recording_writes_its_entry_and_nothing_else(site):
    await talk(site)
    await sent(site)
    before = await everything(site)
    assert before["delivery"]
    await say(site)
    await say(site, categories=("IC07",), roles=(LEAD, "provider"))
    assert await everything(site) == before
    await site.act(site.police, "WITHDRAW", next(iter(site.police.consents)))  # the control: an act writes more
    assert await everything(site) != before


# --- no sequence of recordings changes any later decision

_WORDS = st.fixed_dictionaries(
    {
        "who": st.sampled_from([0, 1, 2]),
        "roles": st.lists(st.sampled_from(sorted(codes.table()["role"])), min_size=1, max_size=3, unique=True),
        "categories": st.lists(st.sampled_from(sorted(codes.table()["category"])), min_size=1, max_size=4, unique=True),
        "manner": st.sampled_from(sorted(codes.table()["manner"])),
        "purpose": st.sampled_from(sorted(codes.table()["purpose"])),
        "back": st.integers(0, 3 * DAY),
    }
)


class _World:
    """One case with consents, a block and a withdrawal; and what would be decided about everything in it."""

    def __init__(self, folder) -> None:
        self.loop = asyncio.new_event_loop()
        self.site = self.loop.run_until_complete(self._made(folder))

    async def _made(self, folder) -> Site:
        site = await ready(folder)
        await talk(site)
        taken = await site.grant(site.police, [to_role(LEAD)], ["IC06"], ["PROTECTION"], actions=SPEAK)
        await site.act(site.police, "WITHDRAW", taken)
        await site.act(site.police, "BLOCK", os.urandom(16), terms=replace(_block(site), categories=("IC06",)))
        await sent(site)
        return site

    async def say(self, words) -> None:
        unit = (self.site.police, self.site.lead, self.site.probation)[words["who"]]
        await say(
            self.site, unit, roles=tuple(words["roles"]), categories=tuple(words["categories"]),
            manner=words["manner"], purpose=words["purpose"], said_at_us=self.site.clock.us - words["back"],
        )  # fmt: skip

    async def decisions(self) -> list:
        """Every seat to every role, sent and spoken, at one fixed moment."""
        site, found = self.site, []
        for unit in site.units.values():
            seat = await site.store.read(lambda rows, unit=unit: rows.cases.seat(unit.seat_id))
            others = await site.store.read(lambda rows, seat=seat: rows.cases.of_cases([seat.case_id]))
            view = (await site.store.read(lambda rows, seat=seat: site.context.views.of(rows, [seat])))[seat.seat_id]
            own = Party(unit.role, authority_of(unit.code), unit.code, unit.member, seat.active, True)
            holders = {other.role: other for other in others if other.active}
            for role in codes.table()["role"]:
                to = party_of(holders[role], view) if role in holders else vacant(role)
                for kind, action in ((SPOKEN, "ORAL_DISCUSS"), ("threat_assessment_completed", "DISCLOSE")):
                    asks = tuple(SectionAsk(c, (0,), True, False) for c in codes.table()["category"])
                    ask = DecisionRequest(kind, own, to, asks, PURPOSE, action, FIXED_US)
                    found.append(decide(ask, view, site.rules))
        return found


FIXED_US = 1_790_000_000_000_000 + 20 * DAY


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = _World(tmp_path_factory.mktemp("said"))
    yield made
    made.site.close()
    made.loop.close()


@given(sequence=st.lists(_WORDS, min_size=1, max_size=5))
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_sequence_of_recordings_changes_a_later_decision(world, sequence):
    async def run():
        before, rows = await world.decisions(), await everything(world.site)
        for words in sequence:
            await world.say(words)
        return before, await world.decisions(), rows, await everything(world.site)

    before, after, rows, rows_after = world.loop.run_until_complete(run())
    assert after == before
    assert rows_after == rows
    assert any(one.outcome == "PARTIAL" for one in before)  # something is open in this world
