"""Setting the probe up by the steps every agency and operator takes; nothing here is a shorter way."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import handslag
from broker.settings import address_of
from connectors import enrolment
from schemas.errors import HandslagError, registry
from schemas.identifiers import checked_unit

ROLES = {"sender": "social_services_lead", "recipient": "police_coordination"}
# The rules ask for the authority that a role belongs to; the rest says that nobody's case is handled there.
_CODES = {"sender": "SOC/{}/SOND", "recipient": "POL/{}/SOND"}
_CONFIG = """\
# The operator's standing test case; see docs/probe.md. Times in seconds.
listen = "{listen}"
interval_s = 30.0            # one message that must arrive and one that must not
withdrawal_every_s = 180.0   # one withdrawal that must bite
patience_s = 15.0            # what a message may take before the round counts as failed
renew_s = 86400.0            # a new case with empty spools, so that the disk does not fill
"""


def initialise(broker: Path, folder: Path, unit: str, listen: str) -> dict[str, str]:
    """Make the probe's folder: two connectors, admitted as a probe, with a trust list of their own.

    Raises `HS-INIT-EXISTS`, `HS-IDENTIFIER-INVALID`, `HS-CONFIG-INVALID` and what the commands say; the folder is gone
    then.
    """
    units = {name: checked_unit(code.format(unit)) for name, code in _CODES.items()}
    try:
        address_of(listen)
    except ValueError:
        raise HandslagError("HS-CONFIG-INVALID", field="listen") from None
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise HandslagError("HS-INIT-EXISTS")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        _connectors(broker, folder, units)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    (folder / "evidence").mkdir(mode=0o700)
    config = folder / "probe.toml"
    config.write_text(_CONFIG.format(listen=listen), encoding="utf-8")
    return {"config": str(config), **units}


def _connectors(broker: Path, folder: Path, units: dict[str, str]) -> None:
    """What `connector init`, `trust sign`, `enrol` and `trust install` do, and the operator's two commands between."""
    for name, code in units.items():
        # An agency of its own each: a trust list needs two that sign.
        who = enrolment.Unit(
            unit=code,
            agency=code,
            controller=code.split("/", 1)[1].replace("/", "-"),
            roles=(ROLES[name],),
        )
        enrolment.initialise(folder / name, who, None, {})
    requests = [folder / name / "request.json" for name in units]
    region = "/".join(units["recipient"].split("/")[:2])
    _handslag("agency", "admit", "--probe", "--whole-region", region, "--config", broker, *requests)
    trust = folder / "trust.toml"
    trust.write_text(_handslag("agency", "trust", "--probe", "--config", broker) + "\n", encoding="utf-8")
    for name, code in units.items():
        signed = enrolment.sign_trust(trust, code, folder / name / "keys" / "agency.key")
        trust.write_text(signed, encoding="utf-8")
    for name in units:
        config = folder / name / "connector.toml"
        enrolment.enrol(config, folder / name / "request.answer.json")
        enrolment.install_trust(config, trust, enrolment.fingerprint_of(trust))
        (folder / name / "keys" / "agency.key").unlink()  # signed what it had to; nobody else trusts it


def _handslag(*words: str | Path) -> str:
    """One command of the operator to its end; raises the code it says, else `HS-INTERNAL`."""
    argv = [sys.executable, str(Path(handslag.__file__)), *map(str, words)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    if done.returncode:
        said = (word.strip('":,.()') for word in done.stderr.split())
        raise HandslagError(next((word for word in said if word in registry()), "HS-INTERNAL"))
    return done.stdout.strip()
