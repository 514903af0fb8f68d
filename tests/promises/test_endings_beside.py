"""A consent that ends while something else stands against it, and what is to be erased when it is withdrawn."""

from __future__ import annotations

import pytest

from schemas.acts import Giver, Scope
from schemas.inbox import ConsentEnded
from tests.promises.case import BOTH, deliveries, items, ready, sent, states
from tests.promises.test_consent_acts import act, given, whole
from tests.promises.test_endings import ended, received, words
from tests.promises.test_explain import suppose
from tests.promises.trail import trail
from tests.rules.force import Office, in_force
from tests.rules.ruling import CLOSED, changed
from tests.rules.test_law import shut
from tests.site import DAY, LEAD, terms_of, to_role

ERASE = ("DELETE_ON_WITHDRAWAL",)
LONG = pytest.mark.long


async def told(site, kind: str = "ENDED") -> list[tuple[str, frozenset[str]]]:
    """Code and categories of every word that waits for the lead, taken out of its inbox."""
    found = [(one.item_id, ConsentEnded.from_bytes(one.body)) for one in await words(site, kind)]
    for item_id, _word in found:
        await site.ack(site.lead, item_id)
    return [(word.code, frozenset(word.categories)) for _id, word in found]


def blocked(site, *categories: str):
    return terms_of([to_role(LEAD)], list(categories), [], (), site.clock(), None)


async def block(site) -> None:
    await act(site, "BLOCK", terms=blocked(site))
    assert await told(site) == [("BLOCK_IN_FORCE", BOTH)]


async def block_a_part(site) -> None:
    await act(site, "BLOCK", terms=blocked(site, "IC06"))
    assert await told(site) == [("BLOCK_IN_FORCE", frozenset({"IC06"}))]


async def rest_and_block(site) -> None:
    await act(site, "SUSPEND", next(iter(site.police.consents)))
    assert [code for code, _of in await told(site)] == ["SUSPENDED"]
    await act(site, "BLOCK", terms=blocked(site))
    await told(site)


async def close_a_category(site) -> None:
    await in_force(site, Office(), CLOSED)


async def close_the_pair(site) -> None:
    await in_force(site, Office(), changed(shut("social_services_lead")))
    assert await told(site) == []


AGAINST = [
    block,
    block_a_part,
    close_the_pair,
    pytest.param(close_a_category, marks=LONG),
    pytest.param(rest_and_block, marks=LONG),
]


@pytest.mark.parametrize("against", AGAINST)
async def test_a_consent_that_ends_while_something_else_stands_against_it_is_told(tmp_path, against):
    """Its recipient holds the data under it all the same; foreseen as it is done, and said once."""
    site = await ready(tmp_path)
    consent = await given(site)
    await received(site)
    await against(site)
    foreseen = await suppose(site, "WITHDRAW", consent)
    answer = await act(site, "WITHDRAW", consent)
    assert [one.received for one in answer.counts] == [1]
    assert foreseen.counts == answer.counts
    assert [(one.state, set(one.removed)) for one in foreseen.deliveries] == [("ACKED", BOTH)]
    assert await told(site) == [("WITHDRAWN", BOTH)]
    await act(site, "WITHDRAW", consent)
    await site.withdraw_case(site.police)
    assert await told(site) == []


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("AMEND", "SUPERSEDED"),
        pytest.param("GRANT", "SUPERSEDED", marks=LONG),
        pytest.param("GRANT AGAIN", "INVALIDATED", marks=LONG),
        pytest.param("EXPIRE", "EXPIRED", marks=LONG),
    ],
)
async def test_every_end_of_a_blocked_consent_is_told(tmp_path, end, code):
    site = await ready(tmp_path)
    consent = await given(site, until_event="PLACEMENT_ENDED")
    await received(site)
    await block(site)
    answer = await ended(site, end, consent)
    assert [one.received for one in answer.counts] == [1]
    # What the new terms leave is not ended by them: it is by the withdrawal after.
    less = {"AMEND", "GRANT"}
    assert await told(site) == [(code, frozenset({"IC06"}) if end in less else BOTH)]


async def test_what_goes_on_beside_a_blocked_consent_is_no_end_of_it(tmp_path):
    site = await ready(tmp_path)
    consent = await given(site)
    other = await given(site)
    await given(site, categories=("IC01",))
    await received(site)
    await block(site)
    await act(site, "WITHDRAW", consent)  # the other carries all of it
    assert await told(site) == []
    await act(site, "WITHDRAW", other, scope=Scope(recipients=(), categories=("IC06",), purposes=()))
    assert await told(site) == [("WITHDRAWN", frozenset({"IC06"}))]
    await site.withdraw_case(site.lead)
    assert await told(site) == [("WITHDRAWN", frozenset({"IC04"}))]


async def test_each_persons_own_withdrawal_is_told(tmp_path):
    """Of what concerns two, either may take it back; who did so first has not spoken for the other."""
    site = await ready(tmp_path)
    now = site.clock()
    consent = await given(site)
    relative = Giver(person=1, capacity="SELF", method="WRITTEN", at_us=now)
    theirs = await given(site, about=(1,), givers=(relative,))
    await sent(site, persons={"IC06": (0, 1)})
    [item] = [one for one in await site.fetch(site.lead) if one.kind == "DELIVERY"]
    await site.ack(site.lead, item.item_id)
    await items(site, site.police)
    assert await states(site) == ["ACKED"]
    await act(site, "WITHDRAW", theirs)
    assert await told(site) == [("WITHDRAWN", frozenset({"IC06"}))]
    await act(site, "WITHDRAW", consent)
    assert await told(site) == [("WITHDRAWN", BOTH)]
    await site.withdraw_case(site.police)
    assert await told(site) == []


async def test_the_trail_of_an_end_names_every_person_it_is_about(tmp_path):
    site = await ready(tmp_path)
    for person in (0, 1):
        own_word = Giver(person=person, capacity="SELF", method="WRITTEN", at_us=site.clock())
        await given(site, about=(person,), givers=(own_word,))
    await sent(site, persons={"IC06": (0, 1)})
    [item] = await deliveries(site)
    await site.ack(site.lead, item.item_id)
    await site.withdraw_case(site.police)
    for unit in (site.police, site.lead):
        ends = [one.payload for one in await trail(site, unit.seat_id) if one.operation == "ACK"]
        of_it = [one.sections for one in ends if one.event_type == "threat_assessment_completed"]
        assert [{section.category: section.persons for section in of} for of in of_it] == [
            {"IC04": (0,), "IC06": (0, 1)}, {"IC04": (0,), "IC06": (0, 1)},
        ]  # fmt: skip


async def by_its_date(site, consent: bytes) -> None:
    site.clock.us += 31 * DAY


async def by_an_event(site, consent: bytes) -> None:
    await act(site, "EXPIRE", ended_event="PLACEMENT_ENDED")
    assert await told(site) == [("EXPIRED", BOTH)]


async def by_other_terms(site, consent: bytes) -> None:
    await act(site, "AMEND", consent, terms=whole(site, categories=("IC01",), evidence_hash=b"e" * 32))
    assert await told(site) == [("SUPERSEDED", BOTH)]


ENDED = [by_its_date, by_an_event, pytest.param(by_other_terms, marks=LONG)]


@pytest.mark.parametrize("end", ENDED)
@pytest.mark.parametrize("duty", [ERASE, None])
async def test_what_is_to_be_erased_on_withdrawal_is_told_after_every_other_end(tmp_path, end, duty):
    """The duty waits for the person's word; without it nothing rests on that word any more, and nobody is told."""
    site = await ready(tmp_path)
    consent = await given(site, recipient_obligations=duty, until_event="PLACEMENT_ENDED")
    await received(site)
    await end(site, consent)
    part = Scope(recipients=(), categories=("IC06",), purposes=())
    await act(site, "WITHDRAW", consent, scope=part)
    assert await told(site) == ([("WITHDRAWN", frozenset({"IC06"}))] if duty else [])
    await site.withdraw_case(site.lead)  # noted by another seat
    assert await told(site) == ([("WITHDRAWN", frozenset({"IC04"}))] if duty else [])
    await act(site, "WITHDRAW", consent)
    assert await told(site) == []


async def test_the_duty_to_erase_waits_while_another_consent_covers(tmp_path):
    site = await ready(tmp_path)
    consent = await given(site, recipient_obligations=ERASE, valid_until_us=site.clock() + DAY)
    await received(site)
    other = await given(site, recipient_obligations=ERASE)
    site.clock.us += 2 * DAY
    await act(site, "WITHDRAW", consent)
    assert await told(site) == []
    await act(site, "WITHDRAW", other)
    assert await told(site) == [("WITHDRAWN", BOTH)]
