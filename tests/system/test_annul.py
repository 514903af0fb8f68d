"""Annulling a consent between a real broker and real connectors: from the command to the last answer and the trail."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import handslag

LOOK = ("--purpose", "LAWFULNESS", "--case-number", "K-7", "--actor", "auditor-3")


def typed(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(Path(handslag.__file__)), "--lang", "en", *map(str, arguments)]
    return subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False, timeout=60)


def told(play, unit: str, **wanted):
    return [f for f in play.files(unit) if all(f.get(name) == value for name, value in wanted.items())]


def test_a_consent_is_annulled_everybody_answers_and_the_trail_holds(play, until):
    steps = [step for step in play.scenario.steps if not (step.stop or step.start)]
    names = [step.drop for step in steps]
    play.scenario.steps[:] = steps[: names.index("police-04-assessment") + 1]
    play.run_steps()
    until(lambda: told(play, "social", kind="delivery", event_type="threat_assessment_completed"))
    police, social = (play.config(name).parent for name in ("police", "social"))
    [consent] = [f["consent"] for f in told(play, "police", kind="result", id="police-02-grant-lead")]
    ref = told(play, "police", kind="result", id="police-02-grant-lead")[0]["ref"]

    done = typed(police, "consent", "annul", "--ref", ref, "--consent", consent, "--ground", "WRONG_PERSON",
                 "--actor", "handl-7", "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["recorded"] is True
    assert answer["steps"][0]["code"] == "PROTECT_PERSON"
    assert answer["released"]["releases"] >= 1

    # Nothing more may be said under it either, and what was said anyway is recorded as that.
    said = ("--ref", ref, "--to", "social_services_lead", "--purpose", "THREAT_ASSESSMENT", "--categories", "IC04")
    assert typed(police, "connector", "may-i", *said, "--json").returncode == 3
    recorded = typed(police, "connector", "record-disclosure", *said, "--manner", "CALL", "--json")
    assert recorded.returncode == 3, recorded.stderr
    assert json.loads(recorded.stdout)["possible_incident"]["code"] == "HS-SAID-WITHOUT-CONSENT"

    until(lambda: told(play, "social", kind="annulled"))
    for place, notice in enumerate(told(play, "social", kind="annulled")):
        command = {"do": "answer_annulment", "id": f"a{place}", "notice": notice["notice"], "verdict": "LOCKED"}
        draft = social / "folder" / "in" / f".a{place}.draft"
        draft.write_text(json.dumps(command), encoding="utf-8")
        draft.rename(draft.with_name(f"a{place}.json"))
    until(lambda: any(f["counts"]["unanswered"] == 0 and f["counts"]["answered"] for f in
                      told(play, "police", kind="incident")))  # fmt: skip
    assert not told(play, "police", kind="alarm")
    assert not told(play, "social", kind="alarm")

    exported = typed(police, "audit", "export", "--ref", ref, *LOOK, "--dir", "export", "--json")
    assert exported.returncode == 0, exported.stderr
    verified = typed(police, "audit", "verify", "export", "--trust", play.folder / "trust.toml", "--json")
    assert verified.returncode == 0, verified.stdout
    assert json.loads(verified.stdout)["result"] == "ok"
