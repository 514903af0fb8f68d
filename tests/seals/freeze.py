"""Write the frozen vectors of the seals anew: `python -m tests.seals.freeze`.

Only when the protocol's version changes: what these files hold is what agencies have signed and stored. The HPKE
encapsulation is random, so `sealed_event.json` is other at every run and its ciphertexts are frozen as they came.
"""

import json
from pathlib import Path

from connectors.sealing import attempt, bundle, seal_event
from schemas.checks import bundle_leaf, check_submission, sha256
from schemas.envelope import (
    BundleLeaf,
    BundleStatement,
    EventStatement,
    KeyCommitment,
    SeatKey,
    SectionAad,
    WCommitment,
    WrapInfo,
)
from schemas.identifiers import ZERO32
from schemas.records import Record
from schemas.statements import Invitation, MemberStatement, TrustedAgency, TrustStatement, UnitEntry
from tests.seals.world import (
    CASE,
    DAY,
    EVENT,
    HEALTH,
    LEAD,
    NOW,
    PRISON,
    RULES,
    acceptance,
    flow,
    given,
    handed,
    lead_opening,
    member_id,
    plan,
    seat,
    unit_keys,
)

FOLDER = Path(__file__).resolve().parents[1] / "vectors" / "seals"
CATEGORIES = ("IC01", "IC02", "IC12")


def spelled(value):
    """A record's value as JSON: bytes in hex."""
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, dict):
        return {name: spelled(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [spelled(each) for each in value]
    return value


def vector(record: Record) -> dict:
    data = record.to_bytes()
    return {"fields": spelled(record.to_dict()), "bytes": data.hex(), "sha256": sha256(data).hex()}


def statements() -> list[Record]:
    """Signed and hashed records that no sealed event shows."""
    core_hash, keys = sha256(b"core"), unit_keys("KV/EXEMPEL/AA").public
    projection_hash = sha256(b"projection")
    return [
        SeatKey(signing_key=seat(LEAD).public.signing, hpke_key=seat(LEAD).public.hpke),
        EventStatement(core_hash=core_hash, digests_hash=sha256(b"digests")),
        SectionAad(core_hash=core_hash, case_tag=CASE, category="IC04", projection_hash=projection_hash),
        KeyCommitment(core_hash=core_hash, category="IC04", key=sha256(b"key")),
        WCommitment(event_id=CASE, role=PRISON, w=sha256(b"w")),
        WrapInfo(core_hash=core_hash, case_tag=CASE, seat_key_id=seat(PRISON).key_id),
        acceptance(PRISON)[0],
        Invitation(
            invitation_id=sha256(b"id")[:16],
            case_tag=CASE,
            inviter=member_id(LEAD),
            inviter_unit="SOC/EXEMPEL/AA",
            unit="KV/EXEMPEL/AA",
            role=PRISON,
            core_hash=core_hash,
            digests_hash=sha256(b"digests"),
            lead_statement_hash=ZERO32,
            created_at_us=NOW,
            expires_at_us=NOW + DAY,
        ),
        UnitEntry(
            unit="KV/EXEMPEL/AA",
            agency="KV-EXEMPEL",
            controller="EXEMPEL",
            roles=(PRISON,),
            signing_key=keys.signing,
            hpke_key=keys.hpke,
            valid_from_us=NOW,
            valid_until_us=NOW + DAY,
        ),
        TrustStatement(
            origin="exempel.invalid",
            log_key="exempel.invalid+00000000+AAAA",
            agencies=(TrustedAgency(agency="KV-EXEMPEL", signing_key=keys.signing),),
            supervisor_key=keys.hpke,
        ),
    ]


def sealed_event() -> dict:
    """One whole event: inputs, what its sender keeps, what goes up, what each recipient gets."""
    sealed = seal_event(plan(), seat(LEAD), flow("vector"))
    to = {PRISON: given(PRISON, *CATEGORIES), HEALTH: given(HEALTH, "IC12")}
    submission = attempt(sealed, 1, RULES, NOW + DAY, to)
    request = bundle(
        [submission], origin="exempel.invalid", unit="SOC/EXEMPEL/AA", bundle_id=CASE, keys=unit_keys("soc")
    )
    checked = check_submission(submission)
    opening = lead_opening()
    return {
        "event_type": EVENT,
        "now_us": NOW,
        "private_keys": {role: seat(role).private_bytes().hex() for role in (LEAD, PRISON, HEALTH)},
        "unit_key": unit_keys("soc").public.signing.hex(),
        "lead_statement": opening.to_bytes().hex(),
        "submission": submission.to_bytes().hex(),
        "bundle": request.to_bytes().hex(),
        "records": {
            "routing_item": vector(checked.routing),
            "recipient_items": [vector(item) for item in checked.recipients],
            "section_items": [vector(item) for item in checked.sections],
            "core": vector(checked.core),
            "attempt": vector(checked.attempt),
            "bundle_statement": vector(BundleStatement.from_bytes(request.bundle)),
            "bundle_leaf": vector(BundleLeaf.from_bytes(bundle_leaf(submission))),
            "member_statement": vector(MemberStatement.from_bytes(opening.statement)),
            "sealed_event": vector(sealed),
        },
        "deliveries": {
            PRISON: handed(submission, PRISON, *CATEGORIES).to_bytes().hex(),
            HEALTH: handed(submission, HEALTH, "IC12").to_bytes().hex(),
        },
        "opens_to": {PRISON: list(CATEGORIES), HEALTH: ["IC12"]},
    }


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    records = {type(record).__name__: vector(record) for record in statements()}
    for name, content in (("statements.json", records), ("sealed_event.json", sealed_event())):
        (FOLDER / name).write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
