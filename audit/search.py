"""Searching an agency's own audit entries: opening, choosing and showing what was fetched.

Finding a person starts at the agency, whose connector alone knows which seat is whose; it fetches the seat's entries
and hands them in here. No I/O.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from audit.entry import open_payload
from schemas import codes
from schemas.acts import ConsentAct, LedgerEvent
from schemas.calls import KeyedEntry
from schemas.errors import HandslagError
from schemas.identifiers import ZERO16, shown
from schemas.said import SPOKEN, SpokenDisclosure
from schemas.trail import AuditEntry, Payload


@dataclass(frozen=True, slots=True)
class Found:
    """One entry with its content; `payload` is None when it does not open, and `problem` then is the error's code.

    `proof` says whether whoever asks holds the entry's proof that it is in the log; None where nobody looked.
    """

    number: int
    entry: AuditEntry
    payload: Payload | None
    problem: str | None
    proof: bool | None = None

    @property
    def act(self) -> ConsentAct | None:
        """The consent act of a CONSENT_EVENT entry; None for any other, and for one that cannot be read."""
        if self.entry.operation != "CONSENT_EVENT" or self.payload is None or self.payload.act is None:
            return None
        try:
            return ConsentAct.from_bytes(LedgerEvent.from_bytes(self.payload.act).act)
        except HandslagError:
            return None

    @property
    def said(self) -> SpokenDisclosure | None:
        """What the seat says it said outside the broker; None for any other entry, and for one that cannot be read."""
        if self.payload is None or self.payload.event_type != SPOKEN or self.payload.act is None:
            return None
        try:
            return SpokenDisclosure.from_bytes(self.payload.act)
        except HandslagError:
            return None

    @property
    def consents(self) -> tuple[bytes, ...]:
        """Ids (16 bytes) of the consents that the entry rests on, or that its act is about; sorted."""
        if self.act is not None:
            return () if self.act.consent_id == ZERO16 else (self.act.consent_id,)
        sections = () if self.payload is None else self.payload.sections
        return tuple(sorted({grant for section in sections for grant in section.grants}))


def opened(entries: Iterable[KeyedEntry], held: Callable[[bytes], bool] | None = None) -> list[Found]:
    """Open fetched entries, each under its own key, in the order given.

    `held` tells of a leaf hash whether its proof is at hand. Raises HS-PROOF-INVALID (`check` = leaf-hash) for an entry
    whose bytes are not those of its leaf: such an answer is evidence and not a search result. Raises PayloadRejected
    for bytes that are no entry.
    """
    # INVARIANT: test_an_entry_that_is_not_its_leaf_is_never_shown
    found = []
    for one in entries:
        if sha256(b"\x00" + one.entry).digest() != one.leaf_hash:
            raise HandslagError("HS-PROOF-INVALID", check="leaf-hash")
        entry = AuditEntry.from_bytes(one.entry)
        proof = None if held is None else held(one.leaf_hash)
        try:
            found.append(Found(one.number, entry, open_payload(entry, one.payload, one.key), None, proof))
        except HandslagError as error:
            found.append(Found(one.number, entry, None, error.code, proof))
    return found


def select(
    found: Iterable[Found],
    *,
    seat_id: bytes | None = None,
    since_us: int | None = None,
    until_us: int | None = None,
    operation: str | None = None,
    outcome: str | None = None,
) -> list[Found]:
    """Return what meets every condition given; times are microseconds UTC, `until_us` excluded.

    An entry that does not open belongs to no seat that can be named, and stays in: it must not vanish from an answer.
    """
    return [
        one
        for one in found
        if (seat_id is None or one.payload is None or one.payload.seat_id == seat_id)
        and (since_us is None or one.entry.at_us >= since_us)
        and (until_us is None or one.entry.at_us < until_us)
        and (operation is None or one.entry.operation == operation)
        and (outcome is None or one.entry.outcome == outcome)
    ]


def render(found: Sequence[Found], *, as_json: bool = False, language: str = "sv") -> str:
    """Return a table (`sv` or `en`), or a JSON array of objects with codes, without a final newline."""
    if as_json:
        return json.dumps([as_data(one) for one in found], ensure_ascii=False, indent=1)
    swedish = language == "sv"
    head = ("nr", "tid (UTC)", "operation", "utfall", "händelse", "motpart", "bevis")
    if not swedish:
        head = ("no", "time (UTC)", "operation", "outcome", "event", "counterpart", "proof")
    title, *rows = _lines([head, *(_row(one, language) for one in found)])
    return "\n".join(
        [title, *(line for row, one in zip(rows, found, strict=True) for line in (row, *_told(one, language)))]
    )


def as_data(one: Found) -> dict[str, Any]:
    """Return one entry as plain data: codes and ids, no words."""
    entry, payload = one.entry, one.payload
    data: dict[str, Any] = {
        "number": one.number,
        "entry_id": shown(entry.entry_id),
        "at": _time(entry.at_us),
        "operation": entry.operation,
        "outcome": entry.outcome,
        "owner": entry.owner,
        "proof": one.proof,
        "problem": one.problem,
    }
    if payload is None:
        return data
    for name in ("seat_id", "event_id", "delivery_id"):
        value = getattr(payload, name)
        data[name] = None if value is None else shown(value)
    for name in ("role", "counter_role", "event_type", "attempt", "hand_number", "purpose", "action", "basis",
                 "ledger_seq", "actor_ref", "assurance", "query_purpose", "case_number", "code"):  # fmt: skip
        data[name] = getattr(payload, name)
    said = one.said
    data["manner"] = None if said is None else said.manner
    data["said_at"] = None if said is None else _time(said.said_at_us)
    data["act"] = None if one.act is None else one.act.act
    data["consents"] = [shown(consent) for consent in one.consents]
    data["sections"] = [
        {
            "category": section.category,
            "released": section.released,
            "reasons": list(section.reasons),
            "consents": [shown(grant) for grant in section.grants],
        }
        for section in payload.sections
    ]
    return data


def _row(one: Found, language: str) -> tuple[str, ...]:
    entry, payload = one.entry, one.payload
    outcome = codes.words("outcome", entry.outcome, language) if entry.outcome else ""
    start = (str(one.number), _time(entry.at_us)[:19].replace("T", " "),
             codes.words("operation", entry.operation, language), outcome)  # fmt: skip
    held = _PROOF[one.proof][0 if language == "sv" else 1]
    if payload is None:
        return (*start, one.problem or "", "", held)
    counter = codes.words("role", payload.counter_role, language) if payload.counter_role else ""
    return (*start, payload.event_type or payload.code or "", counter, held)


_WITHOUT = ("SAGT UTAN SAMTYCKE, möjlig incident", "SAID WITHOUT CONSENT, possible incident")
_PROOF = {True: ("ja", "yes"), False: ("väntar", "waits"), None: ("-", "-")}
_WORDS = {
    "basis": ("grund", "ground"),
    "purpose": ("ändamål", "purpose"),
    "consents": ("samtycke", "consent"),
    "ledger_seq": ("liggarens nummer", "ledger number"),
    "query_purpose": ("granskningens ändamål", "purpose of the control"),
    "case_number": ("kontrollärende", "control"),
    "actor_ref": ("handläggare", "officer"),
}


def _told(one: Found, language: str) -> list[str]:
    """The lines under an entry: ground and consents, then every section with what was decided and why."""
    payload = one.payload
    if payload is None:
        return []
    place = 0 if language == "sv" else 1
    values = {name: getattr(payload, name, None) for name in _WORDS} | {
        "purpose": None if payload.purpose is None else codes.words("purpose", payload.purpose, language),
        "consents": ", ".join(map(shown, one.consents)),
    }
    facts = [f"{words[place]} {values[name]}" for name, words in _WORDS.items() if values[name] not in (None, "")]
    if one.act is not None:
        facts.insert(0, one.act.act)
    if one.said is not None:
        facts.insert(0, f"{codes.words('manner', one.said.manner, language)} {_time(one.said.said_at_us)}")
    if one.said is not None and payload.code is not None:
        facts.insert(0, _WITHOUT[place])
    lines = [f"      {'; '.join(facts)}"] if facts else []
    for section in payload.sections:
        why = "; ".join(f"{codes.words('reason', code, language)} ({code})" for code in section.reasons)
        what = f"{section.category} {codes.words('category', section.category, language)}"
        lines.append(f"      {'+' if section.released else '-'} {what}{f': {why}' if why else ''}")
    return lines


def _lines(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _time(at_us: int) -> str:
    seconds, micro = divmod(at_us, 1_000_000)
    try:
        return datetime.fromtimestamp(seconds, UTC).replace(microsecond=micro).isoformat()
    except (OverflowError, ValueError, OSError):
        return str(at_us)
