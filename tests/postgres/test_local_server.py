"""The server that tests, demonstrations and measurements start is a real one and survives what they do to it."""

import os
import subprocess
from pathlib import Path

import click
import pytest

from deploy import postgres_local
from deploy.postgres_local import LocalPostgres


def test_a_database_of_its_own_for_the_brokers_user(postgres, database):
    assert int(postgres.version.split(".")[0]) >= 15
    owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"
    assert postgres.sql(owner, database["database"]) == "handslag"
    assert postgres.sql("SELECT rolsuper OR rolcreatedb OR rolcreaterole FROM pg_roles WHERE rolname='handslag'") == "f"
    assert Path(database["password_file"]).stat().st_mode & 0o077 == 0


def test_what_was_committed_is_there_after_a_crash_and_after_a_restart():
    with LocalPostgres.temporary() as server:
        server.create("kept")
        server.sql("CREATE TABLE t AS SELECT 1 AS a", "kept")
        server.kill()
        server.start()
        server.sql("INSERT INTO t VALUES (2)", "kept")
        server.restart()
        assert server.sql("SELECT a FROM t ORDER BY a", "kept").split() == ["1", "2"]
        assert [server.sql(f"SHOW {name}") for name in ("fsync", "synchronous_commit")] == ["on", "on"]
        folder, pid = server.folder, server.pid
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_machine_without_the_server_is_told_how_to_get_one(monkeypatch, tmp_path):
    monkeypatch.setattr(postgres_local, "_PACKAGED", tmp_path)
    with pytest.raises(click.ClickException, match="apt-get install postgresql"):
        LocalPostgres.temporary()


def test_nobody_enters_over_the_network_without_the_password(postgres, database):
    command = [
        postgres.bin / "psql",
        "-w",
        "-h",
        "127.0.0.1",
        "-p",
        str(postgres.port),
        "-U",
        "handslag",
        database["database"],
    ]
    env = {"PGPASSWORD": "another", "PATH": "/usr/bin"}
    refused = subprocess.run([*command, "-c", "SELECT 1"], env=env, capture_output=True, text=True, check=False)
    assert refused.returncode
    assert "password authentication failed" in refused.stderr
    env["PGPASSWORD"] = postgres.password_file.read_text()
    assert subprocess.run([*command, "-c", "SELECT 1"], env=env, capture_output=True, check=False).returncode == 0
