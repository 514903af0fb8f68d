"""`may-i`: this connector's own decision on its own copy, for one and for several in a room."""

from __future__ import annotations

import asyncio
import json

import pytest
from click.testing import CliRunner

from connectors import commands, executor, ledgers, spoken
from connectors.fields import shown_moment
from connectors.said_cli import connector
from connectors.spoken import Question
from connectors.stated import About
from schemas import codes
from schemas.acts import ConsentAct, LedgerEvent
from schemas.errors import HandslagError

POLICE, PROBATION = "police_coordination", "prison_probation"
ALL = tuple(codes.table()["category"])
DAY = 24 * 3600 * 1_000_000
PAST = 1_780_000_000_000_000  # some day of 2026, a whole second


def grant(world, categories=("IC08", "IC13"), actions=("ORAL_DISCUSS",), **terms) -> LedgerEvent:
    """The next grant to the police role, recorded, to speak."""
    from dataclasses import replace

    from consent.ledger import head_after

    event = world.act("GRANT", categories)
    act = ConsentAct.from_bytes(event.act)
    assert act.terms is not None
    raw = replace(act, terms=replace(act.terms, actions=actions, **terms)).to_bytes()
    _seq, head = world.ctx.spool.memory.head(world.seat.sid)
    event = replace(
        event, act=raw, signature=world.seat.keys.sign(raw),
        head=head_after(head, event.ledger_seq, raw, (), event.recorded_at_us),
    )  # fmt: skip
    ledgers.take(world.ctx, world.seat, [event])
    ledgers.confirmed(world.ctx)
    return event


def ask(world, *roles, manner="CALL", categories=ALL, purpose="THREAT_ASSESSMENT", public=frozenset(), about=None):
    question = Question(
        roles=roles or (POLICE,), purpose=purpose, manner=manner, categories=categories, public_interest=public,
        about=about or About(),
    )  # fmt: skip
    return spoken.may_i(world.ctx, world.seat, question, spoken.kept(world.ctx))


def reasons(answer, category, place=0):
    return next(s.reasons for s in answer.each[place].decision.sections if s.category == category)


async def test_what_a_consent_to_speak_covers_may_be_said(world):
    grant(world)
    answer = ask(world)
    assert answer.in_room == ("IC08", "IC13")
    assert answer.copy.fresh
    assert reasons(answer, "IC01") == ("CATEGORY_NOT_COVERED",)
    assert reasons(answer, "IC11") == ("CATEGORY_NOT_ALLOWED", "NON_WAIVABLE", "CATEGORY_NOT_COVERED")


async def test_a_consent_to_send_says_nothing_about_speaking(world):
    grant(world, actions=("DISCLOSE",))
    assert ask(world).in_room == ()
    assert reasons(ask(world), "IC13") == ("ACTION_NOT_COVERED",)
    assert ask(world, manner="LETTER").in_room == ("IC08", "IC13")


async def test_what_may_go_in_one_event_type_only_is_not_for_speaking(world):
    grant(world, categories=("IC04",))
    assert reasons(ask(world), "IC04") == ("CATEGORY_NOT_ALLOWED",)


async def test_in_a_room_only_what_everybody_may_hear(world):
    grant(world)
    both = ask(world, POLICE, PROBATION)
    assert both.in_room == ()
    assert [s.category for s in both.each[0].decision.sections if s.released] == ["IC08", "IC13"]
    assert "NO_HOLDER" in reasons(both, "IC13", place=1)  # each with its own reasons
    assert ask(world, POLICE, POLICE).in_room == ("IC08", "IC13")


async def test_a_withdrawal_noted_here_counts_at_once(world):
    event = grant(world)
    assert ask(world).something
    consent = ConsentAct.from_bytes(event.act).consent_id
    values = {"do": "withdraw", "ref": "EX-1", "consent": consent.hex()}
    executor.submit(world.ctx, commands.read(json.dumps(values).encode()))
    answer = ask(world)
    assert (answer.something, answer.stopped_here) == (False, True)
    assert reasons(answer, "IC13") == ("SENDER_WITHHELD",)


async def test_a_log_that_was_caught_lying_means_no(world):
    grant(world)
    world.ctx.witness.halt("HS-TRAIL-ROLLBACK", b"evidence", world.ctx.now())
    assert (ask(world).something, ask(world).log_stopped) == (False, True)


async def test_a_ledger_that_cannot_be_followed_means_no(world):
    grant(world)
    broken = world.act("GRANT", ("IC13",))
    from dataclasses import replace

    from consent.ledger import head_after

    raw = ConsentAct.from_bytes(broken.act)
    raw = replace(raw, act="SOMETHING_NEW").to_bytes()
    _seq, head = world.ctx.spool.memory.head(world.seat.sid)
    event = replace(
        broken, act=raw, signature=world.seat.keys.sign(raw),
        head=head_after(head, broken.ledger_seq, raw, (), broken.recorded_at_us),
    )  # fmt: skip
    ledgers.take(world.ctx, world.seat, [event])
    assert ask(world).in_room == ()
    assert "EVALUATION_ERROR" in reasons(ask(world), "IC13")


@pytest.mark.parametrize(
    "wrong", [{"purpose": "GOSSIP"}, {"manner": "SHOUT"}, {"categories": ("IC99",)}, {"public": frozenset({"IC99"})}]
)
async def test_unknown_words_are_refused(world, wrong):
    with pytest.raises(HandslagError) as caught:
        ask(world, **wrong)
    assert caught.value.code == "HS-CODE-UNKNOWN"


async def test_an_old_copy_never_answers_yes(world):
    grant(world)
    code, data = await run(world, "--offline")
    assert (code, data["answer"], data["in_room"]) == (0, "SOMETHING", ["IC08", "IC13"])
    world.ctx.spool.memory.put("ledgers_confirmed_at", (world.ctx.now() - 61_000_000).to_bytes(8, "big"))
    code, data = await run(world, "--offline")
    assert (code, data["answer"], data["copy"]["fresh"]) == (4, "STALE", False)
    assert data["copy"]["age_s"] >= 61
    code, data = await run(world)  # nothing listens at the broker's address
    assert (code, data["copy"]["trouble"]) == (4, "HS-BROKER-UNREACHABLE")


async def run(world, *more, as_json=True):
    arguments = ["may-i", "--ref", "EX-1", "--to", POLICE, "--purpose", "THREAT_ASSESSMENT", *more,
                 "--config", str(world.config)]  # fmt: skip
    if as_json:
        arguments.append("--json")
    result = await asyncio.to_thread(CliRunner().invoke, connector, arguments, catch_exceptions=False)
    return result.exit_code, json.loads(result.stdout) if as_json else result.stdout


async def test_the_trouble_is_said_first_and_every_look_is_logged(world):
    grant(world)
    before = len(world.ctx.spool.memory.readings())
    code, text = await run(world, "--actor", "handl-7", as_json=False)
    assert code == 4
    assert text.startswith("OBS: ")
    assert text.index("OBS") < text.index("Kopian") < text.index("Får sägas")
    [(_at, look)] = world.ctx.spool.memory.readings()[before:]
    assert (look["what"], look["actor"]) == ("may-i", "handl-7")
    nothing, data = await run(world, "--categories", "IC01,IC02", "--offline")
    assert (nothing, data["answer"]) == (3, "NOTHING")


async def test_whom_it_concerns_and_when_it_is_from_are_decided_on(world):
    since, until = world.ctx.now() - 40 * DAY, world.ctx.now() - 10 * DAY
    grant(world, ("IC13",), data_from_us=since, data_until_us=until)
    grant(world, ("IC08",))
    inside, outside = About((0,), since, until), About((0,), since - DAY, until)
    assert ask(world, about=inside).in_room == ("IC08", "IC13")
    for about in (About(), outside):  # data without a time, and data from before
        answer = ask(world, about=about)
        assert answer.in_room == ("IC08",)
        assert "DATA_PERIOD" in reasons(answer, "IC13")
    for persons in ((1,), (0, 1)):  # somebody else's data are not the person's own to permit
        answer = ask(world, about=About(persons, since, until))
        assert answer.in_room == ()
        assert "OTHER_SUBJECT_NO_CONSENT" in reasons(answer, "IC13")


async def test_the_command_asks_about_persons_and_times_and_says_what_it_answered(world):
    grant(world, ("IC08",))
    grant(world, ("IC13",), data_from_us=PAST - DAY, data_until_us=PAST + DAY)
    dated = ("--data-since", shown_moment(PAST), "--data-until", shown_moment(PAST + DAY))
    _code, data = await run(world, "--offline", *dated)
    assert data["in_room"] == ["IC08", "IC13"]
    assert data["decided_for"] == {"persons": [0], "data_since": dated[1], "data_until": dated[3]}
    _code, data = await run(world, "--offline", *dated, "--person", "0", "--person", "2")
    assert (data["in_room"], data["decided_for"]["persons"]) == ([], [0, 2])
    _code, text = await run(world, "--offline", as_json=False)
    assert "Avgjort för personen i ärendet (0) ensam och uppgifter utan angiven tid." in text
    _code, text = await run(world, "--offline", *dated, "--person", "2", as_json=False)
    assert f"Avgjort för person nummer 2 och uppgifter från {dated[1]} till {dated[3]}." in text
    with pytest.raises(HandslagError) as caught:
        await run(world, "--offline", "--data-since", dated[3], "--data-until", dated[1])
    assert caught.value.context == {"field": "data_until"}


# --- recording, as far as it goes without a broker


def recording(**more):
    return {"do": "record_disclosure", "ref": "EX-1", "to": [POLICE], "purpose": "PLANNING", "categories": ["IC13"],
            "manner": "CALL", **more}  # fmt: skip


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"manner": "SHOUT"}, "HS-CODE-UNKNOWN"),
        ({"categories": []}, "HS-INPUT-INVALID"),
        ({"said_at": "tomorrow at nine!"}, "HS-INPUT-INVALID"),
        ({"said_at": "2999-01-01T00:00:00Z"}, "HS-SAID-LATER"),
        ({"consents": ["0" * 36]}, "HS-IDENTIFIER-INVALID"),
        ({"text": "what was said"}, "HS-INPUT-INVALID"),
        ({"persons": {"IC08": [1]}}, "HS-INPUT-INVALID"),  # a category that was not said
        ({"persons": {"IC13": [1, 1]}}, "HS-INPUT-INVALID"),
        (
            {"data_periods": {"IC13": {"since": "2026-02-01T00:00:00Z", "until": "2026-01-01T00:00:00Z"}}},
            "HS-INPUT-INVALID",
        ),
        ({"ref": "EX-2"}, "HS-REF-UNKNOWN"),
    ],
)
async def test_the_form_of_a_recording_is_checked_at_once(world, more, code):
    with pytest.raises(HandslagError) as caught:
        executor.submit(world.ctx, commands.read(json.dumps(recording(**more)).encode()))
    assert caught.value.code == code
    assert world.ctx.spool.commands.counts() == {}


async def test_a_recording_waits_for_the_broker_and_stops_nothing(world):
    event = grant(world)
    assert event is not None
    executor.submit(world.ctx, commands.read(json.dumps(recording(note="Ringde 9.15")).encode()))
    assert world.ctx.spool.commands.counts() == {"ACCEPTED": 1}
    assert ask(world).something
    assert b"Ringde" not in world.ctx.settings.database.read_bytes()
