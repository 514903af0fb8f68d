"""The tamper matrix: every change to a trail is caught, and by the check that is named for it."""

import pytest

from audit.checkpoint import Checkpoint, sign_checkpoint
from tests.trail.builder import LOG, ORIGIN, checked, random_trail
from tests.trail.mutations import MATRIX, Copy, payload_gone

LOGS = range(6)


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logs")
    return [random_trail(folder / f"{seed}.db", seed, beats=18) for seed in LOGS]


def test_an_untouched_trail_is_whole(logs):
    for builder in logs:
        report = checked(builder.path, remembered=builder.notes[len(builder.notes) // 2])
        assert report.findings == []
        assert report.leaves == builder.size
        assert report.signed == builder.size


@pytest.mark.parametrize("mutate", MATRIX, ids=lambda mutate: mutate.__name__)
def test_every_mutation_is_caught_by_the_named_check(logs, tmp_path, mutate):
    for builder in logs:
        copy = Copy(builder, tmp_path / "copy.db")
        assert checked(copy.path).whole  # the copy itself is not what is found
        number = mutate(copy)
        copy.db.close()
        report = checked(copy.path)
        named = MATRIX[mutate] if isinstance(MATRIX[mutate], tuple) else (MATRIX[mutate],)
        assert report.counts.keys() & set(named), report.as_json()
        if isinstance(number, int):
            assert report.first().number == number, report.as_json()


def test_a_missing_payload_is_never_overlooked(logs, tmp_path):
    builder = logs[0]
    copy = Copy(builder, tmp_path / "copy.db")
    ids = [entry_id for (entry_id,) in copy.all("select entry_id from payload")]
    for entry_id in ids:
        (blob,) = copy.one("select blob from payload where entry_id=?", entry_id)
        copy.db.execute("delete from payload where entry_id=?", (entry_id,))
        first = checked(copy.path).first()
        assert (first.check, first.entry_id) == ("hole", entry_id)
        copy.db.execute("insert into payload values (?,?)", (entry_id, blob))
    copy.db.close()


def test_an_older_copy_is_noticed_by_whoever_remembers_more(tmp_path):
    """A rollback that is whole in itself: only a remembered checkpoint tells."""
    path = tmp_path / "old.db"
    builder = random_trail(path, 3, beats=5)
    later = random_trail(tmp_path / "new.db", 3, beats=9)
    report = checked(path)
    assert report.whole
    assert "remembered" in report.not_shown
    ahead = checked(path, remembered=later.notes[-1])
    assert set(ahead.counts) == {"remembered"}
    assert checked(path, remembered=builder.notes[-1]).whole
    forked = sign_checkpoint(Checkpoint(ORIGIN, builder.size, bytes(32)), [LOG])
    assert set(checked(path, remembered=forked).counts) == {"remembered"}


def test_reports_say_where_in_both_languages(logs, tmp_path):
    copy = Copy(logs[1], tmp_path / "copy.db")
    number = payload_gone(copy)
    copy.db.close()
    report = checked(copy.path)
    assert report.text("sv").startswith(f"BRUTEN. Först: post {number}, id ")
    assert report.text("en").startswith(f"BROKEN. First: entry {number}, id ")
    assert "[hole]" in report.text("sv").splitlines()[0]
    told = report.as_json()
    assert told["result"] == "broken"
    assert told["first"]["number"] == number
    assert "cosignatures" in told["not_shown"]
