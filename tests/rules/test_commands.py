"""`handslag rules propose` and `activate`: fit files only, in their time, signed by two."""

from __future__ import annotations

import json

from broker import settings
from broker.actfiles import ActFiles
from consent.rules import parse, shipped
from tests.admin.test_commands import acts_of, apart  # noqa: F401 - one is a fixture
from tests.gateway.test_cli import config, home, run  # noqa: F401 - two are fixtures
from tests.rules.ruling import CLOSED, SHIPPED, reviewed


def written(tmp_path, text: str):
    file = tmp_path / "rules.toml"
    file.write_text(text, encoding="utf-8")
    return file


def proposed(config, tmp_path, text: str):  # noqa: F811
    return run(
        "rules", "propose", written(tmp_path, text), "--config", config, "--draft", tmp_path / "p.json", "--json"
    )


def activated(config, tmp_path, version: str):  # noqa: F811
    return run("rules", "activate", version, "--config", config, "--draft", tmp_path / "a.json", "--json")


def test_a_file_that_nobody_reviewed_is_not_proposed(config, tmp_path):  # noqa: F811
    code, _out, err = proposed(config, tmp_path, SHIPPED)
    assert (code, "HS-RULES-UNREADY" in err) == (1, True)
    assert acts_of(config).proposed == frozenset()


def test_proposed_then_activated(config, tmp_path):  # noqa: F811
    text = reviewed(CLOSED, "2026-11-22-b")
    code, out, err = proposed(config, tmp_path, text)
    assert (code, json.loads(out)["act"]["rules"]) == (0, "2026-11-22-b"), err
    code, out, err = activated(config, tmp_path, "2026-11-22-b")
    assert code == 0, err
    assert "CLOSES" in err or "STÄNGER" in err
    assert acts_of(config).steps == (parse(text.encode()).hash32,)
    code, _out, err = activated(config, tmp_path, "2026-11-22-b")
    assert (code, "HS-ADMIN-ACT-INVALID" in err) == (1, True)


def test_going_back_is_a_version_of_its_own(config, tmp_path):  # noqa: F811
    assert proposed(config, tmp_path, reviewed(CLOSED, "2026-11-22-b"))[0] == 0
    for taken in (reviewed(SHIPPED, "2026-11-22-b"), reviewed(SHIPPED, shipped()[1].version)):
        code, _out, err = proposed(config, tmp_path, taken)
        assert (code, "HS-ADMIN-ACT-INVALID" in err) == (1, True)
    assert proposed(config, tmp_path, reviewed(SHIPPED, "2026-11-22-c"))[0] == 0


def test_rules_of_a_later_date_wait_for_it(config, tmp_path):  # noqa: F811
    assert proposed(config, tmp_path, reviewed(CLOSED, "2999-01-01"))[0] == 0
    code, _out, err = activated(config, tmp_path, "2999-01-01")
    assert (code, "HS-RULES-EARLY" in err) == (1, True)
    code, _out, err = activated(config, tmp_path, "1999-01-01")
    assert (code, "HS-RULES-UNKNOWN" in err) == (1, True)


def test_a_proposal_waits_for_two_signatures(apart, tmp_path):  # noqa: F811
    config, keys = apart  # noqa: F811
    code, out, _err = proposed(config, tmp_path, reviewed(CLOSED, "2026-11-22-b"))
    assert (code, json.loads(out)["missing"]) == (4, 2)
    for name, key in keys.items():
        assert run("admin", "sign", tmp_path / "p.json", "--key", key, "--name", name)[0] == 0
    assert acts_of(config).proposed == frozenset()
    assert run("admin", "carry-out", tmp_path / "p.json", "--config", config)[0] == 0
    assert len(acts_of(config).proposed) == 1
    loaded = settings.load(config)
    [last] = ActFiles(loaded.data_dir, loaded.origin).all()[-1:]
    assert {each.name for each in last.signatures} == set(keys)
