"""The person's own copy of a consent: noted, signed and written, and examined offline by the agency's word."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from connectors import files, ledgers, trust
from connectors.context import Context
from connectors.fields import moment
from connectors.identity import Seat
from connectors.keys import verify
from consent import person_page, person_record
from consent.person_record import LABEL, PROFILE, About, canonical
from schemas.errors import HandslagError
from schemas.identifiers import shown, uuid7
from schemas.statements import SignedUnit, UnitEntry

LARGEST = 256 * 1024  # bytes of a file that is examined
_NUMBER = re.compile(r"(?:\d{2})?\d{6}[-+ ]?\d{4}")  # the shape of a personal identity number, wherever it stands
_SHAPE = ("record_id", "created", "pii_principal_id", "pii_processing", "party_identification", "events", "state")


class Handing(NamedTuple):
    """What the officer stated of the copy: how and to whom, and what the paper looks like."""

    delivery: str
    given_to: int | None
    language: str
    cover: bool
    number: str | None
    actor: str


def hand_out(ctx: Context, seat: Seat, consent_id: bytes, given: Handing, to: Path | None) -> dict[str, Any]:
    """Examine, note the delivery in this connector's own log, and only then write; `to` None: it is only read aloud.

    Returns `record_id`, `files`, `read_aloud` (lines) and, of files, `sha256`. Raises as `person_record.may_receive`
    and `signed`, `HS-RECORD-NOT-FOUND` for a consent that this unit cannot vouch for itself, and as `files.write_new`.
    """
    view = ledgers.view(ctx, seat)
    at_us = max(ctx.now(), view.recorded_at_us)
    if given.given_to is not None:
        person_record.may_receive(view, consent_id, given.given_to, at_us)
    about = About(
        record_id=uuid7(at_us, ctx.random(10)),
        unit=ctx.settings.unit,
        controller=ctx.settings.controller,
        principal="WITHHELD" if _NUMBER.search(seat.ref) else seat.ref,
        at_us=at_us,
        given_to=given.given_to or 0,
    )
    record = person_record.record_of(view, consent_id, about, ctx.rules)
    data = signed(ctx, record, at_us)
    digest = hashlib.sha256(data).hexdigest()
    # INVARIANT: test_a_delivery_is_noted_before_a_byte_of_it_is_written
    _noted(ctx, seat, consent_id, given, about)
    if to is None:
        return {
            "record_id": record["record_id"],
            "files": [],
            "read_aloud": person_page.plain_of(record, language=given.language),
        }
    page = person_page.page_of(record, digest, language=given.language, cover=given.cover, number=given.number)
    paths = [to, to.with_suffix(".html")]
    files.write_new_all(dict(zip(paths, (data, page.encode()), strict=True)))
    return {
        "record_id": record["record_id"],
        "files": [str(path) for path in paths],
        "sha256": digest,
        "read_aloud": [],
    }


def _noted(ctx: Context, seat: Seat, consent_id: bytes, given: Handing, about: About) -> None:
    note = {
        "what": "consent record delivery",
        "seat": shown(seat.sid),
        "consent": shown(consent_id),
        "record": shown(about.record_id),
        "delivery": given.delivery,
        "given_to": given.given_to,
        "actor": given.actor,
    }
    ctx.spool.memory.log_reading(note, about.at_us)


def signed(ctx: Context, record: dict[str, Any], at_us: int) -> bytes:
    """The file: the record, the unit's signature over it, and the unit's entry with its agency's signature.

    Raises `HS-NOT-READY` before the list of units came, `HS-KEY-UNTRUSTED` when it lists another key for this unit.
    """
    entry = ctx.units().unit(ctx.settings.unit, at_us)
    if entry.signing_key != ctx.unit_keys.public.signing:
        raise HandslagError("HS-KEY-UNTRUSTED", check="unit")
    vouched = next(each for each in ctx.listed_units() if each.entry == entry.to_bytes())
    proof = {
        "type": "Ed25519",
        "over": f"{LABEL.decode().strip()}, newline, record as JSON with sorted keys and no spaces",
        "unit_entry": vouched.entry.hex(),
        "agency_signature": vouched.signature.hex(),
        "signature": ctx.unit_keys.sign(LABEL + canonical(record)).hex(),
    }
    return json.dumps({"record": record, "proof": proof}, ensure_ascii=False, indent=2).encode() + b"\n"


def verified(data: bytes, trusted: trust.Trust) -> dict[str, Any]:
    """The record of a file that a unit signed whom an agency of the trust list vouches for; nobody is asked.

    Raises `HS-RECORD-INVALID` naming what does not hold. Whether the consent still is as it says, it cannot tell.
    INVARIANT: test_a_copy_with_one_changed_sign_is_refused.
    """
    if len(data) > LARGEST:
        raise _invalid("size")
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_once, parse_constant=_constant)
        record, proof = value["record"], value["proof"]
        signature, entry_bytes = bytes.fromhex(proof["signature"]), bytes.fromhex(proof["unit_entry"])
        vouched = SignedUnit(entry=entry_bytes, signature=bytes.fromhex(proof["agency_signature"]))
        if (
            set(value) != {"record", "proof"}
            or record["schema_version"] != PROFILE
            or any(name not in record for name in _SHAPE)
        ):
            raise _invalid("shape")
        at_us = moment(record["created"], "created")
        unit = record["pii_processing"]["pii_controllers"][0]
        written = canonical(record)
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        raise _invalid("shape") from None
    entry = _entry(vouched, trusted, unit, at_us)
    try:
        verify(entry.signing_key, signature, LABEL + written)
    except HandslagError:
        raise _invalid("signature") from None
    assert isinstance(record, dict)
    return record


def _entry(vouched: SignedUnit, trusted: trust.Trust, unit: str, at_us: int) -> UnitEntry:
    try:
        return trust.directory([vouched], trusted).unit(unit, at_us)
    except HandslagError:
        raise _invalid("unit") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise _invalid("doubled name")
    return value


def _constant(_name: str) -> Any:
    raise _invalid("number")


def _invalid(field: str) -> HandslagError:
    return HandslagError("HS-RECORD-INVALID", field=field)
