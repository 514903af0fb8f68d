"""The person's copy by the documented commands, from a real broker's ledger, and examined without it."""

from __future__ import annotations

import json

from tests.auditor.conftest import LOOK, REF


def test_a_copy_is_made_of_a_recorded_consent_and_examined_offline(told, tmp_path):
    _play, auditor, *_ = told
    [row] = auditor.answer("consent", "show", "--ref", REF, *LOOK)["consents"]
    file = tmp_path / "copy.json"
    record = ("consent", "record", REF, row["consent"], *LOOK, "--to", file)
    assert auditor.run(*record).returncode == 1
    assert not file.exists()
    done = auditor.answer(*record, "--delivery", "HANDED_OVER_IN_PERSON", "--given-to", "0")
    assert (done["delivery"], done["files"]) == ("HANDED_OVER_IN_PERSON", [str(file), str(file.with_suffix(".html"))])
    assert done["entry_id"]  # the look stands in the broker's trail
    made = json.loads(file.read_bytes())["record"]
    assert [each["pii_type"] for each in made["pii_processing"]["pii_information"]] == row["categories"]
    examined = auditor.answer("consent", "record-verify", file)
    assert (examined["valid"], examined["event_state"]) == (True, "withdrawn")
    file.write_bytes(file.read_bytes().replace(b'"withdrawn"', b'"given"'))
    assert auditor.run("consent", "record-verify", file).returncode == 1


def test_who_keeps_a_copy_is_not_told_that_it_was_handed_over(told, tmp_path):
    _play, auditor, *_ = told
    [row] = auditor.answer("consent", "show", "--ref", REF, *LOOK)["consents"]
    file = tmp_path / "kept.json"
    kept = ("consent", "record", REF, row["consent"], *LOOK, "--to", file, "--delivery", "KEPT_AT_AGENCY")
    done = auditor.run("--lang", "sv", *kept)
    assert done.returncode == 0, done.stderr
    assert "Kopian stannar här." in done.stdout
    assert "lämnat" not in done.stdout
