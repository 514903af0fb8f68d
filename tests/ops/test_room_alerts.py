"""The alerts about room: each fires and is silent in promtool, and a broken one is noticed."""

from __future__ import annotations

import pytest

from tests.ops.servers import PROMETHEUS, promtool

RULES = (PROMETHEUS / "alerts-room.yml").read_text(encoding="utf-8")
CASES = (PROMETHEUS / "alerts-room_test.yml").read_text(encoding="utf-8")


@pytest.mark.parametrize("words", [("check", "rules", "alerts-room.yml"), ("test", "rules", "alerts-room_test.yml")])
def test_promtool_passes_the_files(words):
    code, told = promtool(*words)
    assert code == 0, told
    assert "SUCCESS" in told


@pytest.mark.parametrize(
    ("shipped", "broken"), [("== 1", "== 2"), ("86400", "8640"), ("for: 30m", "for: 3h"), ("for: 30m", "for: 1m")]
)
def test_the_alert_tests_notice_a_broken_alert(tmp_path, shipped, broken):
    assert shipped in RULES
    (tmp_path / "alerts-room.yml").write_text(RULES.replace(shipped, broken), encoding="utf-8")
    (tmp_path / "alerts-room_test.yml").write_text(CASES, encoding="utf-8")
    assert promtool("test", "rules", str(tmp_path / "alerts-room_test.yml"))[0] != 0
