"""Between real processes: two officers disclose without consent, one does so at night; the trail shows it as that."""

from __future__ import annotations

import json

from tests.system.test_annul import LOOK, told, typed

THREAT = {"threat": {"statements": [{"kind": "ASSESSMENT", "as_of": "2026-11-23", "text": "hot mot bostaden"}]}}
LEAD = "social_services_lead"
PASSPHRASE = "en lång mening för prov"


def ready(play, until):
    """The police's part of the demonstration, as far as an assessment under consent; then its deciders, unapproved."""
    steps = [step for step in play.scenario.steps if not (step.stop or step.start)]
    names = [step.drop for step in steps]
    play.scenario.steps[:] = steps[: names.index("police-04-assessment") + 1]
    play.run_steps()
    until(lambda: told(play, "social", kind="delivery", event_type="threat_assessment_completed"))
    police = play.config("police").parent
    (police / "phrase").write_text(PASSPHRASE, encoding="utf-8")
    (police / "threat.json").write_text(json.dumps(THREAT), encoding="utf-8")
    for name in ("handl-7", "handl-9"):
        named = typed(police, "connector", "statute", "decider", "--name", name, "--key", f"{name}.key",
                      "--passphrase-file", "phrase")  # fmt: skip
        assert named.returncode == 0, named.stderr
    return police, told(play, "police", kind="result", id="police-02-grant-lead")[0]["ref"]


def stated(ref: str, *more: str, officer: str = "handl-7") -> list[str]:
    return ["--ref", ref, "--to", LEAD, "--provision", "OSL-10-27", "--data", "threat.json", "--necessity", "fara",
            "--secrecy", "OSL_35_1", "--excluded-not", "ROUTINE", "--public-interest", "IC04", "--balanced", "FOR",
            "--consent-sought", "NOT_POSSIBLE", "--informed", "LATER", "--officer", officer, "--key",
            f"{officer}.key", "--passphrase-file", "phrase", "--json", *more]  # fmt: skip


def approved(police, *more: str):
    made = typed(police, "connector", "statute", "approve", "--provision", "OSL-10-27", "--agency-key",
                 "keys/agency.key", "--reviewer", "jurist-1", "--until", "2036-01-01T00:00:00+01:00",
                 "--out", f"approval{len(more)}.json", *more)  # fmt: skip
    assert made.returncode == 0, made.stderr
    taken = typed(police, "connector", "statute", "take", f"approval{len(more)}.json", "--json")
    assert taken.returncode == 0, taken.stderr


def confirm(police, disclosure: str, officer: str, *more: str):
    return typed(police, "connector", "statute", "confirm", "--disclosure", disclosure, "--officer", officer,
                 "--key", f"{officer}.key", "--passphrase-file", "phrase", "--json", *more)  # fmt: skip


def test_two_decide_one_confirms_and_the_trail_shows_it_as_what_it_is(play, until):
    police, ref = ready(play, until)
    decide = ("connector", "statute", "decide")
    refused = typed(police, *decide, *stated(ref))
    assert "HS-PROVISION-UNREVIEWED" in refused.stderr
    approved(police)
    done = typed(police, *decide, *stated(ref))
    assert done.returncode == 0, done.stderr
    disclosure = json.loads(done.stdout)["disclosure"]
    assert "HS-STATUTE-SECOND" in confirm(police, disclosure, "handl-7").stderr
    assert not told(play, "social", kind="delivery", event_type="statutory_disclosure")
    went = confirm(police, disclosure, "handl-9")
    assert went.returncode == 0, went.stderr
    assert json.loads(went.stdout)["outcome"] == "RELEASED"
    until(lambda: told(play, "social", kind="delivery", event_type="statutory_disclosure"))
    (given,) = told(play, "social", kind="delivery", event_type="statutory_disclosure")
    assert given["data"]["threat"]["provision"] == "OSL-10-27"
    assert given["data"]["threat"]["statements"][0]["text"] == "hot mot bostaden"
    until(lambda: told(play, "police", kind="notice", code="delivery_acknowledged", event_type="statutory_disclosure"))

    # At night: not before the agency approved it for that, and then at once.
    call = ("--call-back", "010-0000000")
    acute = ("connector", "statute", "acute")
    assert "HS-STATUTE-ACUTE" in typed(police, *acute, *stated(ref, *call)).stderr
    approved(police, "--acute")
    night = typed(police, *acute, *stated(ref, *call))
    assert night.returncode == 0, night.stderr
    told_then = json.loads(night.stdout)
    assert told_then["confirm_by"] is not None
    until(lambda: len(told(play, "social", kind="delivery", event_type="statutory_disclosure")) == 2)
    assert confirm(police, told_then["disclosure"], "handl-9").returncode == 0
    rows = json.loads(typed(police, "connector", "statute", "list", "--json").stdout)["disclosures"]
    assert [row["state"] for row in rows] == ["DONE", "DONE"]

    exported = typed(police, "audit", "export", "--ref", ref, *LOOK, "--dir", "export", "--json")
    assert exported.returncode == 0, exported.stderr
    verified = typed(police, "audit", "verify", "export", "--trust", play.folder / "trust.toml", "--json")
    assert verified.returncode == 0, verified.stdout
    assert json.loads(verified.stdout)["result"] == "ok"
    seen = typed(police, "audit", "search", "--ref", ref, *LOOK, "--json").stdout
    assert seen.count("STATUTORY_DISCLOSURE") >= 3
    assert not told(play, "police", kind="alarm")
