"""Grants that took long to reach the broker. Found by kills, seed 110."""

import json

import pytest

from connectors import acts, commands, executor
from schemas import limits
from schemas.acts import ConsentAct
from schemas.calls import LedgerPage
from schemas.errors import HandslagError
from schemas.identifiers import ZERO32

GRANT = {
    "do": "grant", "ref": "EX-1", "recipients": [{"role": "police_coordination"}], "categories": ["IC01"],
    "purposes": ["INTAKE"], "valid_until": "2999-01-01T00:00:00Z", "text_version": "1", "terms_version": "1",
    "processing_acknowledged": True, "method": "WRITTEN",
}  # fmt: skip


class Broker:
    """Answers `/v1/consents` by the rule of the real one, at a time of its own, and keeps what it was sent."""

    def __init__(self, now_us: int, *, stale: int = 0) -> None:
        self.now_us, self.stale, self.acts = now_us, stale, []

    async def call(self, path, request, _answer, *, tries=1, pressing=False):
        if path != "/v1/consents":
            return LedgerPage(events=(), ledger_seq=0, head=ZERO32)
        self.acts.append(ConsentAct.from_bytes(request.act))
        if self.stale:
            self.stale -= 1
            raise HandslagError("HS-HEAD-STALE")
        if self.acts[-1].terms.valid_from_us < self.now_us - limits.SENT_AHEAD_US:
            raise HandslagError("HS-GRANT-BACKDATED", field="valid_from")
        raise HandslagError("HS-BROKER-UNREACHABLE")


@pytest.mark.parametrize("given", [None, "2020-01-01T00:00:00Z"])
async def test_a_grant_noted_while_the_broker_was_away_counts_from_its_recording(world, given) -> None:
    ctx = world.ctx
    command_id = executor.submit(ctx, commands.read(json.dumps({**GRANT, "valid_from": given}).encode()))
    ctx.link = away = Broker(0)
    with pytest.raises(HandslagError, match="HS-BROKER-UNREACHABLE"):
        await acts.record(ctx, ctx.spool.commands.get(command_id))
    later = ctx.now() + 2 * limits.SENT_AHEAD_US
    ctx.now = lambda: later
    ctx.link = broker = Broker(later)
    code = "HS-GRANT-BACKDATED" if given else "HS-BROKER-UNREACHABLE"  # what the person dated back stays refused
    with pytest.raises(HandslagError, match=code):
        await acts.record(ctx, ctx.spool.commands.get(command_id))
    assert broker.acts[0] == away.acts[0]  # it may have been recorded: first the same bytes
    assert len(broker.acts) == (1 if given else 2)
    assert len({act.consent_id for act in broker.acts}) == 1
    if not given:
        assert broker.acts[1].terms.valid_from_us == later


async def test_a_stale_head_is_signed_anew_at_once(world) -> None:
    ctx = world.ctx
    command_id = executor.submit(ctx, commands.read(json.dumps(GRANT).encode()))
    ctx.link = broker = Broker(0, stale=1)
    with pytest.raises(HandslagError, match="HS-BROKER-UNREACHABLE"):
        await acts.record(ctx, ctx.spool.commands.get(command_id))
    assert len(broker.acts) == 2
