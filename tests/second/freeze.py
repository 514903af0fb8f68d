"""Write anew what a second reader needs beside the older vectors: `python -m tests.second.freeze`.

Inputs and results of `seals/sealed_event.json` that this file alone does not tell, a consent ledger with its heads, the
payload of `trail/entry.json`. Made by the product and the same at every run; read back by `tests/second` without it.
"""

import json
from pathlib import Path

from audit.entry import open_payload
from audit.vault import SeatKeys
from connectors.sealing import SEALED_BYTES, SealedEvent
from consent.ledger import head_after
from schemas import projection
from schemas.acts import ConsentAct, Holder, LedgerEvent, RecipientRef, Scope, Terms
from schemas.checks import sha256
from schemas.identifiers import ZERO16, ZERO32
from schemas.trail import AuditEntry
from tests.seals.freeze import CATEGORIES, FOLDER, spelled
from tests.seals.world import CASE, DAY, EVENT, HEALTH, LEAD, NOW, POLICE, PRISON, case, joining, lead_opening

from tests.seals.world import member_id, plan, seat, seat_id, unit_keys  # isort: skip

VECTORS = FOLDER.parent
VERSION = 1


def opened_event():
    """Who vouches for the keys of `sealed_event.json`, and what each of its deliveries opens to."""
    frozen = json.loads((FOLDER / "sealed_event.json").read_text("utf-8"))["records"]["sealed_event"]["bytes"]
    sealed = SealedEvent.from_bytes(bytes.fromhex(frozen), SEALED_BYTES)
    opening = lead_opening()
    to = {PRISON: CATEGORIES, HEALTH: ("IC12",)}
    return {
        "version": VERSION,
        "case_tag": CASE.hex(),
        "pin": sha256(opening.statement).hex(),
        "statements": [one.to_bytes().hex() for one in (opening, *(joining(case(), role) for role in to))],
        "members": {role: member_id(role).hex() for role in (LEAD, *to)},
        "seats": {role: seat_id(role).hex() for role in (LEAD, *to)},
        "seat_key_ids": {role: seat(role).key_id.hex() for role in (LEAD, *to)},
        "unit_private_key": unit_keys("soc").private_bytes().hex(),
        "w": {one.role: one.w.hex() for one in sealed.roles},
        "section_keys": {one.category: one.key.hex() for one in sealed.sections},
        "projections": {category: body.hex() for category, body in plan().sections.items()},
        "fields": {role: raw_fields(categories) for role, categories in to.items()},
    }


def raw_fields(categories):
    """What a role is given, as Avro has it: moments in microseconds."""
    merged = projection.merge({one: projection.open_section(EVENT, one, plan().sections[one]) for one in categories})
    return {name: int(one.timestamp() * 1e6) if hasattr(one, "timestamp") else one for name, one in merged.items()}


def act(number, kind, prev, **changes):
    values = {"act": kind, "prev": prev, "consent_id": sha256(b"consent")[:16], "seq": number} | changes
    return ConsentAct(
        case_tag=CASE, member=member_id(LEAD), actor_ref="EXEMPEL", assurance="NONE", noted_at_us=NOW, **values
    )


def terms(role, **changes):
    values = {"categories": ("IC01", "IC12"), "purposes": ("INTAKE",), "actions": ("DISCLOSE",)} | changes
    return Terms(
        recipients=(RecipientRef(kind="ROLE", id=role, follows_role=False),), valid_from_us=NOW,
        valid_until_us=NOW + 30 * DAY, reservations=(), text_version="EXEMPEL-1", terms_version="EXEMPEL-1",
        processing_acknowledged=True, given_by="SELF", method="WRITTEN", **values,
    )  # fmt: skip


def ledger():
    """Five acts: a grant, a part of it withdrawn, a block, its lifting, and the broker's own, unsigned one."""
    head, events = ZERO32, []
    part = Scope(recipients=(), categories=("IC12",), purposes=())
    block = {"consent_id": sha256(b"block")[:16]}
    made = (
        lambda prev: act(1, "GRANT", prev, terms=terms(PRISON)),
        lambda prev: act(2, "WITHDRAW", ZERO32, scope=part, effective_at_us=NOW - DAY),
        lambda prev: act(1, "BLOCK", ZERO32, terms=terms(POLICE, categories=()), **block),
        lambda prev: act(2, "UNBLOCK", prev, **block),
        lambda prev: act(0, "WITHDRAW_ALL", ZERO32, consent_id=ZERO16, effective_at_us=NOW),
    )
    for number, make in enumerate(made, 1):
        one = make(head)
        data, at_us = one.to_bytes(), NOW + number
        held = (Holder(role=PRISON, member=member_id(PRISON)),) if one.act == "GRANT" else ()
        head = head_after(head, number, data, held, at_us)
        signature = None if one.act == "WITHDRAW_ALL" else seat(LEAD).sign(data)
        events.append(
            LedgerEvent(ledger_seq=number, act=data, signature=signature, holders=held, recorded_at_us=at_us, head=head)
        )
    return {
        "version": VERSION,
        "signing_key": seat(LEAD).public.signing.hex(),
        "events": [one.to_bytes().hex() for one in events],
        "acts": [spelled(ConsentAct.from_bytes(one.act).to_dict()) for one in events],
        "heads": [one.head.hex() for one in events],
    }


def opened_entry():
    """The payload of `trail/entry.json`, opened with its own key."""
    row = json.loads((VECTORS / "trail" / "entry.json").read_text("utf-8"))
    entry = AuditEntry.from_bytes(bytes.fromhex(row["entry"]))
    keys = SeatKeys(bytes.fromhex(row["sk"]))
    payload = open_payload(entry, bytes.fromhex(row["payload"]), keys.dek(entry.entry_id))
    return {"version": VERSION, "entry": spelled(entry.to_dict()), "payload": spelled(payload.to_dict())}


FILES = {
    "seals/opened_event.json": opened_event,
    "ledger/heads.json": ledger,
    "trail/opened_entry.json": opened_entry,
}


def text(made):
    return json.dumps(made, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def main():
    for name, made in FILES.items():
        path = Path(VECTORS / name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(text(made()), encoding="utf-8")


if __name__ == "__main__":
    main()
