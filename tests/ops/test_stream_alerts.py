"""The alerts about the stream: each fires and is silent in promtool, and a broken one is noticed."""

from __future__ import annotations

import pytest

from tests.ops.servers import PROMETHEUS, promtool

RULES = (PROMETHEUS / "alerts-stream.yml").read_text(encoding="utf-8")
CASES = (PROMETHEUS / "alerts-stream_test.yml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "words", [("check", "rules", "alerts-stream.yml"), ("test", "rules", "alerts-stream_test.yml")]
)
def test_promtool_passes_the_files(words):
    code, told = promtool(*words)
    assert code == 0, told
    assert "SUCCESS" in told


@pytest.mark.parametrize(
    ("shipped", "broken"),
    [
        ("== 1", "== 2"),
        ("for: 1m", "for: 5m"),
        ("[2h:1m]", "[9h:1m]"),
        ("> 0)", ">= 0)"),
        ("> 900", "> 9000"),
        ("259200", "172800"),
    ],
)
def test_the_alert_tests_notice_a_broken_alert(tmp_path, shipped, broken):
    assert shipped in RULES
    (tmp_path / "alerts-stream.yml").write_text(RULES.replace(shipped, broken), encoding="utf-8")
    (tmp_path / "alerts-stream_test.yml").write_text(CASES, encoding="utf-8")
    assert promtool("test", "rules", str(tmp_path / "alerts-stream_test.yml"))[0] != 0
