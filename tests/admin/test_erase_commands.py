"""Erasing as it is typed, with a running node and connectors that are shown the act; and a broker restored later."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

import pytest

from broker import control
from broker.actfiles import private_key, signed_by
from broker.handlers import handlers
from schemas.admin import ERASE
from schemas.errors import HandslagError
from schemas.identifiers import shown
from tests.admin.erasing import GROUND
from tests.evil.house import house
from tests.gateway.test_cli import run
from tests.hold.lost import REFS, world


@asynccontextmanager
async def commands(node, core):
    """The node's socket; what runs there is what the operator types, in a thread of its own."""
    data_dir = node.settings.data_dir

    async def typed(*words):
        found = await asyncio.to_thread(run, *words)
        return found[0], found[1], found[2]

    with control.sole_node(data_dir):
        async with control.serve_control(data_dir, handlers(core, node.served)):
            yield typed


def seat_of(agency, ref) -> bytes:
    return agency.ctx.identities.get(ref).seat_id


async def test_a_seat_is_erased_by_the_commands(tmp_path):
    config = tmp_path / "broker" / "broker.toml"
    async with house(tmp_path) as home:
        await home.case("EX-1", "K-1")
        seat_id = seat_of(home.police, "K-1")
        asked = ("erase", "draft", "--config", config, "--seat-id", shown(seat_id), "--ground", GROUND)
        async with commands(home.node, home.liar._core) as typed:
            asked = (*asked, "--draft", tmp_path / "e.json")
            code, _out, err = await typed(*asked)
            assert code == 1
            assert "HS-ERASE-REFUSED" in err
            assert "check: seat" in err
            home.police.command(do="close", ref="K-1")
            await home.settle(4)
            code, out, err = await typed("erase", "restrict", *asked[2:6], "--ground", "EVIDENCE", "--json")
            assert code == 0, err
            assert json.loads(out)["carried_out"]
            code, _out, err = await typed(*asked)
            assert (code, "check: restricted" in err) == (1, True)
            assert (await typed("erase", "lift", *asked[2:6]))[0] == 0
            code, out, err = await typed(*asked, "--json")
            assert code == 0, err
            assert json.loads(out)["act"]["reason"] == GROUND
            assert seat_id.hex() not in out
            code, out, _err = await typed("erase", "status", "--config", config, "--json")
            [row] = json.loads(out)["acts"]
            assert (code, row["state"]) == (0, "DONE")
            assert row["recoverable_until"] > "2026"
            code, out, _err = await typed("erase", "status", "--config", config)
            assert "recoverable from backups until" in out
            assert home.node.recorder.vault.get("SEAT", seat_id) is None
            code, _out, err = await typed(*asked)
            assert (code, "HS-SEAT-ERASED" in err) == (1, True)
        await home.settle(2)
        for agency in (home.social, home.police):
            [act] = agency.files("receipts", kind="operator_act", act=ERASE)
            assert act["reason"] == GROUND
            assert agency.failed == []
        code, out, err = await asyncio.to_thread(run, "trail", "copy", tmp_path / "t.db", "--config", config)
        assert code == 0, err
        key = home.node.log.signer(1).verifier.vkey()
        code, out, err = await asyncio.to_thread(run, "audit", "verify", tmp_path / "t.db", "--log-key", key)
        assert code == 0, out + err
        assert "RADERAT" in out


async def erased(lost, seat_id) -> None:
    """`handslag erase` at the broker that will be lost."""
    eraser, files, named = lost.node.served.eraser, lost.node.files, lost.node.settings.administration
    await eraser.require_free(seat_id, GROUND)
    about = await eraser.named(seat_id)
    signed = files.draft(ERASE, 1, subject=about.subject, reason=GROUND)
    for key in (named.first_key_file, named.second_key_file):
        signed = signed_by(signed, private_key(key), files.chain)
    files.append(signed)
    await lost.core.record_acts(files.all())
    assert [row.state for row in await eraser.go_on()] == ["DONE"]


async def test_what_was_erased_after_the_copy_is_erased_again_before_the_log_goes_on(tmp_path):
    async with world(tmp_path) as lost:
        seat_id = seat_of(lost.agency("police"), REFS["police"])
        copy = lost.copied(tmp_path / "copy")
        lost.agency("police").command(do="close", ref=REFS["police"])
        await lost.settle(4)
        await erased(lost, seat_id)
        await lost.settle(2)  # the connectors are shown the act
        lost.lose()
        await lost.restored(copy)
        assert lost.node.recorder.vault.get("SEAT", seat_id) is not None
        await lost.settle(2)  # and give it back
        assert lost.node.recorder.vault.get("SEAT", seat_id) is None
        [row] = (await lost.read(lambda rows: rows.erasures.all())).values()
        assert (row.state, row.seat_id) == ("DONE", seat_id)
        await lost.whole_again()
        await lost.settle(2)
        assert await lost.read(lambda rows: rows.hold.cases()) == []
        with pytest.raises(HandslagError, match="HS-SEAT-ERASED"):
            lost.node.recorder.vault.seat(seat_id)
