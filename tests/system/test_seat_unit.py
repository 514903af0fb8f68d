"""Between real processes: an operator asks which unit sits in a seat; the agency is told within a minute."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import uuid

import click
import pytest

from tests.seats.test_stolen_store import DIRECTORY, naming
from tests.system.test_rotation import drop, told

LEAD = "social_services_lead"


def test_an_agency_hears_within_a_minute_who_looked_up_its_seat(play, until):
    codes = [unit.code for unit in play.scenario.units.values()]
    folder = play.config("social").parent / "folder" / "in"
    until(folder.is_dir)
    drop(play, "social", "open", do="open_case", ref="EXEMPEL-1", role=LEAD)
    until(lambda: bool(told(play, "social", kind="result", do="open_case")))
    database = play.trail / "broker.db"
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as store:
        ((seat_id, unit),) = store.execute("SELECT seat_id, unit FROM seat").fetchall()
    assert unit.startswith("~")
    ask = ("seat", "unit", "--seat-id", str(uuid.UUID(bytes=seat_id)), "--actor", "duty", "--purpose", "INTEGRITY",
           "--config", play.broker)  # fmt: skip
    with pytest.raises(click.ClickException):  # no number of a control, no answer
        play.handslag(*ask)
    answer = json.loads(play.handslag(*ask, "--case-number", "EXEMPEL-17", "--json"))
    assert answer["unit"] == play.scenario.units["social"].code
    until(lambda: bool(told(play, "social", kind="notice", code="seat_resolved")), 60)
    look = ("--purpose", "SELF_MONITORING", "--case-number", "EXEMPEL-2", "--actor", "auditor", "--json")
    seen = play.handslag("audit", "search", "--ref", "EXEMPEL-1", *look, "--config", play.config("social"))
    assert "operator:duty" in seen
    play.stop("broker")
    with pytest.raises(click.ClickException, match="HS-NODE-ABSENT"):  # nothing else could put it on record
        play.handslag(*ask, "--case-number", "EXEMPEL-18")
    assert naming(database, codes) == DIRECTORY
    for log in (play.folder / "logs").glob("*.log"):
        assert not [code for code in codes if code in log.read_text()]
