"""What was once signed, hashed and sealed keeps its bytes for ever: frozen vectors of every structure."""

import json
from pathlib import Path

import pytest

from connectors.keys import SeatKeyPair, verify
from connectors.membership import CaseMembers
from connectors.opening import Keyring, open_delivery
from connectors.sealing import SEALED_BYTES, SealedEvent, attempt, seal_event
from schemas import checks, envelope, statements
from schemas.calls import SubmitRequest
from schemas.checks import sha256
from schemas.envelope import Delivery, Submission
from schemas.statements import MemberStatement, SignedStatement
from tests.seals.world import (
    CASE,
    FIELDS,
    HEALTH,
    LEAD,
    NOW,
    PRISON,
    RULES,
    SLOTS,
    everybody,
    flow,
    given,
    lead_opening,
    plan,
    seat,
    seat_id,
)

FOLDER = Path(__file__).resolve().parents[1] / "vectors" / "seals"
STATEMENTS = json.loads((FOLDER / "statements.json").read_text(encoding="utf-8"))
EVENT = json.loads((FOLDER / "sealed_event.json").read_text(encoding="utf-8"))


def read(value):
    if isinstance(value, dict):
        return bytes.fromhex(value["hex"]) if set(value) == {"hex"} else {k: read(v) for k, v in value.items()}
    return [read(each) for each in value] if isinstance(value, list) else value


def check(record, row):
    data = bytes.fromhex(row["bytes"])
    assert record.from_dict(read(row["fields"])).to_bytes() == data
    assert record.from_bytes(data).to_dict() == read(row["fields"])
    assert sha256(data).hex() == row["sha256"]


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_statement_keeps_its_bytes(name):
    check(getattr(envelope, name, None) or getattr(statements, name), STATEMENTS[name])


def test_the_parts_of_a_submission_keep_their_bytes():
    records = EVENT["records"]
    check(envelope.Core, records["core"])
    check(envelope.Attempt, records["attempt"])
    check(envelope.RoutingItem, records["routing_item"])
    check(envelope.BundleStatement, records["bundle_statement"])
    check(envelope.BundleLeaf, records["bundle_leaf"])
    check(MemberStatement, records["member_statement"])
    check(SealedEvent, records["sealed_event"])
    for row in records["recipient_items"]:
        check(envelope.RecipientItem, row)
    for row in records["section_items"]:
        check(envelope.SectionItem, row)


def test_a_member_statement_keeps_its_bytes_and_signature():
    signed = SignedStatement.from_bytes(bytes.fromhex(EVENT["lead_statement"]))
    assert signed == lead_opening()
    assert MemberStatement.from_bytes(signed.statement).to_bytes() == signed.statement


def test_the_same_randomness_seals_the_same_event():
    """Everything but the HPKE ciphertexts, whose encapsulation the library draws itself."""
    sealed = SealedEvent.from_bytes(bytes.fromhex(EVENT["records"]["sealed_event"]["bytes"]), SEALED_BYTES)
    assert seal_event(plan(), seat(LEAD), flow("vector")) == sealed
    frozen = Submission.from_bytes(bytes.fromhex(EVENT["submission"]), checks.ITEM_BYTES)
    to = {PRISON: given(PRISON, "IC01", "IC02", "IC12"), HEALTH: given(HEALTH, "IC12")}
    again = attempt(sealed, 1, RULES, frozen_deadline(frozen), to)
    assert (again.core, again.digests, again.section_items) == (frozen.core, frozen.digests, frozen.section_items)
    wraps = [envelope.Attempt.from_bytes(each.attempt).wraps for each in (again, frozen)]
    assert [wrap.keys for wrap in wraps[0]] == [wrap.keys for wrap in wraps[1]]


def frozen_deadline(submission):
    return envelope.Attempt.from_bytes(submission.attempt).deadline_at_us


def test_the_bundle_keeps_its_leaf_and_signature():
    request = SubmitRequest.from_bytes(bytes.fromhex(EVENT["bundle"]), checks.ITEM_BYTES)
    assert checks.bundle_leaf(request.submissions[0]).hex() == EVENT["records"]["bundle_leaf"]["bytes"]
    verify(bytes.fromhex(EVENT["unit_key"]), request.unit_signature, request.bundle)


@pytest.mark.parametrize("role", [PRISON, HEALTH])
def test_the_frozen_delivery_opens(role):
    signed = SignedStatement.from_bytes(bytes.fromhex(EVENT["lead_statement"]))
    pair = SeatKeyPair.from_private_bytes(bytes.fromhex(EVENT["private_keys"][role]))
    event = open_delivery(
        Delivery.from_bytes(bytes.fromhex(EVENT["deliveries"][role]), checks.ITEM_BYTES),
        keyring=Keyring(seat_id=seat_id(role), role=role, case_tag=CASE, keys={pair.key_id: pair}),
        members=CaseMembers.pinned(signed, sha256(signed.statement), SLOTS),
        may_send=everybody,
        now_us=NOW,
        remembered={},
    )
    assert list(event.categories) == EVENT["opens_to"][role]
    assert event.merged.items() <= {**FIELDS, "accessibility_need": None}.items()
