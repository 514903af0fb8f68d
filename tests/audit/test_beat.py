"""The padded beat: its frozen layout, what it shows, and that a verifier can compute it again."""

import hashlib
import hmac
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit import beat
from schemas.errors import HandslagError

VECTORS = Path(__file__).parents[1] / "vectors" / "audit"
SEED = bytes(range(32))
ENTRIES = [hashlib.sha256(bytes([index])).digest() for index in range(100)]


def refused(check, call, **kwargs):
    with pytest.raises(HandslagError) as caught:
        call(**kwargs)
    assert (caught.value.code, caught.value.context["check"]) == ("HS-PROOF-INVALID", check)


def hashes(leaves):
    return [leaf.hash for leaf in leaves]


def test_frozen_layouts():
    for frozen in json.loads((VECTORS / "beat.json").read_text())["layouts"]:
        entries = [bytes.fromhex(entry) for entry in frozen["entries"]]
        leaves = beat.lay_out(seed=bytes.fromhex(frozen["seed"]), first=frozen["first"], entries=entries)
        assert [leaf.hash.hex() for leaf in leaves] == frozen["leaves"]
        assert [leaf.entry for leaf in leaves] == frozen["positions"]


@given(st.integers(0, 100), st.integers(0, 2**40), st.binary(min_size=32, max_size=32))
def test_a_beat_shows_only_its_number_of_blocks(count, block, seed):
    leaves = beat.lay_out(seed=seed, first=block * 16, entries=ENTRIES[:count])
    assert len(leaves) == 16 * max(1, -(-count // 16))
    assert all(len(leaf.hash) == 32 for leaf in leaves)
    assert sorted(leaf.entry for leaf in leaves if leaf.entry is not None) == list(range(count))
    assert all(leaf.hash == ENTRIES[leaf.entry] for leaf in leaves if leaf.entry is not None)
    assert len({leaf.hash for leaf in leaves}) == len(leaves)


def test_the_order_of_commit_does_not_show():
    forward = beat.lay_out(seed=SEED, first=16, entries=ENTRIES[:20])
    assert hashes(beat.lay_out(seed=SEED, first=16, entries=ENTRIES[19::-1])) == hashes(forward)
    assert hashes(beat.lay_out(seed=bytes(32), first=16, entries=ENTRIES[:20])) != hashes(forward)


def test_a_lone_entry_lands_evenly_on_every_place():
    places = [0] * 16
    for number in range(3200):
        seed = hashlib.sha256(number.to_bytes(4, "big")).digest()
        leaves = beat.lay_out(seed=seed, first=0, entries=ENTRIES[:1])
        places[next(offset for offset, leaf in enumerate(leaves) if leaf.entry == 0)] += 1
    # Fifteen degrees of freedom: the 99.99th percentile of chi squared is 44.3.
    assert sum((found - 200) ** 2 / 200 for found in places) < 44.3


def test_the_steps_of_the_description_give_the_layout():
    # Written from the module's description alone, as someone else's verifier would.
    entries, size, first = ENTRIES[:40], 48, 160
    stream = b"".join(hmac.new(SEED, b"HS1 beat shuffle" + n.to_bytes(4, "big"), "sha256").digest() for n in range(20))
    items, at = list(range(size)), 0
    for i in range(size - 1, 0, -1):
        word = int.from_bytes(stream[at : at + 4], "big")
        at += 4
        assert word < 2**32 // (i + 1) * (i + 1)
        items[i], items[word % (i + 1)] = items[word % (i + 1)], items[i]
    expected = [
        sorted(entries)[item]
        if item < 40
        else hashlib.sha256(b"\x00" + hmac.new(SEED, (first + k).to_bytes(8, "big"), "sha256").digest()).digest()
        for k, item in enumerate(items)
    ]
    assert hashes(beat.lay_out(seed=SEED, first=first, entries=entries)) == expected


def test_a_filler_is_the_hash_of_a_keyed_index():
    inner = hmac.new(SEED, (4711).to_bytes(8, "big"), "sha256").digest()
    assert beat.filler_leaf(SEED, 4711) == hashlib.sha256(b"\x00" + inner).digest()


@given(st.integers(0, 100), st.data())
def test_a_beat_with_a_changed_leaf_is_refused(count, data):
    leaves = beat.lay_out(seed=SEED, first=32, entries=ENTRIES[:count])
    arguments = {"seed": SEED, "first": 32, "entry_count": count}
    offsets = beat.check_beat(leaves=hashes(leaves), **arguments)
    assert offsets == tuple(offset for offset, leaf in enumerate(leaves) if leaf.entry is not None)
    bad = hashes(leaves)
    fillers = [offset for offset, leaf in enumerate(leaves) if leaf.entry is None]
    if fillers:
        bad[data.draw(st.sampled_from(fillers))] = ENTRIES[0]
        refused("filler", beat.check_beat, leaves=bad, **arguments)
    if count > 1:
        bad = hashes(leaves)
        bad[offsets[0]], bad[offsets[1]] = bad[offsets[1]], bad[offsets[0]]
        refused("beat-order", beat.check_beat, leaves=bad, **arguments)
    refused("beat", beat.check_beat, leaves=hashes(leaves)[:-1], **arguments)


def test_a_beat_belongs_to_its_seed_index_and_count():
    leaves = hashes(beat.lay_out(seed=SEED, first=32, entries=ENTRIES[:3]))
    good = {"seed": SEED, "first": 32, "entry_count": 3, "leaves": leaves}
    assert len(beat.check_beat(**good)) == 3
    refused("filler", beat.check_beat, **{**good, "seed": bytes(32)})
    refused("filler", beat.check_beat, **{**good, "first": 48})
    refused("filler", beat.check_beat, **{**good, "entry_count": 2})
    for change in ({"first": 33}, {"first": -16}, {"seed": b"short"}, {"entry_count": -1}, {"entry_count": 17}):
        refused("beat", beat.check_beat, **{**good, **change})


def test_wrong_arguments_are_refused():
    good = {"seed": SEED, "first": 0, "entries": ENTRIES[:2]}
    assert beat.lay_out(**good)
    for change in ({"seed": b""}, {"first": 8}, {"first": 2**63}, {"entries": ENTRIES[:1] * 2}):
        refused("beat", beat.lay_out, **{**good, **change})
    refused("hash-length", beat.lay_out, **{**good, "entries": [b"short"]})
