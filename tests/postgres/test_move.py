"""A store is carried from a file to a server and back into files, whole or not at all, and goes on where it was."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import click
import pytest
import sqlalchemy as sa

import deploy.demo
from broker import moved
from broker.engine_settings import StoreSettings
from broker.store import transfer
from broker.store.keyport import SEAT_KEY
from broker.store.postgresql_engine import READING, engine_for
from broker.store.sqlite import engine_for as file_engine
from broker.store.tables import metadata
from deploy.demo.play import Play, _set
from deploy.demo.readback import read_back
from deploy.demo.scenario import load
from deploy.demo.table import differences
from deploy.processes import handslag
from schemas.errors import HandslagError
from tests.promises.case import grant, ready, sent


def everything(connection):
    """Every row of every table that is kept, sorted."""
    found = {}
    for table in (*transfer.tables(), SEAT_KEY):
        if sa.inspect(connection).has_table(table.name):
            rows = connection.execute(sa.select(table))
            found[table.name] = sorted(tuple(map(repr, row)) for row in rows)
    return found


def of_file(path):
    engine = file_engine(path)
    with engine.connect() as connection:
        found = everything(connection)
    engine.dispose()
    return found


def of_server(settings):
    engine = engine_for(settings, READING, connections=1)
    with engine.connect() as connection:
        found = everything(connection)
    engine.dispose()
    return found


@pytest.fixture
def folder(tmp_path):
    """The files of a broker in which a case was played."""

    async def play():
        site = await ready(tmp_path)
        await grant(site)
        await sent(site)
        site.close()

    asyncio.run(play())
    return tmp_path / "broker"


def told(_table, _rows):
    """Nobody listens."""


def test_every_row_of_every_table_arrives_and_comes_back(folder, database, tmp_path):
    settings = StoreSettings(**database)
    calls = []
    carried = transfer.to_server(folder / "broker.db", folder / "keys.db", settings, lambda: calls.append(1), told)
    assert calls == [1]
    there = of_server(settings)
    assert {**of_file(folder / "broker.db"), **of_file(folder / "keys.db")} == there
    assert set(there) == {table.name for table in metadata.sorted_tables} - {"key_holder", "lease", "node"} | {
        "seat_key"
    }
    assert sum(map(len, there.values())) == carried.rows > 100
    back = transfer.to_files(settings, tmp_path / "back.db", tmp_path / "keys.db", told)
    assert back == carried
    assert {**of_file(tmp_path / "back.db"), **of_file(tmp_path / "keys.db")} == there
    with pytest.raises(HandslagError) as raised:  # nobody's log is written over
        transfer.to_server(folder / "broker.db", folder / "keys.db", settings, lambda: None, told)
    assert raised.value.code == "HS-COPY-EXISTS"


def test_numbers_go_on_where_they_were(folder, database):
    settings = StoreSettings(**database)
    transfer.to_server(folder / "broker.db", folder / "keys.db", settings, lambda: None, told)
    engine = engine_for(settings, READING, connections=1)
    with engine.connect() as connection:
        for name in ("entry", "inbox_item"):
            most = connection.exec_driver_sql(f"SELECT coalesce(max(number), 0) FROM {name}").scalar_one()
            sequence = f"SELECT nextval(pg_get_serial_sequence('{name}', 'number'))"
            assert connection.exec_driver_sql(sequence).scalar_one() == most + 1
    engine.dispose()


def test_what_did_not_arrive_whole_is_not_kept(folder, database, monkeypatch):
    """One row less, and nothing of it stays; the same move without the fault goes through."""
    settings = StoreSettings(**database)
    whole = transfer._copied

    def loses(old, new, table, said):
        done = whole(old, new, table, said)
        if table.name == "entry":
            new.execute(sa.delete(metadata.tables["payload"]))
        if table.name == "payload":
            new.exec_driver_sql("DELETE FROM payload WHERE ctid IN (SELECT ctid FROM payload LIMIT 1)")
        return done

    monkeypatch.setattr(transfer, "_copied", loses)
    with pytest.raises(HandslagError) as raised:
        transfer.to_server(folder / "broker.db", folder / "keys.db", settings, lambda: None, told)
    assert (raised.value.code, raised.value.context["part"]) == ("HS-COPY-INVALID", "payload")
    assert of_server(settings)["entry"] == []
    monkeypatch.undo()
    assert transfer.to_server(folder / "broker.db", folder / "keys.db", settings, lambda: None, told).rows > 100


def test_a_case_goes_on_at_the_server_and_the_file_never_starts_again(tmp_path, database):
    """Set up and half played on a file, carried over, played to its end, verified and backed up there."""
    scenario = load(Path(deploy.demo.__file__).parent)
    with Play(tmp_path / "site", scenario, lambda _line: None) as play:
        play.set_up()
        play.stop("broker")
        before = play.broker.read_text(encoding="utf-8")
        pairs = ", ".join(f"{name} = {json.dumps(value)}" for name, value in database.items())
        _set(play.broker, "store", f"{{ {pairs} }}")
        carried = json.loads(handslag("store", "move", "--config", play.broker, "--json"))
        assert carried["size"] > 0
        play.start("broker")
        play.run_steps()
        assert differences(scenario.outcomes, read_back(play)) == []
        copy = tmp_path / "copy"
        taken = json.loads(handslag("backup", "--config", play.broker, copy, "--json"))
        assert taken["verified"]
        assert taken["size"] > carried["size"]
        trail = tmp_path / "trail.db"
        assert json.loads(handslag("trail", "copy", "--config", play.broker, trail, "--json"))["entries"] > 20
        trust = play.config("social").parent / "trust.toml"
        assert handslag("audit", "verify", trail, "--trust", trust, "--lang", "en").startswith("WHOLE")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "site", "trail.db"]
        play.stop("broker")
        stopped = json.loads(handslag("agency", "status", "--config", play.broker, "--json"))
        assert all(unit["last_contact"] for unit in stopped["units"])
        assert (play.trail / moved.FILE).is_file()
        play.broker.write_text(before, encoding="utf-8")
        with pytest.raises(click.ClickException, match="HS-STORE-MOVED"):
            handslag("serve", "--config", play.broker)
