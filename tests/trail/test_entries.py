"""Entries and keys: frozen vectors, and what must not open."""

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.entry import OPERATOR, Draft, open_beat, open_payload, seal
from audit.entryshape import agreed
from audit.trailfile import EntryRow
from audit.vault import SeatKeys
from schemas.errors import HandslagError
from schemas.trail import AuditEntry, Beat, Payload

VECTORS = Path(__file__).parents[1] / "vectors" / "trail"
PAYLOAD = Payload(seat_id=bytes(range(16)), delivery_id=b"d" * 16, hand_number=1, sections=(), affected=())


def sealed(payload=PAYLOAD, **changes):
    values = {
        "entry_id": bytes(range(16, 32)), "salt": b"s" * 16, "at_us": 1_790_000_000_000_000,
        "keys": SeatKeys(bytes(range(32))), "segment": 2026, "random_handle": None,
    } | changes  # fmt: skip
    draft = Draft(operation="ACK", owner="SOC/EXEMPEL", payload=payload, seat_id=bytes(range(16)))
    return seal(replace(draft, seat_id=None) if values["random_handle"] else draft, **values)


def current_vectors():
    keys = SeatKeys(bytes(range(32)))
    one = sealed()
    return {
        "sk": keys.sk.hex(),
        "entry_id": one.entry_id.hex(),
        "dek": keys.dek(one.entry_id).hex(),
        "segment": 2026,
        "handle": keys.handle(2026).hex(),
        "entry": one.entry_bytes.hex(),
        "leaf_hash": one.leaf_hash.hex(),
        "payload": one.payload.hex(),
    }


def test_keys_and_entries_are_those_of_the_frozen_vectors():
    assert json.loads((VECTORS / "entry.json").read_text()) == current_vectors()


def test_an_entry_opens_with_its_own_key_only():
    one = sealed()
    entry = AuditEntry.from_bytes(one.entry_bytes)
    keys = SeatKeys(bytes(range(32)))
    assert open_payload(entry, one.payload, keys.dek(one.entry_id)) == PAYLOAD
    assert (entry.handle, one.leaf_hash) == (keys.handle(2026), sha256(b"\x00" + one.entry_bytes).digest())
    for key in (keys.dek(bytes(16)), keys.sk, b"short"):
        with pytest.raises(HandslagError) as caught:
            open_payload(entry, one.payload, key)
        assert caught.value.code == "HS-SEAL-INVALID"


def test_ciphertext_of_another_entry_is_refused_before_it_is_opened():
    one, other = sealed(), sealed(entry_id=bytes(16))
    entry = AuditEntry.from_bytes(one.entry_bytes)
    with pytest.raises(HandslagError) as caught:
        open_payload(entry, other.payload, SeatKeys(bytes(range(32))).dek(other.entry_id))
    assert caught.value.code == "HS-PROOF-INVALID"


def test_handles_of_one_seat_differ_between_segments():
    keys = SeatKeys(bytes(range(32)))
    assert len({keys.handle(segment) for segment in range(50)}) == 50
    assert keys.handle(7) == keys.handle(7)


def test_an_entry_about_no_seat_has_a_handle_that_no_key_derives():
    about_unit = sealed(random_handle=b"r" * 16)
    assert about_unit.handle == b"r" * 16
    draft = Draft(operation="ACK", owner="SOC/EXEMPEL", payload=PAYLOAD)
    common = {"entry_id": bytes(16), "salt": bytes(16), "at_us": 0, "keys": SeatKeys(bytes(32)), "segment": 1}
    for wrong, handle in ((draft, None), (replace(draft, seat_id=bytes(16)), bytes(16)), (draft, b"short")):
        with pytest.raises(HandslagError) as caught:
            seal(wrong, random_handle=handle, **common)
        assert caught.value.code == "HS-IDENTIFIER-INVALID"


def test_a_beat_is_sealed_as_its_own_kind():
    beat = Beat(first=0, size=16, count=1, seed=bytes(32))
    keys = SeatKeys(bytes(32))
    draft = Draft(operation="BEAT", owner=OPERATOR, payload=beat)
    one = seal(draft, entry_id=bytes(16), salt=bytes(16), at_us=0, keys=keys, segment=1, random_handle=bytes(16))
    entry = AuditEntry.from_bytes(one.entry_bytes)
    assert open_beat(entry, one.payload, keys.dek(bytes(16))) == beat
    with pytest.raises(HandslagError):
        open_payload(entry, one.payload, keys.dek(bytes(16)))


def test_secrets_are_in_no_repr_and_wrong_lengths_are_refused():
    keys = SeatKeys(bytes(range(32)))
    assert "00" not in repr(keys)
    assert "\\x" not in repr(keys)
    for call in (lambda: SeatKeys(b"x"), lambda: keys.dek(b"x"), lambda: keys.handle(-1), lambda: keys.handle(2**32)):
        with pytest.raises(HandslagError) as caught:
            call()
        assert caught.value.code == "HS-IDENTIFIER-INVALID"


def test_an_entry_longer_than_the_bound_is_refused():
    draft = Draft(operation="X" * 5000, owner="SOC/EXEMPEL", payload=PAYLOAD, seat_id=bytes(16))
    with pytest.raises(HandslagError) as caught:
        seal(draft, entry_id=bytes(16), salt=bytes(16), at_us=0, keys=SeatKeys(bytes(32)), segment=1,
             random_handle=None)  # fmt: skip
    assert caught.value.code == "HS-TOO-LARGE"


def row_of(entry, data=None, **columns):
    names = ("entry_id", "owner", "handle", "at_us", "operation", "outcome", "reason_class")
    said = {name: getattr(entry, name) for name in names} | columns
    return EntryRow(1, *(said[name] for name in names), data or entry.to_bytes(), None, None, None)


@given(
    at_us=st.integers(-(2**63), 2**63 - 1), operation=st.text(max_size=80), owner=st.text(max_size=80),
    outcome=st.none() | st.text(max_size=9), reason_class=st.none() | st.text(max_size=9),
    cause=st.none() | st.binary(min_size=16, max_size=16), raw=st.binary(min_size=80, max_size=80),
    other=st.sampled_from([None, "entry_id", "owner", "handle", "at_us", "operation", "outcome", "reason_class"]),
)  # fmt: skip
def test_the_fast_way_agrees_with_the_codec(raw, other, **fields):
    entry = AuditEntry(salt=raw[:16], entry_id=raw[16:32], handle=raw[32:48], payload_commit=raw[48:], **fields)
    assert agreed(row_of(entry)) == (entry.payload_commit, entry.cause is not None)
    if other is not None:
        wrong = {"at_us": entry.at_us ^ 1, "entry_id": entry.entry_id[1:] + b"x", "handle": entry.handle[:-1]}
        changed = row_of(entry, **{other: wrong.get(other, "other than any of the above")})
        assert agreed(changed) is None or changed == row_of(entry)


@pytest.mark.parametrize("odd", [None, 1, 1.5, "text", b"\xff", 2**70])
def test_columns_of_any_type_are_no_agreement(odd):
    entry = AuditEntry.from_bytes(sealed().entry_bytes)
    for name in ("entry_id", "owner", "handle", "at_us", "operation"):
        assert agreed(row_of(entry, **{name: odd})) is None
    for data in (entry.to_bytes()[:-1], entry.to_bytes() + b"x", b"\xc3\x01"):
        assert agreed(row_of(entry, data)) is None
