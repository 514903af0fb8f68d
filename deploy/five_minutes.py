"""From an empty folder to the first consent-checked message in five commands, timed: `python -m deploy.five_minutes`.

Plays an operator and two agencies, one of them a police region of two units, by the documented commands and nothing
else. The one step that is a person's, reading a fingerprint to each other by phone, is played too: each agency is
typed what the other one read out.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from deploy.processes import Started, free_ports, handslag, started

SOCIAL = ("konsult", "SOC/EXEMPEL/KONSULT", "SOC/EXEMPEL", "social_services_lead")
POLICE = ("syd", "POL/EXEMPEL/SYD", "POL/EXEMPEL", "police_coordination")
SECOND = ("nord", "POL/EXEMPEL/NORD", "POL/EXEMPEL", "police_coordination")
UNITS = (SOCIAL, POLICE, SECOND)
REGION = "POL/EXEMPEL"
_PATIENCE_S = 120.0
_READ_ALOUD = "Read aloud: "

EPILOG = """\b
Examples:
  python -m deploy.five_minutes
  python -m deploy.five_minutes --dir build/five --json | jq .seconds

Exit codes: 0 the message came, 1 a step failed or what should be withheld came, 2 wrong usage."""


@dataclass(slots=True)
class Clock:
    """Seconds of each step, in order."""

    say: Callable[[str], None]
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time one step and say it."""
        began = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - began, 2)
        self.say(f"{self.seconds[name]:6.1f} s  {name}")


def play(folder: Path, clock: Clock) -> dict[str, Any]:
    """Play it all in an empty folder; returns what was seen. Raises ClickException when a step fails."""
    with ExitStack() as running:
        with clock.step("handslag init"):
            broker = _broker(folder, running)
        with clock.step("handslag connector init"):
            nord = ("--agency-key", folder / "syd/keys/agency.key")
            for unit in UNITS:
                _connector(folder, unit, *(nord if unit is SECOND else ()))
        with clock.step("handslag agency admit"):
            requests = [folder / unit[0] / "request.json" for unit in UNITS]
            handslag("agency", "admit", "--config", broker, "--whole-region", REGION, *requests)
        with clock.step("handslag connector enrol"):
            compared = _enrolled(folder)
        with clock.step("handslag connector run"):
            for unit in UNITS:
                log = folder / f"{unit[0]}.log"
                running.enter_context(started(log, "connector", "run", "--config", folder / unit[0] / "connector.toml"))
            _until(lambda: all((folder / unit[0] / "folder/in").is_dir() for unit in UNITS))
        with clock.step("first consent-checked message"):
            seen = _message(folder)
    return {**seen, "fingerprint": compared}


def _broker(folder: Path, running: ExitStack) -> Path:
    gateway, operations = free_ports(2)
    process = started(
        folder / "broker.log", "init", "--serve", "--dir", folder / "broker", "--host", "127.0.0.1",
        "--listen", f"127.0.0.1:{gateway}", "--operations", f"127.0.0.1:{operations}",
    )  # fmt: skip
    running.enter_context(process)
    _until(lambda: "Serving on" in (folder / "broker.log").read_text("utf-8"), process)
    return folder / "broker/broker.toml"


def _connector(folder: Path, unit: tuple[str, str, str, str], *more: str | Path) -> None:
    name, code, agency, role = unit
    handslag("connector", "init", "--dir", folder / name, "--unit", code, "--agency", agency, "--role", role, *more)


def _enrolled(folder: Path) -> str:
    """Every unit enrols; each types what it heard the other agency read out."""
    asked = []
    for name, *_rest in UNITS:
        config = ("--config", folder / name / "connector.toml")
        answer = folder / name / "request.answer.json"
        asked.append(started(None, "connector", "enrol", answer, "--heard", "-", *config))
    read = [each.line_with(_READ_ALOUD).partition(_READ_ALOUD)[2].strip() for each in asked]
    for each, heard in zip(asked, [read[1], read[0], read[0]], strict=True):
        each.type(heard)
        if each.wait() != 0:
            raise click.ClickException("enrolment failed: the fingerprints differ, or an answer is not for its unit")
    return read[0]


def _message(folder: Path) -> dict[str, Any]:
    """Open a case, invite without consent (withheld), record the consent, invite again: it arrives."""
    social = folder / SOCIAL[0] / "folder"
    invite = {"do": "invite", "ref": "EX-1", "unit": POLICE[1], "role": POLICE[3], "contact": "EXEMPEL",
              "person": {"local_reference": "EXEMPEL-1"}}  # fmt: skip
    until = (datetime.now(UTC) + timedelta(days=30)).isoformat()
    grant = {"do": "grant", "ref": "EX-1", "recipients": [{"unit": POLICE[1]}], "categories": ["IC01", "IC12"],
             "purposes": ["INTAKE"], "valid_until": until, "text_version": "EXEMPEL-2", "terms_version": "EXEMPEL-1",
             "processing_acknowledged": True, "method": "WRITTEN"}  # fmt: skip
    _done(social, {"do": "open_case", "ref": "EX-1", "role": SOCIAL[3], "id": "1"})
    refused = _done(social, {**invite, "id": "2"})
    _done(social, {**grant, "id": "3"})
    released = _done(social, {**invite, "id": "4"})
    _until(lambda: bool(_kinds(folder / POLICE[0], "invitation")))
    if len(_kinds(folder / POLICE[0], "invitation")) != 1 or _kinds(folder / SECOND[0], "invitation"):
        raise click.ClickException("an invitation came that nobody consented to")
    return {"without consent": _outcome(refused), "with consent": _outcome(released)}


def _outcome(result: dict[str, Any]) -> str:
    return str(result["receipt"]["roles"][0]["outcome"]["code"])


def _done(folder: Path, command: dict[str, Any]) -> dict[str, Any]:
    name = command["id"]
    draft = folder / "in" / f".{name}.draft"
    draft.write_text(json.dumps(command), encoding="utf-8")
    draft.rename(folder / "in" / f"{name}.json")

    def found() -> list[dict[str, Any]]:
        if list((folder / "in").glob("*.error.json")):
            raise click.ClickException(f"command {name} was refused; see {folder / 'in'}")
        return [value for value in _values(folder / "receipts") if value.get("id") == name]

    def result() -> list[dict[str, Any]]:
        return [value for value in found() if value["kind"] in {"result", "refused"}]

    _until(lambda: bool(result()))
    return result()[0]


def _values(folder: Path) -> list[dict[str, Any]]:
    """What was given; a hidden name is a file that is still being given."""
    return [json.loads(path.read_bytes()) for path in sorted(folder.glob("[!.]*.json"))]


def _kinds(connector: Path, kind: str) -> list[dict[str, Any]]:
    return [value for value in _values(connector / "folder/out") if value["kind"] == kind]


def _until(met: Callable[[], bool], process: Started | None = None) -> None:
    end = time.monotonic() + _PATIENCE_S
    while not met():
        if time.monotonic() > end or (process is not None and process.ended):
            raise click.ClickException("a step did not come to its end; see the logs in the folder")
        time.sleep(0.05)


@click.command(epilog=EPILOG)
@click.option("--dir", "folder", type=click.Path(path_type=Path), help="Empty folder to use; stays behind.")
@click.option("--json", "as_json", is_flag=True, help="The report as one JSON object on stdout.")
def main(folder: Path | None, as_json: bool) -> None:
    """Time the way from an empty folder to the first consent-checked message."""
    if folder is not None and folder.exists() and any(folder.iterdir()):
        raise click.UsageError("the folder is not empty")
    with tempfile.TemporaryDirectory() as scratch:
        place = (folder or Path(scratch)).absolute()
        place.mkdir(parents=True, exist_ok=True)
        clock = Clock(lambda line: click.echo(line, err=True))
        seen = play(place, clock)
    report = {"seconds": clock.seconds, "total": round(sum(clock.seconds.values()), 2), **seen}
    lines = [f"{report['total']:6.1f} s  in all", f"Without consent: {seen['without consent']}"]
    click.echo(json.dumps(report) if as_json else "\n".join([*lines, f"With consent: {seen['with consent']}"]))
    sys.exit(0 if (seen["without consent"], seen["with consent"]) == ("WITHHELD", "RELEASED") else 1)


if __name__ == "__main__":
    main()
