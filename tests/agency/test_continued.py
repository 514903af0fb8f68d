"""A broker that was restored from a copy, seen from one connector: what it follows, what goes again."""

from __future__ import annotations

import json

import pytest

from audit import beat, tiles
from audit.checkpoint import Checkpoint, sign_checkpoint
from audit.continuation import subject_of
from audit.merkle import Frontier
from audit.note import Signer
from connectors import commands, executor, hold, ledgers, resume, sending
from connectors.waiting import OutgoingState, SectionState
from schemas.admin import AdminActsAnswer
from schemas.errors import HandslagError
from schemas.hold import Continuation
from tests.agency.conftest import ORIGIN
from tests.agency.test_distrust import SEND

GOING_ON = f"{ORIGIN}/2"


class Log:
    """A log's leaves, tiles and notes under any of its names."""

    def __init__(self, world) -> None:
        self.key = world.log
        self.tiles: dict[tuple[int, int, int], bytes] = {}
        self.frontier = Frontier()

    def grow(self, seed: bytes) -> None:
        leaves = [beat.filler_leaf(seed, self.frontier.size + at) for at in range(16)]
        first = self.frontier.size
        grown = tiles.grow(first, leaves, lambda level, n, width: self.tiles[level, n, width])
        self.tiles |= {(one.level, one.n, one.width): one.hashes for one in grown.tiles}
        self.frontier.extend(leaves)

    def head(self, origin: str = ORIGIN) -> Checkpoint:
        return Checkpoint(origin, self.frontier.size, self.frontier.root())

    def note(self, origin: str = ORIGIN) -> bytes:
        return sign_checkpoint(self.head(origin), [Signer(origin, self.key)])

    async def fetch(self, path: str) -> bytes:
        level, n, width = tiles.parse_tile_path(path.removeprefix("/v1/"))
        whole = next(held for (lv, at, wd), held in self.tiles.items() if (lv, at) == (level, n) and wd >= width)
        return whole[: 32 * width]


def statement(log: Log, old: Checkpoint) -> Continuation:
    kept = log.head()
    return Continuation(
        hold_id=b"h" * 16, cause="RESTORED", old_origin=ORIGIN, old_size=old.size, old_root=old.root,
        new_origin=GOING_ON, kept_size=kept.size, kept_root=kept.root, new_note=log.note(GOING_ON),
        administrator="EXEMPEL Admin", reason="test", at_us=1,
    )  # fmt: skip


def loss(said: Continuation) -> resume.Loss:
    return resume.Loss(
        said=said, code="", ours=None, more=False, kept=said.kept_size, proofs=0, wanted=0, hold_id=said.hold_id
    )


@pytest.fixture
async def seen(world):
    """A connector that has seen 32 leaves, and the log as it was put back: the first 16 and others after."""
    log, lost = Log(world), Log(world)
    for one in (log, lost):
        one.grow(b"1" * 32)
    await world.ctx.witness.follow(lost.note(), lost.fetch, 1)
    lost.grow(b"2" * 32)
    await world.ctx.witness.follow(lost.note(), lost.fetch, 1)
    return world, log, lost


async def test_only_a_person_makes_a_connector_follow_a_continued_log(seen):
    world, log, lost = seen
    witness, said = world.ctx.witness, statement(log, lost.head())
    log.grow(b"3" * 32)
    with pytest.raises(HandslagError, match="HS-LOG-CONTINUED"):
        await witness.follow(log.note(GOING_ON), log.fetch, 1)
    world.reopen()
    with pytest.raises(HandslagError, match="HS-LOG-CONTINUED"):
        world.ctx.witness.check_running()  # it stays stopped, also after a restart
    await resume.same_beginning(world.ctx, said, said.kept_size, log.fetch)
    resume.confirm(world.ctx, loss(said))
    world.ctx.witness.check_running()
    assert (await world.ctx.witness.follow(log.note(GOING_ON), log.fetch, 1)).size == 32
    with pytest.raises(HandslagError, match="HS-TRAIL-ROLLBACK"):  # and never back to the old name
        await world.ctx.witness.follow(lost.note(), lost.fetch, 1)


async def test_a_continuation_that_forked_before_the_loss_is_refused(seen, world):
    _world, log, lost = seen
    forged = Log(world)
    forged.grow(b"9" * 32)
    forged.grow(b"9" * 32)
    forged.grow(b"9" * 32)
    said = statement(forged, lost.head())
    with pytest.raises(HandslagError, match="HS-RESUME-REFUSED"):
        await resume.same_beginning(world.ctx, said, said.kept_size, forged.fetch)
    for seed in (b"2", b"3"):
        log.grow(seed * 32)
    said = statement(log, lost.head())  # the control: nothing that we saw was lost
    await resume.same_beginning(world.ctx, said, said.kept_size, log.fetch)


class Shown:
    """A link that is shown the operator's acts: none that is new."""

    async def raw(self, _path: str) -> bytes:
        return AdminActsAnswer(entries=()).to_bytes()


async def test_a_log_that_went_on_without_two_administrators_is_not_followed(seen, monkeypatch):
    world, log, lost = seen
    said = statement(log, lost.head())
    await resume.signed_for(world.ctx, [said])  # a broker of an earlier version has no acts
    monkeypatch.setattr(world.ctx, "link", Shown())
    state = {"count": 2, "head": bytes(32).hex(), "administrators": {}, "admitted": {}}
    for gone_on, holds in (([], False), ([bytes(32).hex()], False), ([subject_of(said).hex()], True)):
        world.ctx.spool.memory.put("admin-acts", json.dumps({**state, "gone_on": gone_on}).encode())
        if holds:
            await resume.signed_for(world.ctx, [said])
            continue
        with pytest.raises(HandslagError) as refused:
            await resume.signed_for(world.ctx, [said])
        assert refused.value.context == {"check": "unsigned"}


def outgoing(world) -> bytes:
    """An event that the broker released and nobody has acknowledged."""
    ledgers.take(world.ctx, world.seat, [world.act("GRANT", ("IC04", "IC12"))])
    event_id = executor.submit(world.ctx, commands.read(json.dumps(SEND).encode()))
    while sending.seal_due(world.ctx):
        pass
    out = world.ctx.spool.outgoing
    out.posting([event_id])
    out.move(event_id, OutgoingState.SENT)
    out.move(event_id, OutgoingState.DECIDED)
    for row in out.sections(event_id):
        out.released(event_id, row.role, row.category, 1)
    return event_id


async def test_what_was_released_and_not_acknowledged_goes_again(world):
    event_id = outgoing(world)
    out = world.ctx.spool.outgoing
    assert {row.state for row in out.sections(event_id)} == {SectionState.LIVE}
    assert hold.send_again(world.ctx) == 1
    assert out.standing(event_id) == (OutgoingState.SEALED, 2)
    # The broker had not lost it: it names the first attempt as the one that carries the sections.
    row = out.sections(event_id)[0]
    out.released(event_id, row.role, row.category, 1)
    assert out.sections(event_id)[0].state is SectionState.LIVE
    assert hold.send_again(world.ctx) == 0


async def test_what_is_stopped_here_does_not_go_again(world):
    event_id = outgoing(world)
    note = {"do": "withdraw_case", "ref": "EX-1", "method": "ORAL_DOCUMENTED"}
    executor.submit(world.ctx, commands.read(json.dumps(note).encode()))
    assert hold.send_again(world.ctx) == 0
    assert world.ctx.spool.outgoing.standing(event_id) == (OutgoingState.DECIDED, 1)


async def test_nothing_is_polled_before_everything_is_given_back(world):
    hold.require_given(world.ctx)
    hold.follow(world.ctx, b"h" * 16)
    with pytest.raises(HandslagError, match="HS-HOLD"):
        hold.require_given(world.ctx)
    assert hold.pending(world.ctx)
