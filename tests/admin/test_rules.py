"""Rules take force by an act of two administrators: the broker does not start on others, and agencies are told."""

from __future__ import annotations

import dataclasses
import json

import pytest

from broker import settings
from broker.administration import require_rules
from broker.metrics import Metrics
from broker.node import Node, opened
from connectors import operators
from consent.rules import shipped
from schemas.errors import HandslagError
from tests.admin.test_commands import acts_of, apart  # noqa: F401 - one is a fixture
from tests.evil.house import house
from tests.gateway.test_cli import config, home, run  # noqa: F401 - two are fixtures


async def start(config) -> None:  # noqa: F811
    loaded = settings.load(config)
    store, vault = opened(loaded)
    try:
        await Node(loaded, Metrics(), store, vault).open_log()
    finally:
        store.close()
        vault.close()


def without_rules(config) -> None:  # noqa: F811
    (config.parent / "data" / "acts" / "000002.act").unlink()


async def test_rules_that_nobody_signed_for_do_not_take_force(config):  # noqa: F811
    await start(config)  # the two of `init` signed for those of this installation
    without_rules(config)
    (config.parent / "data" / "broker.db").unlink()
    with pytest.raises(HandslagError) as refused:
        await start(config)
    assert (refused.value.code, refused.value.context) == ("HS-ADMIN-UNSIGNED", {"check": "rules"})
    chain = dataclasses.replace(acts_of(config), rules=bytes(32))
    with pytest.raises(HandslagError):
        require_rules(chain, shipped()[1].hash32)
    assert run("admin", "rules", "--config", config)[0] == 0
    await start(config)


def test_new_rules_wait_for_two_signatures(apart, tmp_path):  # noqa: F811
    config, keys = apart  # noqa: F811
    code, _out, err = run("admin", "rules", "--config", config, "--draft", tmp_path / "r.json")
    assert code == 1
    assert "HS-RULES-ACTIVE" in err  # these are in force already
    for number in ("000003.act", "000002.act"):  # as an earlier version left it
        (config.parent / "data" / "acts" / number).unlink()
    text = config.read_text()
    config.write_text(
        text.replace(
            "[operations]",
            '[administration]\nfirst_key_file = "administrators-demo/first.key"\n\n[operations]',
        )
    )
    code, out, _err = run("admin", "rules", "--config", config, "--draft", tmp_path / "r.json", "--json")
    assert (code, json.loads(out)["missing"]) == (4, 1)
    assert acts_of(config).rules is None
    second = config.parent / "administrators-demo" / "second.key"
    assert run("admin", "sign", tmp_path / "r.json", "--key", second, "--name", "demo-second")[0] == 0
    assert run("admin", "carry-out", tmp_path / "r.json", "--config", config)[0] == 0
    assert acts_of(config).rules == shipped()[1].hash32
    assert keys


async def test_rules_that_nobody_signed_for_are_told(tmp_path):
    async with house(tmp_path) as home:  # noqa: F811
        await home.settle(2)
        agency = home.social
        assert not operators.unsigned_rules(agency.ctx)
        [act] = agency.files("receipts", kind="operator_act", act="RULES")
        assert act["subject"] == shipped()[1].hash32.hex()
        assert agency.files("receipts", code="HS-ADMIN-UNSIGNED") == []

    async def only_the_first(honest, after):
        answer = await honest()
        return dataclasses.replace(answer, entries=answer.entries[: max(0, 1 - after)])

    async with house(tmp_path / "other") as home:
        home.liar.lies["acts"] = only_the_first
        await home.settle(2)
        agency = home.social
        assert operators.unsigned_rules(agency.ctx)
        told = [each for each in agency.files("receipts", code="HS-ADMIN-UNSIGNED") if each.get("rules")]
        assert len(told) == 1  # once
