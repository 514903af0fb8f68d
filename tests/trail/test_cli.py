"""The commands as a person runs them: sentences, JSON, exit codes."""

import json
import shutil
import sqlite3

import pytest
from click.testing import CliRunner

from audit import entrykeys, search
from audit.cli import group
from schemas.calls import AuditPage, KeyedEntry
from schemas.errors import HandslagError
from tests.trail.builder import LOG, ORIGIN, checked, random_trail


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    made = random_trail(folder / "broker.db", 5, beats=6)
    (folder / "trust.toml").write_text(f'origin = "{ORIGIN}"\nlog_key = "{LOG.verifier.vkey()}"\n')
    (folder / "kept.note").write_bytes(made.notes[2])
    (folder / "all.keys").write_text(entrykeys.written(made.entry_keys))
    return made


def run(*arguments):
    return CliRunner().invoke(group, [str(argument) for argument in arguments])


def test_a_whole_trail_is_said_to_be_whole(builder):
    folder = builder.path.parent
    swedish = run("verify", folder, "--trust", folder / "trust.toml", "--remember", folder / "kept.note")
    assert (swedish.exit_code, swedish.output.splitlines()[0]) == (0, "HEL: inget i spåret har ändrats.")
    english = run("verify", builder.path, "--log-key", LOG.verifier.vkey(), "--keys", folder / "all.keys",
                  "--lang", "en")  # fmt: skip
    assert (english.exit_code, english.output.splitlines()[0]) == (0, "WHOLE: nothing in the trail was changed.")
    assert "No other agencies' cosignatures exist yet" in english.output
    told = json.loads(run("verify", folder, "--trust", folder / "trust.toml", "--json").output)
    assert (told["result"], told["first"], told["leaves"]) == ("ok", None, builder.size)


def test_a_broken_trail_ends_with_one_and_names_the_entry(builder, tmp_path):
    copy = tmp_path / "copy.db"
    shutil.copy(builder.path, copy)
    with sqlite3.connect(copy) as db:
        db.execute("delete from payload where entry_id = (select entry_id from entry where number = 1)")
    db.close()
    result = run("verify", copy, "--trust", builder.path.parent / "trust.toml")
    assert result.exit_code == 1
    assert result.output.startswith("BRUTEN. Först: post 1, id ")


def test_usage_and_unreadable_files_end_with_two(builder, tmp_path):
    folder, empty = builder.path.parent, tmp_path / "empty"
    empty.mkdir()
    torn = tmp_path / "torn.db"
    torn.write_bytes(builder.path.read_bytes()[:5000])
    notes = tmp_path / "notes.txt"
    notes.write_text("no trail")
    trust = ["--trust", folder / "trust.toml"]
    for arguments in (
        ["verify", builder.path],
        ["verify", builder.path, *trust, "--log-key", "x"],
        ["verify", builder.path, "--log-key", "x"],
        ["verify", tmp_path / "none", *trust],
        ["verify", empty, *trust],
        ["verify", torn, *trust],
        ["verify", notes, *trust],
        ["verify", builder.path, "--trust", notes],
        ["verify", builder.path, *trust, "--keys", notes],
        ["verify", builder.path, *trust, "--remember", notes],
        ["read", notes],
    ):
        result = run(*arguments)
        assert result.exit_code == 2, arguments
        assert isinstance(result.exception, SystemExit)


def test_verifying_changes_nothing(builder):
    before = {file.name: file.read_bytes() for file in builder.path.parent.iterdir()}
    assert checked(builder.path).whole
    assert {file.name: file.read_bytes() for file in builder.path.parent.iterdir()} == before


def test_a_copy_with_its_write_ahead_log_is_read_whole(builder, tmp_path):
    live = tmp_path / "live.db"
    shutil.copy(builder.path, live)
    writer = sqlite3.connect(live, isolation_level=None)
    writer.execute("pragma journal_mode=wal")
    writer.execute("delete from payload where entry_id = (select entry_id from entry where number = 2)")
    copied = tmp_path / "copied"
    copied.mkdir()
    for name in ("live.db", "live.db-wal"):
        shutil.copy(tmp_path / name, copied / name)
    assert checked(copied / "live.db").first().number == 2  # what is only in the log counts
    writer.close()
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(live, alone / "live.db")
    assert checked(alone).first().number == 2
    assert [file.name for file in alone.iterdir()] == ["live.db"]


def keyed(builder):
    with sqlite3.connect(builder.path) as db:
        rows = db.execute(
            "select e.number, e.bytes, p.blob, e.entry_id, e.leaf_hash from entry e join payload p"
            " on p.entry_id = e.entry_id where e.operation = 'ACK' order by e.number"
        ).fetchall()
    db.close()
    return [
        KeyedEntry(number=number, entry=data, payload=blob, key=builder.entry_keys[id_], leaf_hash=leaf)
        for number, data, blob, id_, leaf in rows
    ]


def test_search_chooses_and_shows(builder, tmp_path):
    entries = keyed(builder)
    page = tmp_path / "seat.page"
    page.write_bytes(AuditPage(entries=tuple(entries), entry_id=bytes(16), leaf_hash=bytes(32), more=False).to_bytes())
    seat = search.opened(entries)[0].payload.seat_id
    shown = json.loads(run("read", page, "--json", "--seat", seat.hex()).output)
    assert 0 < len(shown) < len(entries)
    assert {row["seat_id"].replace("-", "") for row in shown} == {seat.hex()}
    table = run("read", page).output.splitlines()
    assert table[0].split()[:2] == ["nr", "tid"]
    assert len(table) == len(entries) + 1
    assert "kvittens" in table[1]
    assert json.loads(run("read", page, "--json", "--since", "2099-01-01").output) == []
    assert json.loads(run("read", page, "--json", "--outcome", "WITHHELD").output) == []


def test_an_entry_that_is_not_its_leaf_is_never_shown(builder, tmp_path):
    entries = keyed(builder)[:3]
    changed = KeyedEntry(
        number=1, entry=entries[1].entry, payload=entries[0].payload, key=entries[0].key, leaf_hash=entries[0].leaf_hash
    )
    page = tmp_path / "seat.page"
    page.write_bytes(AuditPage(entries=(changed,), entry_id=bytes(16), leaf_hash=bytes(32), more=False).to_bytes())
    assert run("read", page).exit_code == 1
    # A payload that does not open stays visible as such.
    wrong = KeyedEntry(
        number=1, entry=entries[0].entry, payload=entries[1].payload, key=entries[0].key, leaf_hash=entries[0].leaf_hash
    )
    found = search.opened([wrong])
    assert (found[0].payload, found[0].problem) == (None, "HS-PROOF-INVALID")
    assert search.select(found, seat_id=bytes(16)) == found


def test_key_files_are_read_as_they_are_written():
    keys = {bytes([number]) * 16: bytes([number]) * 32 for number in range(3)}
    assert entrykeys.read(entrykeys.written(keys)) == keys
    for text in ("", "other\n", entrykeys.HEADER + "\nx y\n", entrykeys.HEADER + "\n" + "0" * 32 + " 00\n"):
        with pytest.raises(HandslagError):
            entrykeys.read(text)


def test_help_has_examples_and_exit_codes():
    for command in ("verify", "read"):
        text = run(command, "--help").output
        assert "Examples" in text
        assert "Exit codes" in text
