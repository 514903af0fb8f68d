"""`handslag agency admit`: all units of one command checked first, then made known together, then answered."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from broker import admissions, control, pki, regions
from broker.admissions import Admission
from broker.settings import BrokerSettings
from schemas.errors import HandslagError


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one command admits: request files with their answer files, and what was said about police regions."""

    requests: Sequence[tuple[Path, Path]]
    whole_regions: tuple[str, ...] = ()
    lone: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """What every answer tells of the broker: the authority, the log's verifier key, the supervisor's public key."""

    settings: BrokerSettings
    authority: pki.Authority
    log_key: str
    supervisor_key: bytes


@dataclass(frozen=True, slots=True)
class Admitted:
    """The units admitted, each with its answer file, and the fingerprint of the trust list in every answer."""

    units: tuple[tuple[Admission, Path], ...]
    fingerprint: str


def admit(broker: Broker, plan: Plan, now: datetime) -> Admitted:
    """Admit all or none: every request is checked before the node hears of the first.

    Raises `HS-ADMISSION-INVALID`, `HS-CERTIFICATE-INVALID`, `HS-REGION-INCOMPLETE`, `HS-REGION-LONE`, and what a
    running node refuses.
    """
    data_dir = broker.settings.data_dir
    known = admissions.load_all(data_dir)
    new: list[Admission] = []
    for path, _out in plan.requests:
        new.append(admissions.admit(admissions.read_request(_read(path)), broker.authority, [*known, *new], now))
    declared = regions.load(data_dir)
    seen = {each.unit for each in known if each.revoked_at_us is None}  # one that comes back is news again
    visible = {region: units & seen for region, units in declared.items()}
    grown = regions.checked((each.unit for each in new), visible, plan.whole_regions, lone=plan.lone)
    _tell(data_dir, new)
    for each in new:
        admissions.save(data_dir, each)
    if grown != declared:
        regions.save(data_dir, grown)
    return _answered(broker, plan, new)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        raise HandslagError("HS-ADMISSION-INVALID", field="file") from None


def _tell(data_dir: Path, new: list[Admission]) -> None:
    """One command to a running node, so that the directory shows all of them at one moment."""
    if not control.is_running(data_dir):
        return
    if len(new) == 1:
        control.call(data_dir, "admit", new[0].to_json())
    else:
        control.call(data_dir, "admit_together", {"admissions": [each.to_json() for each in new]})


def _answered(broker: Broker, plan: Plan, new: list[Admission]) -> Admitted:
    listed = admissions.load_all(broker.settings.data_dir)
    statement = admissions.trust_statement(broker.settings.origin, broker.log_key, broker.supervisor_key, listed)
    common = {
        "ca_pem": broker.authority.pem.decode("ascii"),
        "broker_url": broker.settings.url,
        "origin": broker.settings.origin,
        "log_key": broker.log_key,
        "trust_toml": admissions.trust_draft(statement),
    }
    for admission, (_request, out) in zip(new, plan.requests, strict=True):
        answer = {**common, "certificate_pem": admission.certificate_pem}
        out.write_text(json.dumps(answer, indent=1), encoding="utf-8")
    units = tuple((admission, out) for admission, (_request, out) in zip(new, plan.requests, strict=True))
    return Admitted(units, admissions.fingerprint(statement))
