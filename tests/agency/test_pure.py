"""Pure rules of the connector: waiting, retry, commands, fields."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors import commands, consent_cli, fields, retry, waiting
from connectors.waiting import KEEPS_CONTENT, TRANSITIONS, OutgoingState, SectionState, Standing, Step
from schemas.errors import HandslagError
from schemas.identifiers import ZERO16, shown

CANARY = "Kanariefågel-19121212-1212"


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2026-11-22T12:00:00", "2026-11-22", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"],
)
def test_a_time_without_zone_or_beyond_the_calendar_is_named(text: str) -> None:
    with pytest.raises(HandslagError) as error:
        fields.moment(text, "as_of")
    assert (error.value.code, error.value.context) == ("HS-INPUT-INVALID", {"field": "as_of"})


@given(st.integers(min_value=1, max_value=10_000), st.floats(min_value=0, max_value=1, exclude_max=True))
def test_a_pause_stays_within_its_bounds(attempt: int, fraction: float) -> None:
    assert 0 <= retry.delay_s(attempt, fraction) <= retry.CEILING_S


def test_pauses_double_until_the_ceiling_and_retry_after_is_a_floor() -> None:
    spans = [retry.delay_s(attempt, 0.999999) for attempt in range(1, 12)]
    assert all(later >= earlier for earlier, later in itertools.pairwise(spans))
    assert spans[1] / spans[0] == pytest.approx(2)
    assert retry.delay_s(1, 0.0, retry_after_s=7) == 7
    assert retry.delay_s(1, 0.0) == 0


def test_only_what_the_registry_calls_retriable_is_tried_again() -> None:
    assert retry.again(HandslagError("HS-BROKER-UNREACHABLE"))
    assert not retry.again(HandslagError("HS-SIGNATURE-INVALID"))


def test_every_walk_through_the_states_of_an_event_ends() -> None:
    for start in OutgoingState:
        for to in OutgoingState:
            if to in TRANSITIONS[start]:
                assert waiting.moved(start, to) is to
            else:
                with pytest.raises(HandslagError) as caught:
                    waiting.moved(start, to)
                assert caught.value.code == "HS-STATE-INVALID"
    reached, frontier = {OutgoingState.ACCEPTED}, {OutgoingState.ACCEPTED}
    while frontier:
        frontier = {to for state in frontier for to in TRANSITIONS[state]} - reached
        reached |= frontier
    assert reached == set(OutgoingState)
    # What keeps no content any more is final, and the other way round.
    assert {state for state in OutgoingState if not TRANSITIONS[state]} == set(OutgoingState) - KEEPS_CONTENT


@pytest.mark.parametrize(
    ("states", "where"),
    [
        ([SectionState.ACKED, SectionState.OPEN], OutgoingState.WAITING),
        ([SectionState.ACKED, SectionState.LIVE], OutgoingState.DECIDED),
        ([SectionState.ACKED, SectionState.REJECTED, SectionState.LAPSED], OutgoingState.DONE),
    ],
)
def test_an_event_stands_where_its_slowest_section_stands(states: list[SectionState], where: OutgoingState) -> None:
    assert waiting.settled(states) is where


def test_a_withheld_event_goes_again_only_fresh_uncontested_and_covered() -> None:
    def said(now: int, *, covered: bool, overtaken: bool) -> Step:
        return waiting.step(Standing(shelf_until_us=100, newly_covered=covered, later_same_type=overtaken), now)

    assert said(100, covered=True, overtaken=False) is Step.SEND_AGAIN
    assert said(100, covered=False, overtaken=False) is Step.KEEP
    assert said(101, covered=True, overtaken=False) is Step.ASK_A_PERSON
    assert said(50, covered=True, overtaken=True) is Step.ASK_A_PERSON


def test_shelf_life_is_the_events_own_else_the_types() -> None:
    hour = 3_600_000_000
    assert waiting.shelf_until_us("custody_status_changed", 0, None) == 72 * hour
    assert waiting.shelf_until_us("support_requested", 0, None) == 336 * hour
    assert waiting.shelf_until_us("support_requested", 0, 5) == 5


def test_life_safety_sentence() -> None:
    for code in ("delivery_overdue", "delivery_expired"):
        told = waiting.warning(code, "threat_assessment_completed")
        assert told is not None
        assert told["en"] == "NOT DELIVERED. Phone. In danger: 112."
        assert "112" in told["sv"]
        assert waiting.warning(code, "coordination_meeting_scheduled") is None
    assert waiting.warning("delivery_acknowledged", "threat_assessment_completed") is None


SEND = {
    "do": "send",
    "ref": "EX-1",
    "event_type": "threat_assessment_requested",
    "to": ["police_coordination"],
    "purpose": "THREAT_ASSESSMENT",
    "data": {"reason_code": "EXIT_WISH", "urgency": "ACUTE", "known_facts": [], "answer_by": "2026-12-01"},
}


def test_a_command_is_read() -> None:
    command = commands.read(json.dumps(SEND).encode())
    assert isinstance(command, commands.Send)
    assert command.to == ["police_coordination"]


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({CANARY: 1}, "HS-INPUT-INVALID", "unknown field"),
        ({"to": [CANARY]}, "HS-INPUT-INVALID", "to"),
        ({"to": ["nobody"]}, "HS-CODE-UNKNOWN", "to"),
        ({"do": CANARY}, "HS-INPUT-INVALID", "do"),
        ({"purpose": "PARTY"}, "HS-CODE-UNKNOWN", "purpose"),
        ({"event_type": "case_closed"}, "HS-NOT-YET", "event_type"),
        ({"event_type": "seat_invited"}, "HS-INPUT-INVALID", "event_type"),
        ({"valid_until": "2026-11-11T11:11:11"}, "HS-INPUT-INVALID", "valid_until"),
        ({"valid_until": "not a time at all"}, "HS-INPUT-INVALID", "valid_until"),
        ({"data": {CANARY: CANARY}}, "HS-PAYLOAD-REJECTED", "unknown field"),
        ({"data": {"urgency": CANARY}}, "HS-PAYLOAD-REJECTED", "urgency"),
        ({"data": {"answer_by": CANARY}}, "HS-PAYLOAD-REJECTED", "answer_by"),
        ({"data": {"family_affected_count": True}}, "HS-PAYLOAD-REJECTED", "family_affected_count"),
        ({"in_reply_to": "0" * 35 + "-"}, "HS-IDENTIFIER-INVALID", "identifier"),
    ],
)
def test_a_wrong_command_is_refused_by_field_and_repeats_nothing(change: dict, code: str, field: str) -> None:
    with pytest.raises(HandslagError) as caught:
        commands.read(json.dumps({**SEND, **change}).encode())
    assert (caught.value.code, caught.value.context["field"]) == (code, field)
    assert CANARY not in str(caught.value)
    assert CANARY not in caught.value.diagnostics("sv")


def test_a_grant_by_another_than_the_person_does_not_exist_yet() -> None:
    grant = {
        "do": "grant", "ref": "EX-1", "recipients": [{"role": "police_coordination"}], "categories": ["IC04"],
        "purposes": ["PROTECTION"], "valid_until": "2027-01-01T00:00:00Z", "text_version": "1", "terms_version": "1",
        "processing_acknowledged": True, "method": "WRITTEN", "given_by": "GUARDIAN",
    }  # fmt: skip
    with pytest.raises(HandslagError) as caught:
        commands.read(json.dumps(grant).encode())
    assert caught.value.code == "HS-NOT-YET"


def test_fields_come_back_as_they_went_in() -> None:
    data = {"status": "FRIGIVEN", "custody_authority": "KV", "effective_date": "2026-12-24", "institution": None}
    assert fields.to_json(fields.from_json("custody_status_changed", data)) == data
    meeting = {"at": "2026-12-24T13:00:00Z", "mode": "DIGITAL", "meeting_id": "m", "agenda_codes": ["HOUSING"]}
    assert fields.to_json(fields.from_json("coordination_meeting_scheduled", meeting)) == meeting


def test_deep_input_is_refused() -> None:
    deep: object = "x"
    for _ in range(5_000):
        deep = [deep]
    with pytest.raises(HandslagError):
        fields.from_json("threat_assessment_requested", {"known_facts": [deep]})


@pytest.mark.parametrize("failures", [1, 2, 3])
def test_a_rare_task_that_failed_is_tried_again_soon(failures):
    assert retry.pause_s(60.0, failures, 0.999) <= retry.FLOOR_S
    assert retry.pause_s(0.2, failures, 0.0) == 0.2
    assert retry.pause_s(2.0, 40, 0.999) > 50


def test_what_stands_and_the_history_are_told_in_the_language_asked_for() -> None:
    row = {"consent": "A", "in_force": False, "recipients": ["POL/X", "police_coordination"], "origin": "OWN"}
    row |= {"follows_role": ["police_coordination"], "categories": ["IC04"]}
    data = {"as_of": "2026-11-22T12:00:00Z", "ledger_seq": 3}
    block = {"block": "B", "in_force": True}
    assert consent_cli._standing(data, [row], [block], "sv") == [
        "Läget 2026-11-22T12:00:00Z, liggarens nummer 3:",
        "  A  gäller inte  till POL/X, polisens avhopparsamordning (den som har rollen): IC04 hotbild",
        "  spärr B  gäller",
    ]
    assert consent_cli._standing(data, [], [], "en")[1] == "  no consent was recorded"
    act = {"ledger_seq": 2, "recorded_at": "2026-11-22T12:00:00Z", "act": "WITHDRAW_ALL", "consent": shown(ZERO16)}
    assert consent_cli._act_line(act, "sv") == "   2  2026-11-22T12:00:00Z  WITHDRAW_ALL  återkallelse av allt"
    assert consent_cli._act_line({**act, "act": "NEW"}, "en").endswith("NEW           NEW")
