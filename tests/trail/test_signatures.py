"""With keys of seats and units: an operator cannot write a consent nobody gave, nor a decision nobody asked for."""

from dataclasses import replace
from hashlib import sha256

import pytest

from audit.anchors import Anchors, units_read, units_written
from audit.entry import Draft
from audit.verify_rules import broken_in_payload
from schemas.acts import CaseWithdrawal
from schemas.errors import HandslagError
from schemas.identifiers import ZERO16
from schemas.statements import MemberStatement
from schemas.trail import Payload
from tests.consent.making import HOUR, T0, act, ask, named, recorded, request
from tests.trail import signing
from tests.trail.signing import AGENCY, ROLE, SEAT, STRANGER, UNIT, anchors, public
from tests.trail.test_decisions import GRANT, WITHDRAW, Case, hit
from tests.trail.test_decisions import SEAT as SEAT_ID

OPENING, WRITE = signing.opening, Case._write
EVERYTHING = act("WITHDRAW_ALL", ZERO16, noted_at_us=T0 + 2 * HOUR)


@pytest.fixture
def case(tmp_path):
    return Case(tmp_path / "case.db")


def first(report):
    one = report.first()
    return one.check, one.part


def test_a_true_story_is_checked_to_the_last_signature(case):
    case.act(GRANT, 0)
    decided, _ = case.decide("e1", 1)
    case.disclose(decided, 2)
    case.act(EVERYTHING, 3, [hit("e1", 1, 2)])
    report = case.report()
    assert report.findings == []
    assert (report.signatures, report.evidence) == (2, 1)
    assert "unsigned-withdrawal" in report.not_shown
    assert not {"units", "seat-key", "sender-signature", "lead"} & set(report.not_shown)


@pytest.mark.parametrize(
    ("how", "part"),
    [
        ({"by": STRANGER}, "signature"),  # written by whoever holds the broker
        ({"act_signature": SEAT.sign(b"something else")}, "signature"),
    ],
)
def test_a_consent_that_the_seat_did_not_sign_is_named(case, how, part):
    number = case.act(GRANT, 0, **how)
    case.decide("e1", 1)
    report = case.report()
    assert first(report) == ("act-signature", part)
    assert report.first().number == number


def test_a_withdrawal_of_one_consent_needs_the_signature_too(case):
    case.act(GRANT, 0)
    case.act(WITHDRAW, 1, by=STRANGER)
    assert first(case.report()) == ("act-signature", "signature")


def test_an_unsigned_grant_is_named(case):
    # Under the id that marks the broker's own act, the one kind of act that may stand unsigned.
    case.timed.append((replace(GRANT, consent_id=ZERO16), T0))
    event = recorded(case.timed)[-1]
    payload = Payload(seat_id=SEAT_ID, ledger_seq=1, act=event.to_bytes(), affected=(), sections=())
    case._write("CONSENT_EVENT", payload, T0)
    assert ("act-signature", "unsigned") in {(one.check, one.part) for one in case.report().findings}


@pytest.mark.parametrize(
    ("change", "part"), [({"member": named("other")}, "member"), ({"case_tag": bytes(16)}, "case")]
)
def test_an_act_of_another_seat_is_named(case, change, part):
    case.act(replace(GRANT, **change), 0)
    assert ("act-signature", part) in {(one.check, one.part) for one in case.report().findings}


def noted(**changes):
    return CaseWithdrawal(
        **{
            "case_tag": named("case"), "recorder": named(signing.ROLE), "withdrawal_id": bytes(16),
            "effective_at_us": None, "method": "ORAL_DOCUMENTED", "actor_ref": "h-1", "assurance": "ASSERTED",
            "noted_at_us": T0, **changes,
        }
    ).to_bytes()  # fmt: skip


@pytest.mark.parametrize(
    ("withdrawal", "signature", "part"),
    [
        (noted(), SEAT.sign(noted()), None),
        (noted(), STRANGER.sign(noted()), "signature"),
        (noted(recorder=named("other")), SEAT.sign(noted(recorder=named("other"))), "case-withdrawal"),
        (noted(effective_at_us=T0 - HOUR), SEAT.sign(noted(effective_at_us=T0 - HOUR)), "case-withdrawal"),
        (None, SEAT.sign(noted()), "case-withdrawal"),
    ],
)
def test_the_noting_seats_own_withdrawal_bears_its_signature(case, withdrawal, signature, part):
    case.act(GRANT, 0)
    case.act(EVERYTHING, 2, case_withdrawal=withdrawal, act_signature=signature)
    found = case.report().findings
    assert [(one.check, one.part) for one in found] == ([] if part is None else [("act-signature", part)])


def test_a_replaced_key_is_named_though_its_forger_signed_everything_with_it(tmp_path, monkeypatch):
    # The forger has the seat's key statement and every act made anew; the unit's bundle bears the true seat's word.
    monkeypatch.setattr(signing, "opening", lambda seat: OPENING(seat, STRANGER))
    case = Case(tmp_path / "case.db")
    case.act(GRANT, 0, by=STRANGER)
    case.decide("e1", 1)
    assert first(case.report()) == ("seat-key", "unproven")


def test_the_connectors_own_key_tells_a_replaced_one_without_any_event(case):
    case.act(GRANT, 0)
    assert case.report(anchors=replace(anchors(), seats={SEAT_ID: public(SEAT)})).findings == []


def test_the_connectors_own_key_contradicts(case):
    case.act(GRANT, 0)
    report = case.report(anchors=replace(anchors(), seats={SEAT_ID: public(STRANGER)}))
    assert first(report) == ("seat-key", "other")


def test_a_key_statement_that_does_not_hold_is_named(case):
    forged = OPENING(SEAT_ID, STRANGER, by=SEAT)
    number = case._write("KEY_STATEMENT", forged, T0)
    found = {(one.check, one.part, one.number) for one in case.report().findings}
    assert {("seat-key", "open", number), ("seat-key", "two", number)} <= found


def test_acts_without_any_key_statement_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(Case, "_write", lambda *a, **k: None if a[1] == "KEY_STATEMENT" else WRITE(*a, **k))
    case = Case(tmp_path / "case.db")
    case.act(GRANT, 0)
    assert first(case.report()) == ("seat-key", "none")


ASKED = request(sections=(ask("IC12"), ask("IC13")), at_us=T0 + HOUR)


def proof(event="e1", asked=ASKED, **how):
    return signing.evidence(SEAT_ID, named(event), asked, **how)


@pytest.mark.parametrize(
    ("shown", "part"),
    [
        (proof(unit=STRANGER), "unit-signature"),
        (proof("e2"), "event_id"),  # foreign evidence: genuine, of another event
        (proof(asked=replace(ASKED, purpose="FOLLOW_UP")), "purpose"),
        (proof(asked=replace(ASKED, event_type="support_requested")), "event_type"),
        (proof(asked=replace(ASKED, sections=(ask("IC12"), ask("IC04")))), "sections"),
        (proof(asked=replace(ASKED, sections=(ask("IC12"), ask("IC13", persons=(0, 1))))), "sections"),
        (proof(origin="another.example/audit"), "origin"),
        (proof(sent_at_us=T0 + 2 * HOUR), "decided_at"),
        (replace(proof(), path=(bytes(32), bytes(32))), "path"),
        (replace(proof(), index=0), "path"),
        (replace(proof(), attempt_hash=b"a" * 32), "path"),
        (replace(proof(), core=proof("e2").core), "core"),
        (replace(proof(), digests=bytes(1024)), "digests"),
        (replace(proof(), routing_item=b"x"), "routing"),
        (replace(proof(), bundle=b"\xc3\x01"), "form"),
        (signing.evidence(named("elsewhere"), named("e1"), ASKED), "seat_id"),
    ],
)
def test_evidence_of_something_else_is_named(case, shown, part):
    case.act(GRANT, 0)
    _, number = case.decide("e1", 1, evidence=shown)
    found = {(one.check, one.part, one.number) for one in case.report().findings}
    assert ("evidence", part, number) in found


def test_an_event_that_the_seat_did_not_sign_is_said(case):
    case.act(GRANT, 0)
    case.decide("e1", 1, evidence=proof(signing=STRANGER))
    case.decide("e2", 1)
    report = case.report()
    assert report.findings == []
    assert "sender-signature" in report.not_shown


def test_an_invitations_evidence_is_the_invitation(tmp_path):
    unit = "POL/EXEMPEL/SYD"
    good = {
        "counter_unit": unit,
        "counter_member": None,
        "counter_state": "CLOSED",
        "counter_role": "police_coordination",
    }
    shown = proof()
    cases = {
        None: signing.invited(shown, "police_coordination", unit),
        "unit-signature": signing.invited(shown, "police_coordination", unit, by=STRANGER),
        "recipient": signing.invited(shown, "police_coordination", "POL/EXEMPEL/NORD"),
        "inviter": signing.invited(shown, "police_coordination", unit, inviter=named("other")),
        "path": signing.invited(proof("e2"), "police_coordination", unit),
    }
    for place, (part, told) in enumerate(cases.items()):
        case = Case(tmp_path / f"{place}.db")
        case.act(GRANT, 0)
        case.decide("e1", 1, evidence=replace(shown, **told), **good)
        found = {one.part for one in case.report().findings if one.check == "evidence"}
        assert found == ({part} if part else set())


def test_a_refusal_carries_its_senders_evidence(case):
    case.act(GRANT, 0)
    told = {"seat_id": SEAT_ID, "event_id": named("e1"), "attempt": 1, "code": "HS-EVENT-EXPIRED"}
    payload = Payload(**told, sections=(), affected=())
    assert broken_in_payload("REFUSAL", payload) == "evidence"
    case._write("REFUSAL", replace(payload, evidence=proof()), T0 + HOUR)
    number = case._write("REFUSAL", replace(payload, evidence=proof("e2")), T0 + HOUR)
    found = [(one.check, one.part, one.number) for one in case.report().findings]
    assert found == [("evidence", "event_id", number)]


def test_a_unit_that_its_agency_did_not_sign_is_refused():
    forged = signing.unit_entry(STRANGER, by=STRANGER)
    with pytest.raises(HandslagError) as caught:
        anchors().with_units([forged])
    assert caught.value.code == "HS-KEY-UNTRUSTED"
    # An agency outside the list vouches for nobody.
    assert Anchors(agencies={}).with_units([forged]).units == {}


def test_an_admission_that_the_agency_did_not_sign_is_named(case):
    for by in (AGENCY, STRANGER):
        signed = signing.unit_entry(UNIT, by=by)
        payload = Payload(act=signed.entry, act_signature=signed.signature, sections=(), affected=())
        number = case.builder.write(Draft(operation="ADMIN", owner=signing.OWNER, payload=payload), T0)
    assert [(one.check, one.number) for one in case.report().findings] == [("unit-key", number)]


def test_units_in_a_file_are_those_written():
    units = [signing.unit_entry(), signing.unit_entry(STRANGER)]
    assert units_read(units_written(units)) == units
    for text in ("", "[1]", '[{"entry": "zz", "signature": ""}]'):
        with pytest.raises(HandslagError):
            units_read(text)


def rotation(case, before, old, new, at_us, **changes):
    """A KEY_STATEMENT entry of the seat's rotation from one key to the next."""
    said = MemberStatement.from_bytes(OPENING(SEAT_ID).act)
    values = {"kind": "ROTATE", "seq": 1, "signing_key": public(new), "previous": sha256(before).digest(), **changes}
    data = replace(said, **values).to_bytes()
    return case._write(
        "KEY_STATEMENT", Payload(seat_id=SEAT_ID, role=ROLE, act=data, act_signature=old.sign(data)), at_us
    )


@pytest.mark.parametrize("forged", [False, True])
def test_a_rotation_that_the_seat_did_not_sign_is_named(case, forged):
    before, second = OPENING(SEAT_ID).act, signing.key("second")
    case.act(GRANT, 0)
    rotation(case, before, SEAT, second, T0)
    case.act(WITHDRAW, 1, by=SEAT)  # what was on its way at the rotation
    wanted = {("seat-key", "rotate", rotation(case, before, STRANGER, STRANGER, T0 + HOUR))} if forged else set()
    assert {(one.check, one.part, one.number) for one in case.report().findings} == wanted


@pytest.mark.parametrize("late", [False, True])
def test_an_act_of_a_key_that_was_rotated_away_twice_is_named(case, late):
    before, second, third = OPENING(SEAT_ID).act, signing.key("second"), signing.key("third")
    rotation(case, before, SEAT, second, T0)
    said = MemberStatement.from_bytes(before)
    middle = replace(said, kind="ROTATE", seq=1, signing_key=public(second), previous=sha256(before).digest())
    rotation(case, middle.to_bytes(), second, third, T0, seq=2)
    case.act(GRANT, 0, by=second)
    wanted = [("act-signature", "signature", case.act(WITHDRAW, 1, by=SEAT))] if late else []
    assert [(one.check, one.part, one.number) for one in case.report().findings] == wanted


def replacement(case, before, new, by, at_us, **changes):
    """A KEY_STATEMENT entry of one other seat's signature under new keys for this one."""
    said = MemberStatement.from_bytes(OPENING(SEAT_ID).act)
    values = {"kind": "REPLACE", "seq": 1, "signing_key": public(new), "previous": sha256(before).digest(), **changes}
    data = replace(said, **values).to_bytes()
    return case._write(
        "KEY_STATEMENT", Payload(seat_id=SEAT_ID, role=ROLE, act=data, act_signature=by.sign(data)), at_us
    )


@pytest.mark.parametrize("wrong", ["nothing", "one signature", "its own key", "another before"])
def test_a_replacement_that_two_did_not_sign_is_named(case, wrong):
    before, new, other = OPENING(SEAT_ID).act, signing.key("second"), signing.key("third")
    case.act(GRANT, 0)
    wanted = set()
    first = {"another before": {"previous": sha256(b"x").digest()}}.get(wrong, {})
    number = replacement(case, before, new, SEAT if wrong == "its own key" else STRANGER, T0, **first)
    if wrong in {"its own key", "another before"}:
        wanted.add(("seat-key", "replace", number))
    if wrong != "one signature":
        replacement(case, before, new, other, T0)
    act = case.act(WITHDRAW, 1, by=new)
    if wrong != "nothing":
        wanted.add(("act-signature", "signature", act))
    assert {(one.check, one.part, one.number) for one in case.report().findings} == wanted


@pytest.mark.parametrize("late", [False, True])
def test_an_act_of_a_key_that_was_replaced_is_named(case, late):
    before, new = OPENING(SEAT_ID).act, signing.key("second")
    for by in (STRANGER, signing.key("third")):
        replacement(case, before, new, by, T0)
    case.act(GRANT, 0, by=new)
    wanted = [("act-signature", "signature", case.act(WITHDRAW, 1, by=SEAT))] if late else []
    assert [(one.check, one.part, one.number) for one in case.report().findings] == wanted
