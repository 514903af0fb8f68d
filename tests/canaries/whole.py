"""A broker and three connectors as processes of their own, set up by the documented commands, fed with canaries.

Every free field of every input holds one; success, refusal, malformed bytes, SIGKILL and restart are all played.
"""

from __future__ import annotations

import json
import ssl
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from deploy.demo.play import Play
from deploy.demo.scenario import Scenario, UnitPlan

LEAD, POLICE, PROBATION = "social_services_lead", "police_coordination", "prison_probation"
UNITS = {
    "social": UnitPlan("social", "SOC/EXEMPEL/KONSULT", "SOC/EXEMPEL", LEAD),
    "police": UnitPlan("police", "POL/EXEMPEL/SYD", "POL/EXEMPEL", POLICE),
    "probation": UnitPlan("probation", "KV/EXEMPEL/FRI", "KV/EXEMPEL", PROBATION),
}

# Whom a canary is for: the units whose own folders may show it. Numbers are official test numbers (Skatteverket), the
# telephone numbers are those that the Swedish regulator keeps for fiction.
CANARIES: dict[str, tuple[str, frozenset[str]]] = {
    name: (text, frozenset(whose.split()))
    for name, text, whose in (
        ("person", "Ulvhild Kanariefors", "social police probation"),
        ("number", "198112189876", "social police probation"),
        ("number with dash", "811218-9876", "social police probation"),
        ("reference in the invitation", "Dnr Sparvhök 4711-A", "social police"),
        ("contact", "Gråsparv Enhetschef, Domherrestad", "social police probation"),
        ("facts", "Gömmer sig på Stigfinnargränd i Rödhakeby", "social police"),
        ("phone in the facts", "070-1740605", "social police"),
        ("unit name", "Konsultationsteamet i Lövsångarköping", "social police"),
        ("function", "Samordnare Ärtsångare", "social police"),
        ("phone", "070-1740699", "social police"),
        ("zone", "Törnskatetorget", "social police"),
        ("relation", "SYSTER-I-BIVRÅKÅS", "social police"),
        ("decision", "Beslut Tofsvipa 17", "social police"),
        ("institution", "Anstalten Nötväcka", "social probation"),
        ("reference of social services", "AKT-Kattuggla-1", "social"),
        ("reference of the police", "PM Järpe/88", "police"),
        ("reference of probation", "Klient Orre 3", "probation"),
        ("correlation", "Sidensvans.1", "social"),
        ("officer", "handl. Rosenfink", "social"),
        ("auditor", "granskare Talgoxe", "nobody"),
        ("case number", "GR-Stenskvatta-9", "nobody"),
        ("refused", "Felaktig Kungsfiskare", "social"),
        ("half", "Halv Mindre Hackspett", "social"),
        ("raw body", "Obehandlad Brushane", "nobody"),
        ("raw path", "Dubbelbeckasin", "nobody"),
        ("raw header", "Enkelbeckasin", "nobody"),
    )
}
TEXT = {name: text for name, (text, _whose) in CANARIES.items()}


class Whole(Play):
    """One run in `folder`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, Scenario(UNITS, [], [], folder), lambda _line: None)
        self._number = 0
        self.answers: list[bytes] = []
        self.printed: list[str] = []

    def handslag(self, *arguments: str | Path) -> str:
        """As the demonstration; what was printed is kept for the scan."""
        told = super().handslag(*arguments)
        self.printed.append(told)
        return told

    def drop(self, unit: str, value: dict[str, Any] | str) -> Path:
        """Give a file to a connector as an agency system would."""
        self._number += 1
        into = self.config(unit).parent / "folder" / "in"
        self._until(into.is_dir, f"the folder of {unit}")
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        draft = into / f".{self._number:03}.draft"
        draft.write_text(text, encoding="utf-8")
        return draft.rename(into / f"{self._number:03}.json")

    def see(self, unit: str, count: int = 1, **wanted: Any) -> dict[str, Any]:
        """Wait for a file of a connector and return the newest."""

        def found() -> list[dict[str, Any]]:
            return [f for f in self.files(unit) if all(f.get(key) == value for key, value in wanted.items())]

        seen: dict[str, Any] = self._first(found, count, f"{wanted} at {unit}")[-1]
        return seen

    def done(self, unit: str, /, **command: Any) -> dict[str, Any]:
        """Drop a command and wait for its result."""
        count = len([f for f in self.files(unit) if f["kind"] == "result" and f["do"] == command["do"]])
        self.drop(unit, command)
        return self.see(unit, count + 1, kind="result", do=command["do"])

    def kill(self, name: str) -> None:
        """SIGKILL, as a power cut would."""
        process = self._processes.pop(name)
        process.kill()
        process.wait()

    def kill_all(self) -> None:
        """Stop everything without a chance to tidy up: logs and write-ahead logs stay as they are."""
        for name in list(self._processes):
            self.kill(name)

    # --- what a browser or a broken client would send

    def raw(self, unit: str, method: str, path: str, body: bytes | None = None, **headers: str) -> int:
        """One HTTP request with a unit's certificate; the answer's bytes are kept."""
        keys = self.config(unit).parent / "keys"
        context = ssl.create_default_context(cafile=str(keys / "ca.pem"))
        context.load_cert_chain(keys / "certificate.pem", keys / "certificate.key")
        url = tomllib.loads(self.broker.read_text())["url"]
        request = urllib.request.Request(url + path, data=body, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, context=context) as answer:
                status, data = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, data = error.code, error.read()
        self.answers.append(data)
        return status

    def operations(self, path: str) -> str:
        """What the operator's monitoring reads."""
        listen = tomllib.loads(self.broker.read_text())["operations"]["listen"]
        with urllib.request.urlopen(f"http://{listen}{path}") as answer:
            return answer.read().decode()


def grant(ref: str, recipients: list[dict[str, str]], categories: list[str], purposes: list[str]) -> dict[str, Any]:
    return {
        "ref": ref, "recipients": recipients, "categories": categories, "purposes": purposes,
        "valid_until": (datetime.now(UTC) + timedelta(days=30)).isoformat(), "text_version": "EXEMPEL-2",
        "terms_version": "EXEMPEL-1", "processing_acknowledged": True, "method": "WRITTEN",
        "actor_ref": TEXT["officer"],
    }  # fmt: skip


def play(whole: Whole, ended: Callable[[], None]) -> None:
    """The whole story; `ended` is called while everything still runs."""
    ours, theirs, kv = (TEXT[f"reference of {who}"] for who in ("social services", "the police", "probation"))
    whole.set_up()
    whole.done("social", do="open_case", ref=ours, role=LEAD, id=TEXT["correlation"], actor_ref=TEXT["officer"])
    units = [{"unit": UNITS[name].code} for name in ("police", "probation")]
    whole.done("social", do="grant", **grant(ours, units, ["IC01", "IC12"], ["INTAKE"]))
    _invited(whole, ours)
    _accepted(whole, "police", theirs)
    _accepted(whole, "probation", kv)
    everyone = [{"role": POLICE}, {"role": PROBATION}]
    purposes = ["THREAT_ASSESSMENT", "PLANNING", "REENTRY"]
    whole.done("social", do="grant", **grant(ours, everyone, ["IC01", "IC04", "IC12"], purposes))
    whole.done("police", do="grant", **grant(theirs, [{"role": LEAD}], ["IC04", "IC12"], purposes))
    whole.done("probation", do="grant", **grant(kv, [{"role": LEAD}], ["IC05", "IC12"], purposes))
    _spoken(whole, ours, theirs, kv)
    _refused(whole, ours)
    _malformed(whole)
    _killed(whole, ours, theirs)
    whole.handslag(
        "audit", "search", "--ref", ours, "--purpose", "SELF_MONITORING", "--case-number", TEXT["case number"],
        "--actor", TEXT["auditor"], "--config", whole.config("social"), "--json",
    )  # fmt: skip
    whole.drop("police", {"do": "withdraw_case", "ref": theirs, "method": "WRITTEN"})
    whole.see("police", kind="result", do="withdraw_case")
    time.sleep(1.5)  # a beat, so that the withdrawal is in the log too
    ended()


def _invited(whole: Whole, ours: str) -> None:
    person = {"name": TEXT["person"], "personal_identity_number": TEXT["number"]}
    for name in ("police", "probation"):
        extra = {"local_reference": TEXT["reference in the invitation"]} if name == "police" else {}
        whole.done("social", do="invite", ref=ours, unit=UNITS[name].code, role=UNITS[name].role,
                   contact=TEXT["contact"], person={**person, **extra})  # fmt: skip


def _accepted(whole: Whole, unit: str, ref: str) -> None:
    invitation = whole.see(unit, kind="invitation")["invitation"]
    whole.drop(unit, {"do": "accept", "ref": ref, "invitation": invitation})
    whole.see(unit, kind="seat", state="ACTIVE")


def _spoken(whole: Whole, ours: str, theirs: str, kv: str) -> None:
    whole.drop("social", {"do": "introduce", "ref": ours, "to": [POLICE], "unit_name": TEXT["unit name"],
                          "function": TEXT["function"], "phone": TEXT["phone"], "id": TEXT["correlation"]})  # fmt: skip
    whole.see("police", kind="delivery", event_type="seat_introduced")
    facts = f"{TEXT['facts']}, tel. {TEXT['phone in the facts']}, pnr {TEXT['number with dash']}."
    whole.drop("social", request(ours, facts))
    whole.see("police", kind="delivery", event_type="threat_assessment_requested")
    until = (datetime.now(UTC) + timedelta(days=60)).date().isoformat()
    data = {"threat_level": "HIGH", "capability_known": True, "assessed_until": until, "withheld_part": True,
            "released_by_decision_ref": TEXT["decision"], "geographic_risk_zones": [TEXT["zone"]],
            "recommended_protection": ["ALARM"]}  # fmt: skip
    whole.drop("police", {"do": "send", "ref": theirs, "event_type": "threat_assessment_completed", "to": [LEAD],
                          "purpose": "THREAT_ASSESSMENT", "public_interest_released": ["IC04", "IC06"],
                          "confirmed": True, "data": data})  # fmt: skip
    whole.see("social", kind="delivery", event_type="threat_assessment_completed")
    custody = {"custody_authority": "KV", "status": "UTSLUSS", "effective_date": until,
               "institution": TEXT["institution"]}  # fmt: skip
    whole.drop("probation", {"do": "send", "ref": kv, "event_type": "custody_status_changed", "to": [LEAD],
                             "purpose": "REENTRY", "confirmed": True, "data": custody})  # fmt: skip
    whole.see("social", kind="delivery", event_type="custody_status_changed")


def request(ours: str, facts: str) -> dict[str, Any]:
    return {
        "do": "send", "ref": ours, "event_type": "threat_assessment_requested", "to": [POLICE], "confirmed": True,
        "purpose": "THREAT_ASSESSMENT", "actor_ref": TEXT["officer"], "id": TEXT["correlation"],
        "data": {"person_name": TEXT["person"], "personal_identity_number": TEXT["number"],
                 "reason_code": "EXIT_WISH", "urgency": "ACUTE",
                 "known_facts": [{"statement_kind": "ASSESSMENT", "text": facts}]},
    }  # fmt: skip


def _refused(whole: Whole, ours: str) -> None:
    """Inputs that are refused, by the shape, by a code, by the case, and for being half a file."""
    wrong = TEXT["refused"]
    good = request(ours, wrong)
    for value in (
        {**good, wrong: wrong},
        {**good, "ref": wrong},
        {**good, "purpose": wrong},
        {**good, "to": [wrong]},
        {**good, "deadline_at": wrong},
        {**good, "in_reply_to": wrong},
        {**good, "data": {**good["data"], wrong: wrong}},
        {**good, "data": {**good["data"], "urgency": wrong}},
        {"do": wrong},
        {"do": "invite", "ref": ours, "unit": wrong, "role": POLICE, "contact": wrong, "person": {"name": wrong}},
        '{"do": "send", "ref": "' + TEXT["half"],
    ):
        path = whole.drop("social", value)
        error = path.with_name(path.name + ".error.json")
        whole._until(error.exists, "an error file")


def _malformed(whole: Whole) -> None:
    """Bytes that no connector would send, with a good certificate: body, path, query and header."""
    body, avro = TEXT["raw body"].encode(), "application/vnd.handslag.avro"
    usual = {"Content-Type": avro, "Handslag-Instance": "1"}
    path = quote(TEXT["raw path"])
    statuses = [
        whole.raw("police", "POST", "/v1/submissions", body, **usual),
        whole.raw("police", "POST", "/v1/consents", b"\xc3\x01" + body * 4, **usual),
        whole.raw("police", "POST", "/v1/inbox:fetch", body, **{**usual, "Content-Type": "text/plain"}),
        whole.raw("police", "GET", f"/v1/{path}", None, **usual),
        whole.raw("police", "GET", f"/v1/schemas/{path}", None, **usual),
        whole.raw("police", "GET", f"/v1/tile/0/{path}", None, **usual),
        whole.raw("police", "GET", f"/{path}?{path}={path}", None, **usual),
        whole.raw("police", "GET", "/v1/units", None, **{**usual, "Handslag-Instance": TEXT["raw header"]}),
        whole.raw("police", "GET", "/v1/units", None, **{**usual, "Handslag-Checkpoint": TEXT["raw header"]}),
    ]
    assert all(400 <= status < 500 for status in statuses), statuses


def _killed(whole: Whole, ours: str, theirs: str) -> None:
    """Both sides die in the middle of work and come back; what was under way arrives."""
    assert theirs
    whole.drop("social", request(ours, TEXT["facts"]))
    whole.kill("broker")
    whole.drop("social", request(ours, TEXT["facts"]))
    whole.kill("police")
    whole.start("broker")
    whole.kill("social")
    whole.start("social")
    whole.start("police")
    whole.see("police", 3, kind="delivery", event_type="threat_assessment_requested")
