"""A broker that was away for long and is back: what waited for it does not wait out its own patience."""

from __future__ import annotations

import contextlib
import sqlite3

from deploy.demo.play import Play

_HOUR_US = 3600 * 1_000_000


def patience_lost(play: Play) -> bool:
    """Whether a command was tried; its next try is then put off by an hour, as after a night without the broker."""
    path = play.config("social").parent / "data" / "connector.db"
    with contextlib.closing(sqlite3.connect(path, timeout=10)) as spool, spool:
        sql = "UPDATE command SET next_at_us=next_at_us+? WHERE state='ACCEPTED' AND tries>0"
        return spool.execute(sql, (_HOUR_US,)).rowcount > 0


def test_what_waited_for_the_broker_goes_when_it_is_back(play, until):
    play.stop("broker")
    play._drop("social-01-open-case")
    until(lambda: patience_lost(play))
    play.start("broker")
    until(lambda: any(f["kind"] == "result" for f in play.files("social")))
