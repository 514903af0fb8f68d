"""Erasing from the spool whatever names something: every row is sealed, so each is read with the data key."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from connectors.spool.store import Store

# table, key column, sealed columns with the name each is sealed under
_PLACES = (
    ("invitation", "invitation_id", (("value", "invitation.value"),)),
    ("command", "number", (("value", "command.value"),)),
    ("call", "call_id", (("request", "call.request"), ("answer", "call.answer"))),
    ("outbox", "number", (("value", "outbox.value"),)),
    ("outgoing", "number", (("event", "outgoing.event"), ("sealed", "outgoing.sealed"),
                            ("submission", "outgoing.submission"))),
)  # fmt: skip


def erase_words(store: Store, seat_id: bytes, words: Sequence[bytes]) -> int:
    """Delete every row that holds one of the words, as bytes, hexadecimal or text, and the ledger of a closed seat.

    In the caller's transaction; `Store.tidy` takes them off the disk afterwards. Returns the number of rows.
    """
    sought = [form for word in words for form in (word, word.hex().encode())]
    gone = 0
    for table, key, columns in _PLACES:
        names = ", ".join(name for name, _sealed in columns)
        for row in store.all(f"SELECT {key}, {names} FROM {table}"):  # noqa: S608 - names from the table above
            pairs = zip(row[1:], columns, strict=True)
            opened = [store.key.open(sealed, value) for value, (_name, sealed) in pairs if value]
            if any(form in _plain(data) for data in opened for form in sought):
                gone += store.run(f"DELETE FROM {table} WHERE {key}=?", row[0])  # noqa: S608
    gone += store.run("DELETE FROM ledger WHERE seat_id=?", seat_id)
    gone += store.run("DELETE FROM ledger_head WHERE seat_id=?", seat_id)
    return gone


def _plain(data: bytes) -> bytes:
    """What is JSON with its escapes undone: a unit may have letters that JSON writes otherwise."""
    try:
        value: Any = json.loads(data)
    except ValueError:
        return data
    return data + json.dumps(value, ensure_ascii=False).encode()
