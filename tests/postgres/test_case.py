"""A whole case between real processes, with PostgreSQL under the broker."""

from __future__ import annotations

from pathlib import Path

import pytest

import deploy.demo
from deploy.demo.play import Play
from deploy.demo.readback import read_back
from deploy.demo.scenario import load
from deploy.demo.table import differences


@pytest.mark.long  # `test_move.py` plays the same case at a server in the first tier
def test_a_whole_case_comes_out_as_on_a_file(tmp_path, database):
    scenario = load(Path(deploy.demo.__file__).parent)
    with Play(tmp_path / "site", scenario, lambda _line: None, database) as play:
        play.set_up()
        play.run_steps()
        assert differences(scenario.outcomes, read_back(play)) == []
    assert not (tmp_path / "site" / "broker" / "data" / "broker.db").exists()
