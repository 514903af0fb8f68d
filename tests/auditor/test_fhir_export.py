"""A consent written as FHIR from a real ledger: logged as a look, without the person, and read again as it stands."""

import json

from connectors.fhir import model, question
from connectors.fields import moment
from consent.fhir import systems
from consent.fhir.decide import decide
from tests.auditor.conftest import LOOK, REF


def test_an_export_is_a_look_and_answers_as_the_ledger_does(told):
    _play, auditor, before, after = told
    [row] = auditor.answer("consent", "show", "--ref", REF, *LOOK)["consents"]
    export = ("consent", "export", "--format", "fhir", "--ref", REF, "--consent", row["consent"], *LOOK)
    written = auditor.answer(*export, "--as-of", before)
    assert written["status"] == "active"
    assert auditor.answer(*export)["status"] == "inactive"
    assert "masked" in json.dumps(written["patient"])

    def answer(category, resource):
        ask = question.asked(
            actors=tuple(f"{systems.OUR_ROLE}|{role}" for role in row["recipients"]),
            purpose=f"{systems.OUR_PURPOSE}|{row['purposes'][0]}", category="patient-privacy",
            classes=(f"{systems.OUR_CATEGORY}|{category}",), at=before,
        )  # fmt: skip
        return decide(model.load(json.dumps(resource).encode()).consent, ask).decision

    assert answer(row["categories"][0], written) == "PERMIT"
    assert answer("IC10", written) == "NO_CONSENT"
    assert answer(row["categories"][0], auditor.answer(*export, "--as-of", after)) == "NO_CONSENT"
    assert moment(written["dateTime"], "at") < moment(before, "at")
    newest = auditor.answer("audit", "search", "--ref", REF, *LOOK)["entries"][-2]
    assert (newest["operation"], newest["actor_ref"]) == ("CONSULTATION", "auditor-3")


def test_an_export_into_a_file_overwrites_nothing(told, tmp_path):
    _play, auditor, *_ = told
    [row] = auditor.answer("consent", "show", "--ref", REF, *LOOK)["consents"]
    out = tmp_path / "consent.json"
    export = ("consent", "export", "--format", "fhir", "--ref", REF, "--consent", row["consent"], *LOOK, "--out", out)
    auditor.answer(*export, "--patient", "Patient/exempel-1")
    assert json.loads(out.read_text())["patient"] == {"reference": "Patient/exempel-1"}
    assert out.stat().st_mode & 0o777 == 0o600
    again = auditor.run(*export, "--json")
    assert (again.returncode, json.loads(again.stderr)["code"]) == (1, "HS-FILE-EXISTS")
    unknown = [*export[:7], "01a2016d-eb13-7b39-819c-a99e16436ddb", *LOOK, "--json"]
    assert json.loads(auditor.run(*unknown).stderr)["code"] == "HS-FHIR-NOT-FOUND"
