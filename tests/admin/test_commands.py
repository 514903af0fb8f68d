"""Drawing up, signing on two machines, carrying out: the operator's commands as they are typed."""

from __future__ import annotations

import asyncio
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker import admissions, control, settings
from broker.actfiles import ActFiles
from schemas.errors import HandslagError
from tests.gateway.test_cli import UNIT, config, home, request, run  # noqa: F401 - two are fixtures


@pytest.fixture
def apart(config, tmp_path):  # noqa: F811
    """A broker whose two administrators keep their keys elsewhere."""
    keys = {}
    for name in ("duty", "deputy"):
        keys[name] = tmp_path / f"{name}.key"
        assert run("admin", "key", keys[name])[0] == 0
    public = {name: json.loads(run("admin", "key", tmp_path / f"x-{name}", "--json")[1])["public"] for name in keys}
    for name in keys:
        keys[name] = tmp_path / f"x-{name}"
    named = [f"{name}={public[name]}" for name in keys]
    code, _out, err = run("admin", "name", "--config", config, *named, "--draft", tmp_path / "n.json")
    assert code == 0, err  # the two of `init` sign, for the last time
    text = config.read_text()
    at = text.index("[administration]")
    config.write_text(text[:at] + text[text.index("[operations]") :])
    return config, keys


def acts_of(config):  # noqa: F811
    loaded = settings.load(config)
    return ActFiles(loaded.data_dir, loaded.origin).chain()


def test_a_unit_is_admitted_when_two_have_signed(apart, tmp_path):
    config, keys = apart  # noqa: F811
    asked = request(tmp_path, Ed25519PrivateKey.generate())
    code, out, _err = run("agency", "admit", "--config", config, asked, "--json")
    drawn = json.loads(out)
    assert (code, drawn["missing"], drawn["carried_out"]) == (4, 2, False)
    assert admissions.load_all(config.parent / "data") == []
    draft = drawn["draft"]
    assert run("admin", "sign", draft, "--key", keys["duty"], "--name", "duty")[0] == 0
    code, _out, err = run("admin", "carry-out", draft, "--config", config)
    assert code == 1
    assert "HS-ADMIN-UNSIGNED" in err
    assert admissions.load_all(config.parent / "data") == []
    assert run("admin", "sign", draft, "--key", keys["deputy"], "--config", config)[0] == 0
    assert run("admin", "carry-out", draft, "--config", config)[0] == 0
    assert [each.unit for each in admissions.load_all(config.parent / "data")] == [UNIT]
    assert acts_of(config).admitted.keys() == {UNIT}
    assert asked.with_name(asked.stem + ".answer.json").exists()
    assert run("admin", "carry-out", draft, "--config", config)[0] == 0  # again does no harm
    assert acts_of(config).count == 4


def test_one_administrator_signing_twice_is_one(apart, tmp_path):
    config, keys = apart  # noqa: F811
    asked = request(tmp_path, Ed25519PrivateKey.generate())
    draft = json.loads(run("agency", "admit", "--config", config, asked, "--json")[1])["draft"]
    for name in ("duty", "deputy"):
        run("admin", "sign", draft, "--key", keys["duty"], "--name", name)
    code, _out, err = run("admin", "carry-out", draft, "--config", config)
    assert code == 1
    assert "HS-ADMIN-ACT-INVALID" in err
    assert acts_of(config).admitted == {}


def test_a_draft_that_was_overtaken_is_refused(apart, tmp_path):
    config, keys = apart  # noqa: F811
    drafts = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        asked = request(tmp_path / name, Ed25519PrivateKey.generate())
        drafts.append(json.loads(run("agency", "admit", "--config", config, asked, "--json")[1])["draft"])
        for who in keys:
            run("admin", "sign", drafts[-1], "--key", keys[who], "--name", who)
    assert run("admin", "carry-out", drafts[0], "--config", config)[0] == 0
    code, _out, err = run("admin", "carry-out", drafts[1], "--config", config)
    assert code == 1
    assert "HS-ADMIN-ACT-INVALID" in err


def test_the_list_says_what_was_done_and_who_may_sign(config, tmp_path):  # noqa: F811
    assert run("agency", "admit", "--config", config, request(tmp_path, Ed25519PrivateKey.generate()))[0] == 0
    assert run("agency", "revoke", "--config", config, UNIT, "--reason", "EXEMPEL")[0] == 0
    told = json.loads(run("admin", "list", "--config", config, "--json")[1])
    assert [row["kind"] for row in told["acts"]] == ["ADMINISTRATORS", "RULES", "ADMIT", "REVOKE"]
    assert told["acts"][3]["units"] == [UNIT]
    assert told["may_sign"] == ["demo-first", "demo-second"]
    code, _out, err = run("agency", "revoke", "--config", config, UNIT)
    assert code == 1
    assert "HS-UNIT-UNKNOWN" in err


async def test_an_act_that_was_refused_is_not_listed_as_done(config, tmp_path):  # noqa: F811
    """Two signed, the node said no: the list says so, until it is carried out."""

    async def look(_arguments):
        return {}

    async def refuse(_arguments):
        raise HandslagError("HS-UNIT-COMPROMISED")

    data = config.parent / "data"
    asked = request(tmp_path, Ed25519PrivateKey.generate())
    with control.sole_node(data):
        async with control.serve_control(data, {"acts": look, "admit_together": refuse}):
            code, _out, err = await asyncio.to_thread(run, "agency", "admit", "--config", config, asked)
    assert (code, "HS-UNIT-COMPROMISED" in err) == (1, True)
    told = json.loads(run("admin", "list", "--config", config, "--json")[1])
    assert [row["not_carried_out"] for row in told["acts"]] == [[], [], [UNIT]]
    assert f"NOT CARRIED OUT: {UNIT}" in run("admin", "list", "--config", config)[1]
    assert run("agency", "admit", "--config", config, asked)[0] == 0
    told = json.loads(run("admin", "list", "--config", config, "--json")[1])
    assert told["acts"][-1]["not_carried_out"] == []


def test_an_older_brokers_units_are_adopted(config, tmp_path):  # noqa: F811
    assert run("agency", "admit", "--config", config, request(tmp_path, Ed25519PrivateKey.generate()))[0] == 0
    (config.parent / "data" / "acts" / "000003.act").unlink()  # as an earlier version left it: admitted, not signed
    assert acts_of(config).admitted == {}
    assert run("admin", "adopt", "--config", config)[0] == 0
    assert acts_of(config).admitted.keys() == {UNIT}
