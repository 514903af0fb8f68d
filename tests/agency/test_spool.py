"""The spool as files: durable, encrypted, each section given once."""

import contextlib
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from connectors.box import DataKey
from connectors.identity import Identities, Seat
from connectors.keys import SeatKeyPair
from connectors.opening import Remembered
from connectors.spool import Spool
from connectors.spool.tables import VERSIONS
from connectors.waiting import OutgoingState, SectionState
from schemas.acts import LedgerEvent
from schemas.errors import HandslagError
from schemas.identifiers import ZERO32

CANARIES = ("Kanarie Fågelsson", "19121212-1212", "Kanarieholmen")


def spool_in(folder: Path) -> Spool:
    key = folder / "data.key"
    return Spool(folder / "data" / "connector.db", DataKey.load(key) if key.exists() else DataKey.create(key))


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return spool_in(tmp_path)


def accept(spool: Spool, event_id: bytes, *, ref: bytes = b"r" * 32, kind: str = "support_requested") -> None:
    event = {"data": {"text": CANARIES[0]}, "id": "x"}
    pairs = [("police_coordination", "IC12"), ("police_coordination", "IC02")]
    spool.outgoing.accept(event_id, ref, kind, event, pairs, now_us=1, shelf_until_us=100)


def seat(ref: str) -> Seat:
    return Seat(
        ref=ref, seat_id=b"s" * 16, state="ACTIVE", role="social_services_lead", case_tag=b"c" * 16, member=b"m" * 16,
        private=SeatKeyPair.generate().private_bytes(), pin=ZERO32, lead_statement=b"x", acceptance=b"",
        units={"6d": CANARIES[2]},
    )  # fmt: skip


def test_nothing_readable_at_rest(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    identities = Identities(spool.store)
    own = seat(CANARIES[0])
    identities.add(own)
    accept(spool, b"e" * 16)
    spool.outgoing.sealed(b"e" * 16, 1, CANARIES[1].encode(), CANARIES[2].encode(), "1/a")
    spool.incoming.put("aa", "out", {"kind": "delivery", "name": CANARIES[1]})
    spool.commands.accept(b"k" * 16, b"r" * 32, "grant", {"ref": CANARIES[0]}, narrowing=False)
    spool.memory.add_call(b"k" * 16, "/v1/consents", CANARIES[0].encode(), 1)
    spool.memory.log_reading({"ref": CANARIES[0]}, 1)
    stored = b"".join(path.read_bytes() for path in (tmp_path / "data").iterdir())
    for canary in (*CANARIES, *(text.encode("utf-16-le").decode("latin-1") for text in CANARIES)):
        assert canary.encode() not in stored
    assert own.private[:32] not in stored
    # Positive control: the scan sees what is in clear, and the key opens what is not.
    assert b"support_requested" in stored
    assert identities.get(CANARIES[0]).units == {"6d": CANARIES[2]}
    assert spool.outgoing.get(b"e" * 16).event["data"]["text"] == CANARIES[0]
    assert spool.incoming.to_write()[0].value["name"] == CANARIES[1]


def test_content_is_gone_when_nobody_waits_for_it(spool: Spool, tmp_path: Path) -> None:
    accept(spool, b"e" * 16)
    sealed_before = spool.store.one("SELECT event FROM outgoing")
    assert sealed_before is not None
    spool.outgoing.move(b"e" * 16, OutgoingState.REFUSED)
    spool.store.tidy()
    stored = b"".join(path.read_bytes() for path in (tmp_path / "data").iterdir())
    assert bytes(sealed_before[0]) not in stored
    assert spool.outgoing.get(b"e" * 16).event == {}


def test_another_key_opens_nothing(tmp_path: Path) -> None:
    spool_in(tmp_path).close()
    (tmp_path / "data.key").unlink()
    with pytest.raises(HandslagError) as caught:
        spool_in(tmp_path)
    assert caught.value.code == "HS-SPOOL-UNREADABLE"


def test_a_value_cannot_be_moved_to_another_column(tmp_path: Path) -> None:
    key = DataKey.create(tmp_path / "k")
    sealed = key.seal("a", b"x")
    assert key.open("a", sealed) == b"x"
    with pytest.raises(HandslagError):
        key.open("b", sealed)


def test_a_key_file_open_to_others_is_refused(tmp_path: Path) -> None:
    DataKey.create(tmp_path / "k")
    assert (tmp_path / "k").stat().st_mode & 0o777 == 0o600
    (tmp_path / "k").chmod(0o640)
    with pytest.raises(HandslagError) as caught:
        DataKey.load(tmp_path / "k")
    assert caught.value.code == "HS-FOLDER-UNSAFE"


def test_a_transaction_is_whole_or_nothing(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)

    def half_done() -> None:
        with spool.transaction():
            accept(spool, b"e" * 16)
            with spool.transaction():
                spool.commands.take(b"mark")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half_done()
    assert not spool.commands.taken(b"mark")
    with pytest.raises(HandslagError):
        spool.outgoing.get(b"e" * 16)
    with spool.transaction():
        accept(spool, b"e" * 16)
        spool.commands.take(b"mark")
    spool.close()
    again = spool_in(tmp_path)
    assert again.commands.taken(b"mark")
    assert again.outgoing.get(b"e" * 16).state is OutgoingState.ACCEPTED


def test_what_was_committed_survives_a_kill(tmp_path: Path) -> None:
    """A writer prints each number after its commit and is killed; everything printed must be there, whole."""
    spool_in(tmp_path).close()
    program = textwrap.dedent("""
        import sys
        from pathlib import Path
        from connectors.box import DataKey
        from connectors.spool import Spool
        folder = Path(sys.argv[1])
        spool = Spool(folder / "data" / "connector.db", DataKey.load(folder / "data.key"))
        start = int(sys.argv[2])
        for n in range(start, start + 100000):
            with spool.transaction():
                spool.commands.take(n.to_bytes(8, "big"))
                spool.incoming.put(str(n), "out", {"n": n})
            print(n, flush=True)
    """)
    for round_number in range(3):
        start = round_number * 100_000
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path), str(start)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        said = [int(process.stdout.readline())]
        time.sleep(0.1 + 0.07 * round_number)
        process.kill()
        said += [int(line) for line in process.stdout.read().split("\n")[:-1]]
        process.wait()
        process.stdout.close()
        spool = spool_in(tmp_path)
        names = {int(row[0]) for row in spool.store.all("SELECT name FROM outbox")}
        marks = {int.from_bytes(mark, "big") for mark in spool.commands.marks()}
        spool.close()
        assert said[-1] > start  # positive control: it was killed in the middle of work
        assert set(said) <= names
        assert names == marks


def test_a_section_is_given_once(spool: Spool) -> None:
    memory = Remembered(b"h" * 32, b"d" * 32, {"IC04": b"1" * 32})
    spool.incoming.store_delivery(b"d" * 16, b"s" * 16, b"e" * 16, memory, {b"1" * 32}, b"raw", 1)
    spool.incoming.put("dd", "out", {"kind": "delivery"}, b"d" * 16)
    spool.incoming.put("dd", "out", {"kind": "another"}, b"d" * 16)
    [item] = spool.incoming.to_write()
    assert item.value == {"kind": "delivery"}
    assert spool.incoming.held_digests(b"e" * 16, b"x" * 16) == {b"1" * 32}
    assert spool.incoming.remembered(b"e" * 16) == {b"e" * 16: memory}
    spool.incoming.written(item)
    assert spool.incoming.to_write() == []
    spool.incoming.put("dd", "out", {"kind": "again"}, b"d" * 16)
    assert spool.incoming.to_write() == []
    with pytest.raises(HandslagError):
        spool.incoming.store_delivery(b"d" * 16, b"s" * 16, b"e" * 16, memory, set(), b"raw", 1)


def test_an_acknowledgement_waits_for_the_adapter(spool: Spool) -> None:
    memory = Remembered(b"h" * 32, b"d" * 32, {})
    spool.incoming.store_delivery(b"d" * 16, b"s" * 16, b"e" * 16, memory, {b"1" * 32}, b"raw", 1)
    spool.incoming.put("dd", "out", {}, b"d" * 16)
    spool.incoming.want_ack(b"d" * 16, 1, "ACK")
    spool.incoming.want_ack(b"n" * 16, 0, "ACK")
    assert [ack.item_id for ack in spool.incoming.acks()] == [b"n" * 16]
    spool.incoming.written(spool.incoming.to_write()[0])
    assert {ack.item_id for ack in spool.incoming.acks()} == {b"n" * 16, b"d" * 16}
    spool.incoming.want_ack(b"d" * 16, 2, "ACK")
    old = next(ack for ack in spool.incoming.acks() if ack.item_id == b"d" * 16)
    assert old.hand_number == 2
    spool.incoming.acked(old)
    assert [ack.item_id for ack in spool.incoming.acks()] == [b"n" * 16]


def test_a_recalled_section_is_never_given_by_its_delivery_again(spool: Spool) -> None:
    memory = Remembered(b"h" * 32, b"d" * 32, {})
    event, first, later = b"e" * 16, b"d" * 16, b"D" * 16
    digests = [b"1" * 32, b"2" * 32]
    spool.incoming.store_delivery(first, b"s" * 16, event, memory, {digests[0]}, b"raw", 1)
    spool.incoming.put("dd", "out", {}, first)
    spool.incoming.written(spool.incoming.to_write()[0])
    assert spool.incoming.recalled(event, first, digests) == {digests[0]}
    assert spool.incoming.held_digests(event, first) == set(digests)
    # The second was never given: a later delivery brings it, and an old recall does not stop that.
    assert spool.incoming.held_digests(event, later) == {digests[0]}
    spool.incoming.store_delivery(later, b"s" * 16, event, memory, {digests[1]}, b"raw", 1)
    # Said again of what was given, and of no more.
    assert spool.incoming.recalled(event, first, digests) == {digests[0]}
    assert spool.incoming.held_digests(event, b"x" * 16) == set(digests)
    spool.incoming.put("DD", "out", {}, later)
    spool.incoming.written(spool.incoming.to_write()[0])
    assert spool.incoming.recalled(event, later, digests) == set(digests)


def test_acknowledged_sections_stay_acknowledged(spool: Spool) -> None:
    accept(spool, b"e" * 16)
    role = "police_coordination"
    spool.outgoing.set_section(b"e" * 16, role, "IC12", SectionState.ACKED)
    spool.outgoing.set_section(b"e" * 16, role, "IC12", SectionState.OPEN, ["WITHDRAWN"])
    spool.outgoing.set_section(b"e" * 16, role, "IC02", SectionState.OPEN, ["WITHDRAWN", "EXPIRED"])
    rows = {row.category: row for row in spool.outgoing.sections(b"e" * 16)}
    assert rows["IC12"].state is SectionState.ACKED
    assert rows["IC02"].reasons == ("WITHDRAWN", "EXPIRED")


def test_a_noted_withdrawal_stops_at_once_and_goes_first(spool: Spool) -> None:
    ref = b"r" * 32
    spool.commands.accept(b"1" * 16, ref, "invite", {}, narrowing=False)
    spool.commands.accept(b"2" * 16, ref, "grant", {}, narrowing=False)
    assert [each.kind for each in spool.commands.due(1)] == ["invite"]
    assert not spool.commands.stopped(ref)
    spool.commands.accept(b"3" * 16, ref, "withdraw_case", {}, narrowing=True)
    assert spool.commands.stopped(ref)
    assert not spool.commands.stopped(b"x" * 32)
    assert [each.kind for each in spool.commands.due(1)] == ["withdraw_case", "invite"]
    spool.commands.later(b"3" * 16, 50)
    assert spool.commands.stopped(ref)
    assert [each.kind for each in spool.commands.due(1)] == ["invite"]
    spool.commands.finish(b"3" * 16, failed=False)
    assert not spool.commands.stopped(ref)


def test_a_later_event_of_the_type_overtakes(spool: Spool) -> None:
    accept(spool, b"1" * 16)
    accept(spool, b"2" * 16)
    assert not spool.outgoing.overtaken(b"1" * 16)
    spool.outgoing.sealed(b"2" * 16, 1, b"s", b"s", "1/a")
    assert spool.outgoing.overtaken(b"1" * 16)
    assert not spool.outgoing.overtaken(b"2" * 16)
    accept(spool, b"3" * 16, kind="custody_status_changed")
    assert not spool.outgoing.overtaken(b"3" * 16)


def test_the_ledger_copy_keeps_order_and_head(spool: Spool) -> None:
    events = [LedgerEvent(ledger_seq=n, act=b"a", holders=(), recorded_at_us=n, head=bytes([n]) * 32) for n in (1, 2)]
    assert spool.memory.head(b"s" * 16) == (0, ZERO32)
    spool.memory.add_ledger(b"s" * 16, events)
    assert spool.memory.head(b"s" * 16) == (2, b"\x02" * 32)
    assert spool.memory.ledger(b"s" * 16, 1) == events[1:]
    with pytest.raises(HandslagError):
        spool.memory.add_ledger(b"s" * 16, events[:1])


def test_a_taken_reference_is_refused(spool: Spool) -> None:
    identities = Identities(spool.store)
    identities.add(seat("EX-1"))
    with pytest.raises(HandslagError) as caught:
        identities.add(seat("EX-1"))
    assert caught.value.code == "HS-REF-TAKEN"
    with pytest.raises(HandslagError) as unknown:
        identities.get("EX-2")
    assert unknown.value.code == "HS-REF-UNKNOWN"


def test_a_spool_of_a_later_version_is_refused_and_left_alone(world) -> None:
    path = world.ctx.settings.database
    world.ctx.spool.close()
    with contextlib.closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA user_version=99")
    with pytest.raises(HandslagError, match="HS-SPOOL-NEWER"):
        world.open()
    with contextlib.closing(sqlite3.connect(path)) as file:
        assert file.execute("PRAGMA user_version").fetchone() == (99,)
        file.execute(f"PRAGMA user_version={len(VERSIONS)}")
    world.open()
