"""The folder, the way out, the ledger copy and the log's checkpoints, on real files, with the broker away."""

import json
import os
from pathlib import Path

import pytest

from audit import merkle
from audit.checkpoint import Checkpoint, sign_checkpoint
from audit.tiles import tiles_of
from connectors import commands, executor, ledgers, outbound, sending, upkeep
from connectors.adapters.folder import Folder
from connectors.waiting import OutgoingState
from schemas import limits
from schemas.envelope import Attempt, Submission
from schemas.errors import HandslagError

CANARY = "Kanariefågel-19121212-1212"
SEND = {
    "do": "send", "id": "s1", "ref": "EX-1", "event_type": "threat_assessment_requested",
    "to": ["police_coordination"], "purpose": "THREAT_ASSESSMENT", "confirmed": True,
    "data": {"person_name": CANARY, "reason_code": "EXIT_WISH", "urgency": "ACUTE", "known_facts": []},
}  # fmt: skip


def folder_of(world) -> Folder:
    return Folder(world.ctx.settings.folder, world.ctx)


def drop(world, name: str, value: object) -> Path:
    path = world.ctx.settings.folder / "in" / name
    path.write_text(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    return path


def sent(world, event_id: bytes) -> tuple[Submission, Attempt]:
    submission = Submission.from_bytes(world.ctx.spool.outgoing.get(event_id).submission, limits.SUBMISSION)
    return submission, Attempt.from_bytes(submission.attempt)


async def test_a_folder_open_to_others_is_refused(world) -> None:
    folder_of(world)
    for name in ("in", "out", "receipts", ""):
        path = world.ctx.settings.folder / name
        path.chmod(0o750)
        with pytest.raises(HandslagError) as caught:
            folder_of(world)
        assert caught.value.code == "HS-FOLDER-UNSAFE"
        path.chmod(0o700)
    folder_of(world)


async def test_an_accepted_file_is_removed_once_it_is_durable(world) -> None:
    folder = folder_of(world)
    path = drop(world, "a.json", SEND)
    assert folder.take_in() == 1
    assert not path.exists()
    world.reopen()
    [event] = world.ctx.spool.outgoing.in_state(OutgoingState.ACCEPTED)
    assert event.event["data"]["person_name"] == CANARY
    assert world.ctx.spool.commands.marks() == []
    # The same words again are a new event: the file is a new one.
    drop(world, "a.json", SEND)
    assert folder_of(world).take_in() == 1
    assert len(list(world.ctx.spool.outgoing.in_state(OutgoingState.ACCEPTED))) == 2


async def test_a_file_taken_and_not_yet_removed_is_not_taken_twice(world) -> None:
    folder = folder_of(world)
    path = drop(world, "a.json", SEND)
    stat, data = path.stat(), path.read_bytes()
    mark = world.ctx.spool.store.key.handle("intake", f"a.json\x00{stat.st_mtime_ns}\x00".encode() + data)
    executor.submit(world.ctx, commands.read(data), mark)  # and here the process dies
    world.reopen()
    folder = folder_of(world)
    assert folder.take_in() == 1
    assert not path.exists()
    assert len(list(world.ctx.spool.outgoing.in_state(OutgoingState.ACCEPTED))) == 1


@pytest.mark.parametrize(
    "value",
    [
        {**SEND, "data": {CANARY: CANARY}},
        {**SEND, "ref": CANARY},
        {**SEND, CANARY: 1},
        {**SEND, "confirmed": False},
        [CANARY],
        f'{{"do": "{CANARY}',
    ],
)
async def test_an_error_file_repeats_nothing(world, value: object) -> None:
    folder = folder_of(world)
    path = drop(world, "a.json", value)
    folder.take_in()
    folder.take_in()
    assert path.exists()
    text = path.with_name("a.json.error.json").read_text()
    assert CANARY not in text
    assert {"code", "sv", "en"} <= set(json.loads(text))
    assert CANARY in path.read_text()  # positive control
    # A corrected file is taken and its error goes.
    path.write_text(json.dumps(SEND, ensure_ascii=False))
    later = path.with_name("a.json.error.json").stat().st_mtime_ns + 1_000_000
    os.utime(path, ns=(later, later))
    assert folder.take_in() == 1
    assert list(path.parent.iterdir()) == []


async def test_half_a_file_is_left_alone(world) -> None:
    folder = folder_of(world)
    whole = json.dumps(SEND)
    path = drop(world, "a.json", whole[:50])
    assert folder.take_in() == 0
    path.write_text(whole[:90])
    assert folder.take_in() == 0
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]
    path.write_text(whole)
    assert folder.take_in() == 1
    drop(world, ".b.json", SEND)
    drop(world, "c.txt", SEND)
    assert folder.take_in() == 0


async def test_an_output_file_is_given_once(world) -> None:
    folder = folder_of(world)
    incoming, root = world.ctx.spool.incoming, world.ctx.settings.folder
    for name in ("aa", "bb", "cc"):
        incoming.put(name, "out", {"kind": "delivery", "n": name})
    # bb: killed after the spool noted it and before the rename; cc: killed before the spool noted it.
    (root / "out" / ".bb.json").write_text('{"n": "bb"}')
    incoming.written(next(item for item in incoming.to_write() if item.name == "bb"))
    (root / "out" / ".cc.json").write_text("half")
    folder = folder_of(world)
    assert (root / "out" / "bb.json").read_text() == '{"n": "bb"}'
    assert folder.give_out() == 2
    assert sorted(path.name for path in (root / "out").iterdir()) == ["aa.json", "bb.json", "cc.json"]
    (root / "out" / "aa.json").unlink()
    assert folder_of(world).give_out() == 0
    assert not (root / "out" / "aa.json").exists()


async def test_what_is_not_consented_does_not_leave(world) -> None:
    ledgers.take(world.ctx, world.seat, [world.act("GRANT", ("IC04",))])
    event_id = outbound.accept(world.ctx, world.seat, commands.read(json.dumps(SEND).encode()))
    assert sending.seal_due(world.ctx) == 1
    submission, attempt = sent(world, event_id)
    assert len(submission.section_items) == 1
    assert [len(wrap.keys) for wrap in attempt.wraps] == [1]
    world.act("GRANT", ("IC01",))
    ledgers.take(world.ctx, world.seat, [world.act("GRANT", ("IC01", "IC04"))])
    assert sending.seal_due(world.ctx) == 1
    assert len(sent(world, event_id)[0].section_items) == 2  # positive control
    ledgers.take(world.ctx, world.seat, [world.act("WITHDRAW_ALL", (), sign=False)])
    assert sending.seal_due(world.ctx) == 1
    submission, attempt = sent(world, event_id)
    assert (submission.section_items, attempt.wraps, attempt.attempt) == ((), (), 1)
    assert attempt.recipients == ("police_coordination",)


async def test_bytes_that_may_have_left_are_never_changed(world) -> None:
    ledgers.take(world.ctx, world.seat, [world.act("GRANT", ("IC04",))])
    event_id = outbound.accept(world.ctx, world.seat, commands.read(json.dumps(SEND).encode()))
    sending.seal_due(world.ctx)
    async with world.ctx.link:
        with pytest.raises(HandslagError) as caught:
            await sending.send_due(world.ctx)
    assert caught.value.code == "HS-BROKER-UNREACHABLE"
    first = world.ctx.spool.outgoing.get(event_id)
    assert first.posted
    assert first.tries == 1
    assert sending.seal_due(world.ctx) == 0
    ledgers.take(world.ctx, world.seat, [world.act("WITHDRAW_ALL", (), sign=False)])
    world.ctx.spool.store.run("UPDATE outgoing SET next_at_us=0")
    assert sending.seal_due(world.ctx) == 1
    assert sent(world, event_id)[1].attempt == 2


async def test_a_noted_withdrawal_stops_at_once_also_offline(world) -> None:
    ledgers.take(world.ctx, world.seat, [world.act("GRANT", ("IC04",))])
    outbound.accept(world.ctx, world.seat, commands.read(json.dumps(SEND).encode()))
    sending.seal_due(world.ctx)
    assert len(sending._chosen(world.ctx)) == 1  # positive control: it would leave now
    folder = folder_of(world)
    drop(world, "w.json", {"do": "withdraw_case", "ref": "EX-1", "method": "WRITTEN"})
    assert folder.take_in() == 1
    async with world.ctx.link:
        assert await sending.send_due(world.ctx) == 0
        assert await executor.run_due(world.ctx) == 0
    world.reopen()
    async with world.ctx.link:
        assert await sending.send_due(world.ctx) == 0
    folder_of(world).give_out()
    kinds = [json.loads(p.read_text())["kind"] for p in (world.ctx.settings.folder / "receipts").iterdir()]
    assert kinds == ["stopped_here"]


async def test_a_role_that_is_a_stranger_needs_confirmation(world) -> None:
    command = commands.read(json.dumps({**SEND, "confirmed": False}).encode())
    with pytest.raises(HandslagError) as caught:
        outbound.accept(world.ctx, world.seat, command)
    assert caught.value.code == "HS-NOT-CONFIRMED"
    known = world.ctx.identities.introduced(world.seat, "police_coordination")
    outbound.accept(world.ctx, known, command)


async def test_a_broker_cannot_hand_out_a_grant(world) -> None:
    with pytest.raises(HandslagError) as caught:
        ledgers.take(world.ctx, world.seat, [world.act("GRANT", ("IC04",), sign=False)])
    assert caught.value.code == "HS-SIGNATURE-INVALID"
    assert world.ctx.spool.memory.head(world.seat.sid)[0] == 0
    ledgers.take(world.ctx, world.seat, [world.act("GRANT", ("IC04",))])
    assert world.ctx.spool.memory.head(world.seat.sid)[0] == 1


async def test_an_event_past_its_shelf_life_waits_for_a_person(world) -> None:
    start = world.ctx.now()
    event_id = outbound.accept(world.ctx, world.seat, commands.read(json.dumps(SEND).encode()))
    world.ctx.now = lambda: start + 73 * 3600 * 1_000_000
    assert sending.seal_due(world.ctx) == 0
    assert world.ctx.spool.outgoing.get(event_id).state is OutgoingState.EXPIRED
    [row] = sending.waiting_list(world.ctx)
    assert (row["ref"], row["state"]) == ("EX-1", "EXPIRED")
    told = world.ctx.spool.incoming.to_write()[0].value
    assert told["warning"]["en"] == "NOT DELIVERED. Phone. In danger: 112."
    world.ctx.now = lambda: start
    again = commands.read(json.dumps({**SEND, "replaces": row["event_id"]}).encode())
    outbound.accept(world.ctx, world.seat, again)
    assert world.ctx.spool.outgoing.get(event_id).state is OutgoingState.REPLACED


def note_of(world, leaves: list[bytes], *, origin: str = "broker.example/audit") -> bytes:
    return sign_checkpoint(Checkpoint(origin, len(leaves), merkle.root(leaves)), [world.signer])


async def test_a_rolled_back_log_stops_the_connector(world) -> None:
    leaves = [merkle.leaf_hash(bytes([n])) for n in range(40)]

    def server(hashes: list[bytes]):
        tiles = {(t.level, t.n, t.width): t.hashes for t in tiles_of(hashes)}

        async def fetch(path: str) -> bytes:
            from audit.tiles import parse_tile_path

            return tiles[parse_tile_path(path.removeprefix("/v1/"))]

        return fetch

    witness, now = world.ctx.witness, world.ctx.now()
    for size in (16, 16, 40):
        await witness.follow(note_of(world, leaves[:size]), server(leaves[:size]), now)
    witness.check_running()
    await witness.agrees(note_of(world, leaves[:16]), server(leaves), now)
    with pytest.raises(HandslagError) as caught:
        await witness.follow(note_of(world, leaves[:32]), server(leaves[:32]), now)
    assert caught.value.code == "HS-TRAIL-ROLLBACK"
    world.reopen()
    with pytest.raises(HandslagError) as stopped:
        world.ctx.witness.check_running()
    assert stopped.value.code == "HS-TRAIL-ROLLBACK"
    [(_at, code, evidence)] = world.ctx.spool.memory.evidence()
    assert code == "HS-TRAIL-ROLLBACK"
    assert note_of(world, leaves) in evidence
    assert world.ctx.witness.newest() == note_of(world, leaves)
    world.ctx.spool.incoming.put("aa", "out", {"kind": "delivery"})
    folder_of(world).give_out()
    names = [p.name for p in world.ctx.settings.folder.glob("*/*.json")]
    assert names == ["alarm-hs-trail-rollback.json"]


async def test_a_late_proof_raises_the_alarm_once(world) -> None:
    world.ctx.spool.memory.want_proof(b"l" * 32, "receipt", world.ctx.now())
    upkeep.alarm_late(world.ctx)
    assert world.ctx.spool.incoming.to_write() == []
    start = world.ctx.now()
    world.ctx.now = lambda: start + 601_000_000
    upkeep.alarm_late(world.ctx)
    upkeep.alarm_late(world.ctx)
    [item] = world.ctx.spool.incoming.to_write()
    assert item.value["code"] == "HS-PROOF-LATE"


async def test_a_stopped_case_holds_back_no_other(world) -> None:
    ledgers.take(world.ctx, world.seat, [world.act("GRANT", ("IC04",))])
    sections = [("police_coordination", "IC04")]
    event = {"to": ["police_coordination"]}
    with world.ctx.spool.transaction():
        for number in range(450):  # more than any page holds
            world.ctx.spool.outgoing.accept(
                number.to_bytes(16, "big"), b"a case that nobody here serves", "threat_assessment_requested", event,
                sections, now_us=world.ctx.now(), shelf_until_us=2**60,
            )  # fmt: skip
    event_id = outbound.accept(world.ctx, world.seat, commands.read(json.dumps(SEND).encode()))
    assert sending.seal_due(world.ctx) == 1
    assert world.ctx.spool.outgoing.get(event_id).state is OutgoingState.SEALED


async def test_a_silent_broker_does_not_hide_a_late_message(world) -> None:
    ledgers.take(world.ctx, world.seat, [world.act("GRANT", ("IC04",))])
    outbound.accept(world.ctx, world.seat, commands.read(json.dumps({**SEND, "id": "w1"}).encode()))
    sending.seal_due(world.ctx)
    await upkeep.warn_overdue(world.ctx)
    assert [item for item in world.ctx.spool.incoming.to_write() if item.name.startswith("late-")] == []
    start = world.ctx.now()
    world.ctx.now = lambda: start + 2 * 3600 * 1_000_000
    for _ in range(2):
        await upkeep.warn_overdue(world.ctx)
    [told] = [item.value for item in world.ctx.spool.incoming.to_write() if item.name.startswith("late-")]
    assert (told["code"], told["id"], told["detail"]) == ("delivery_overdue", "w1", "OWN_CLOCK")
    assert "112" in told["warning"]["sv"]
