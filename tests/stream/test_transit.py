"""The transit keys: a forward chain, one file per node, and nothing left of a day that is over."""

import json
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from broker import transit
from broker.transit import DAY_US, KeyFile, Ratchet, cipher_of, day_of, oldest_needed, opened, seal, sealed_day
from schemas.errors import HandslagError

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "transit.json").read_text())
TODAY = 20_777
PLACE = b"bucket 7"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "transit.key"
    KeyFile.create(path, TODAY)
    return KeyFile(path)


def refused(call):
    with pytest.raises(HandslagError) as raised:
        call()
    return raised.value.code


@pytest.mark.parametrize("case", VECTORS["chain"], ids=lambda case: str(case["steps"]))
def test_the_chain_is_the_frozen_one(case):
    start = Ratchet(VECTORS["day"], bytes.fromhex(VECTORS["key"]))
    later = start.forward(start.day + case["steps"])
    assert later.key.hex() == case["key"]
    assert start.name() == later.name() == bytes.fromhex(VECTORS["name"])
    sealed = seal(cipher_of(start, later.day), later.day, PLACE, b"submission", bytes(12))
    assert sealed.hex() == case["sealed"]
    assert opened(cipher_of(later, later.day), PLACE, sealed) == b"submission"


def test_no_later_key_leads_back():
    start = Ratchet(TODAY, bytes(32))
    later = start.forward(TODAY + 1)
    assert start.forward(TODAY + 9) == later.forward(TODAY + 9)
    assert refused(lambda: later.forward(TODAY)) == "HS-TRANSIT-GONE"
    old = seal(cipher_of(start, TODAY), TODAY, PLACE, b"x", bytes(12))
    assert opened(cipher_of(start, TODAY), PLACE, old) == b"x"
    assert refused(lambda: cipher_of(later, TODAY)) == "HS-TRANSIT-GONE"


def test_a_record_is_bound_to_its_place_and_its_day(file):
    sealed = file.seal(PLACE, b"submission", TODAY)
    assert b"submission" not in sealed
    assert sealed_day(sealed) == TODAY
    assert len(sealed) == len(b"submission") + transit.OVERHEAD
    assert file.open(PLACE, sealed, TODAY) == b"submission"
    assert refused(lambda: file.open(b"bucket 8", sealed, TODAY)) == "HS-TRANSIT-DAMAGED"
    moved = (TODAY + 1).to_bytes(4, "big") + sealed[4:]
    assert refused(lambda: file.open(PLACE, moved, TODAY)) == "HS-TRANSIT-DAMAGED"


@pytest.mark.parametrize("raw", [b"", b"short", bytes(31), os.urandom(400), b"\xff" * 400])
def test_what_nobody_sealed_is_damage_and_costs_no_time(file, raw):
    assert refused(lambda: file.open(PLACE, raw, TODAY)) in {"HS-TRANSIT-DAMAGED", "HS-TRANSIT-GONE"}


def test_every_bit_counts(file):
    sealed = file.seal(PLACE, b"submission", TODAY)
    for at in range(len(sealed)):
        broken = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        assert refused(lambda broken=broken: file.open(PLACE, broken, TODAY)).startswith("HS-TRANSIT-")


def test_two_seals_of_one_record_differ(file):
    assert file.seal(PLACE, b"x", TODAY) != file.seal(PLACE, b"x", TODAY)


def test_a_key_lives_two_days_unless_something_still_waits_for_it():
    assert oldest_needed(TODAY, None) == TODAY - 1
    assert oldest_needed(TODAY, TODAY) == TODAY - 1
    assert oldest_needed(TODAY, TODAY - 5) == TODAY - 5
    assert day_of(TODAY * DAY_US - 1) == TODAY - 1


def test_the_file_holds_no_key_of_a_day_that_is_over(file, tmp_path):
    path = tmp_path / "transit.key"
    first = file.ratchet
    old = file.seal(PLACE, b"of yesterday", TODAY)
    assert first.key.hex() in path.read_text()  # the control: it was there
    kept = os.open(path, os.O_RDONLY)  # as whoever reads the blocks of the old file
    assert file.destroy_before(TODAY + 2)
    assert os.read(kept, 4096).strip(b"\0") == b""
    os.close(kept)
    assert first.key.hex() not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["transit.key"]
    for each in (file, KeyFile(path)):
        assert each.ratchet == first.forward(TODAY + 2)
        assert refused(lambda each=each: each.open(PLACE, old, TODAY + 2)) == "HS-TRANSIT-GONE"
        assert each.open(PLACE, each.seal(PLACE, b"new", TODAY + 2), TODAY + 2) == b"new"
    assert not file.destroy_before(TODAY + 1)


def test_nodes_that_go_forward_at_different_times_read_each_other(file, tmp_path):
    other_path = tmp_path / "other.key"
    other_path.write_bytes((tmp_path / "transit.key").read_bytes())
    other_path.chmod(0o600)
    other = KeyFile(other_path)
    file.destroy_before(TODAY + 3)
    sealed = other.seal(PLACE, b"x", TODAY + 4)
    assert file.open(PLACE, sealed, TODAY + 4) == b"x"
    assert file.ratchet.name() == other.ratchet.name()
    KeyFile.create(tmp_path / "third.key", TODAY)
    assert KeyFile(tmp_path / "third.key").ratchet.name() != file.ratchet.name()


def test_a_clock_that_was_wrong_costs_nothing(file, tmp_path):
    """It ran ahead by ten days, keys went by it, and it was set back; other nodes saw nothing of it."""
    (tmp_path / "other.key").write_bytes((tmp_path / "transit.key").read_bytes())
    (tmp_path / "other.key").chmod(0o600)
    other = KeyFile(tmp_path / "other.key")
    file.destroy_before(TODAY + 9)
    sealed = file.seal(PLACE, b"x", TODAY)
    assert sealed_day(sealed) == TODAY + 9
    assert file.open(PLACE, sealed, TODAY) == other.open(PLACE, sealed, TODAY) == b"x"
    assert refused(lambda: file.open(PLACE, file.seal(PLACE, b"x", TODAY + 900), TODAY)) == "HS-TRANSIT-DAMAGED"


def test_a_file_is_made_once_and_read_only_when_it_is_private(file, tmp_path):
    assert refused(lambda: KeyFile.create(tmp_path / "transit.key", TODAY)) == "HS-INIT-EXISTS"
    (tmp_path / "transit.key").chmod(0o640)
    assert refused(lambda: KeyFile(tmp_path / "transit.key")) == "HS-SECRET-FILE"
    assert refused(lambda: KeyFile(tmp_path / "missing.key")) == "HS-SECRET-FILE"


@pytest.mark.parametrize("text", ["", "x\n1\n00\n", "handslag transit key 1\n-1\n" + "00" * 32 + "\n",
                                  "handslag transit key 1\n1\n" + "00" * 31 + "\n",
                                  "handslag transit key 1\n1\nzz\n"])  # fmt: skip
def test_a_file_of_another_form_is_refused(tmp_path, text):
    path = tmp_path / "transit.key"
    path.write_text(text)
    path.chmod(0o600)
    assert refused(lambda: KeyFile(path)) == "HS-SECRET-FILE"


def test_a_day_beyond_the_chain_is_damage():
    assert refused(lambda: Ratchet(1, bytes(32)).forward(70_000)) == "HS-TRANSIT-DAMAGED"


def test_the_key_that_seals_is_not_the_key_that_goes_on():
    """Else whoever saw the key of one record could go on to every later day."""
    start = Ratchet(TODAY, bytes(32))
    sealed = seal(cipher_of(start, TODAY), TODAY, PLACE, b"x", bytes(12))
    with pytest.raises(Exception):  # noqa: B017
        AESGCM(start.key).decrypt(bytes(12), sealed[16:], sealed[:4] + PLACE)
