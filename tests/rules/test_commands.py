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


def context(err: str) -> dict[str, str]:
    """What the error of a command with `--json` says beside its code."""
    return json.loads(err.strip().splitlines()[-1])["context"]


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
    assert (code, "HS-RULES-ACTIVE" in err) == (1, True)
    assert context(err) == {"check": "in_force"}


def test_going_back_is_a_version_of_its_own(config, tmp_path):  # noqa: F811
    assert proposed(config, tmp_path, reviewed(CLOSED, "2026-11-22-b"))[0] == 0
    for taken, told in (("2026-11-22-b", "HS-RULES-PROPOSED"), (shipped()[1].version, "HS-RULES-ACTIVE")):
        code, _out, err = proposed(config, tmp_path, reviewed(SHIPPED, taken))
        assert (code, told in err) == (1, True)
    assert proposed(config, tmp_path, reviewed(SHIPPED, "2026-11-22-c"))[0] == 0


def test_who_proposes_again_is_told_what_became_of_the_first(config, tmp_path):  # noqa: F811
    """The same file or another one under its version; nothing is drawn up for anybody to sign."""
    again, other = reviewed(CLOSED, "2026-11-22-b"), reviewed(SHIPPED, "2026-11-22-b")
    assert proposed(config, tmp_path, again)[0] == 0
    before = acts_of(config)

    def told() -> set[str]:
        (tmp_path / "p.json").unlink(missing_ok=True)
        answers = [proposed(config, tmp_path, text) for text in (again, other)]
        assert not (tmp_path / "p.json").exists()
        assert [code for code, _out, _err in answers] == [1, 1]
        return {err for _code, _out, err in answers}

    [waits] = told()
    assert "HS-RULES-PROPOSED" in waits
    assert "handslag rules activate" in waits
    assert acts_of(config) == before
    assert activated(config, tmp_path, "2026-11-22-b")[0] == 0
    [holds] = told()
    assert "HS-RULES-ACTIVE" in holds
    assert context(holds) == {"check": "in_force"}
    assert proposed(config, tmp_path, reviewed(SHIPPED, "2026-11-22-c"))[0] == 0
    assert activated(config, tmp_path, "2026-11-22-c")[0] == 0
    [was] = told()
    assert "HS-RULES-ACTIVE" in was
    assert context(was) == {"check": "earlier"}


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
