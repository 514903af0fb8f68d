"""What one unit saw, written so that two worlds can be compared: records decoded, and every value that is drawn by lot
named by the order of its first appearance in this unit's own view, with its length.

Codes, numbers, times, counts, orders and lengths stay as they are. Two values that are equal get one name, so which
values return is compared too. Left out is what is a lot by design: at which place of its beat an entry became a leaf.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any

from audit.entry import open_payload
from schemas import codec
from schemas.errors import HandslagError
from schemas.trail import AuditEntry

_LIMIT = 16 * 1024 * 1024
_DRAWN = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\b[0-9a-f]{32,}\b")
_BASE64 = re.compile(r"[A-Za-z0-9+/]{40,}={0,2}")
_BY_LOT = frozenset({"handslag.api.ProofsRequest", "handslag.api.ProofsAnswer"})  # asked in the order of random hashes


class Names:
    """Names for the drawn values of one unit's view; one for each world."""

    def __init__(self) -> None:
        self._known: dict[bytes, int] = {}

    def drawn(self, value: bytes) -> str:
        """The name of bytes: number of first appearance and length; zeros are no lot."""
        if not any(value):
            return f"zeros:{len(value)}"
        return f"drawn-{self._known.setdefault(value, len(self._known))}:{len(value)}"

    def text(self, value: str) -> str:
        """A text with the drawn values in it named, in hexadecimal or in base64."""
        value = _DRAWN.sub(lambda found: self.drawn(bytes.fromhex(_even(found[0]))), value)
        return _BASE64.sub(lambda found: self.drawn(base64.b64decode(found[0] + "==")), value)

    def of(self, value: Any) -> Any:
        """Any value of a record or a JSON file."""
        if isinstance(value, bytes):
            return self._bytes(value)
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(name): self.of(inner) for name, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.of(inner) for inner in value]
        return value if value is None or isinstance(value, bool | int | float) else str(value)

    def _bytes(self, value: bytes) -> Any:
        try:
            name = codec.name_of(value)
            fields = codec.decode(name, value, _LIMIT)
        except HandslagError:
            return self.drawn(value) if value else ""
        length = 0 if name in _BY_LOT else len(value)
        return {"record": name, "length": length, **self._fields(name, fields)}

    def _fields(self, name: str, fields: dict[str, Any]) -> dict[str, Any]:
        if name in _BY_LOT:
            return {each: self._by_lot(inner) for each, inner in fields.items()}
        if name == "handslag.api.AuditPage":
            return {**self.of({**fields, "entries": []}), "entries": [self._entry(e) for e in fields["entries"]]}
        return {each: self.of(inner) for each, inner in fields.items()}

    def _by_lot(self, several: Any) -> Any:
        if several and isinstance(several[0], dict):
            several = [{**one, "proof": None if one["proof"] is None else proof(one["proof"])} for one in several]
        return sorted((self.of(one) for one in several), key=json.dumps)

    def _entry(self, keyed: dict[str, Any]) -> Any:
        """An own entry as its unit reads it: opened."""
        entry = AuditEntry.from_bytes(keyed["entry"])
        payload = open_payload(entry, keyed["payload"], keyed["key"]).to_bytes()
        return self.of({**keyed, "payload": [len(keyed["payload"]), payload]})


def proof(text: str) -> str:
    """A proof without its path and its place in the beat, which are lots: its form and the checkpoint it ends in."""
    head, _, note = text.partition("\n\n")
    return head.split("\n", 1)[0] + "\n\n" + note


def _even(found: str) -> str:
    digits = found.replace("-", "")
    return digits if len(digits) % 2 == 0 else digits[:-1]
