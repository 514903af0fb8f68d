"""The operator's acts: checked and drawn up, signed by two administrators, then carried out.

All units of one command are checked before anybody signs, and made known together. Where the administrators' keys do
not lie on this machine, what was drawn up waits in a file (`Pending`) that is carried to them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from audit.administration import ACT
from broker import actfiles, admissions, control, pki, regions
from broker.actfiles import ActFiles
from broker.admissions import Admission
from broker.pending import Pending
from broker.settings import BrokerSettings
from schemas.admin import ADMIT, ERASE, RESTRICT, REVOKE, RULES, AdminAct, AdminTarget
from schemas.errors import HandslagError


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one command admits: request files with their answer files, and what was said about police regions."""

    requests: Sequence[tuple[Path, Path]]
    whole_regions: tuple[str, ...] = ()
    lone: bool = False
    probe: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """What every answer tells of the broker: the authority's certificate, the log's verifier key, the supervisor's.

    Without a certificate nobody is admitted here.
    """

    settings: BrokerSettings
    ca_pem: str | None
    log_key: str
    supervisor_key: bytes

    @property
    def files(self) -> ActFiles:
        """The administrative acts of this broker."""
        return ActFiles(self.settings.data_dir, self.settings.origin)


@dataclass(frozen=True, slots=True)
class Admitted:
    """The units admitted, each with its answer file, and the fingerprint of the trust list in every answer."""

    units: tuple[tuple[Admission, Path], ...]
    fingerprint: str


def admission_of(broker: Broker, authority: pki.Authority, plan: Plan, now: datetime) -> Pending:
    """Check every request and draw the act up; nothing is changed.

    Raises `HS-ADMISSION-INVALID`, `HS-CERTIFICATE-INVALID`, `HS-REGION-INCOMPLETE`, `HS-REGION-LONE`, `HS-ADMIN-NONE`.
    """
    data_dir = broker.settings.data_dir
    known = admissions.load_all(data_dir)
    new: list[Admission] = []
    for path, _out in plan.requests:
        request, others = admissions.read_request(_read(path)), [*known, *new]
        new.append(admissions.admit(request, authority, others, now, probe=plan.probe))
    declared = regions.load(data_dir)
    seen = {each.unit for each in known if each.revoked_at_us is None}  # one that comes back is news again
    visible = {region: units & seen for region, units in declared.items()}
    grown = regions.checked((each.unit for each in new), visible, plan.whole_regions, lone=plan.lone)
    targets = [AdminTarget(unit=each.unit, subject=admissions.subject(each)) for each in new]
    return Pending(
        signed=broker.files.draft(ADMIT, _us(now), targets=targets),
        admissions=tuple(new),
        answers=tuple(str(out) for _path, out in plan.requests),
        regions={region: tuple(sorted(units)) for region, units in grown.items() if grown != declared},
    )


def adoption(broker: Broker, now: datetime) -> Pending:
    """The act for every unit that was admitted before anybody had to sign; raises `HS-UNIT-UNKNOWN` for none."""
    admitted = broker.files.chain().admitted
    kept = [each for each in admissions.load_all(broker.settings.data_dir) if each.revoked_at_us is None]
    targets = [
        AdminTarget(unit=each.unit, subject=admissions.subject(each))
        for each in kept
        if admitted.get(each.unit) != admissions.subject(each)
    ]
    if not targets:
        raise HandslagError("HS-UNIT-UNKNOWN")
    return Pending(signed=broker.files.draft(ADMIT, _us(now), targets=targets))


def revocation(broker: Broker, unit: str, reason: str | None, now: datetime) -> Pending:
    """Draw up the act that shuts a unit out; raises `HS-UNIT-UNKNOWN`, `HS-ADMIN-NONE`."""
    kept = next((each for each in admissions.load_all(broker.settings.data_dir) if each.unit == unit), None)
    if kept is None or kept.revoked_at_us is not None:
        raise HandslagError("HS-UNIT-UNKNOWN")
    target = AdminTarget(unit=unit, subject=admissions.subject(kept))
    signed = broker.files.draft(REVOKE, _us(now), targets=[target], reason=reason)
    return Pending(signed=signed, revoked=(unit,))


def going_on(broker: Broker, reason: str, now: datetime) -> Pending:
    """Draw up the act by which the log of a node in HOLD goes on; raises `HS-HOLD-NONE`, `HS-NODE-ABSENT`."""
    missing = control.call(broker.settings.data_dir, "hold-status", {})["missing"]
    if missing is None:
        raise HandslagError("HS-HOLD-NONE")
    signed = broker.files.draft(missing["kind"], _us(now), subject=bytes.fromhex(missing["subject"]), reason=reason)
    return Pending(signed=signed, continued=True)


def rules_in_force(broker: Broker, rules_hash: bytes, now: datetime) -> Pending:
    """Draw up the act by which rules take force; raises `HS-ADMIN-NONE`, `HS-RULES-ACTIVE` when they have."""
    if broker.files.chain().rules == rules_hash:
        raise HandslagError("HS-RULES-ACTIVE", check="in_force")
    return Pending(signed=broker.files.draft(RULES, _us(now), subject=rules_hash))


def about_seat(broker: Broker, kind: str, seat_id: bytes, ground: str | None, now: datetime) -> Pending:
    """Draw up the act that erases a seat, restricts it or lifts that.

    Raises `HS-NODE-ABSENT`, `HS-SEAT-UNKNOWN`, `HS-SEAT-ERASED`, `HS-ERASE-REFUSED` (`check` names what stands against
    it), `HS-ADMIN-NONE`, `HS-ADMIN-ACT-INVALID` for a restriction that there is, or is not.
    """
    data_dir, seat = broker.settings.data_dir, seat_id.hex()
    if kind == ERASE:
        control.call(data_dir, "erase-free", {"seat_id": seat, "ground": ground})
    named = control.call(data_dir, "erase-named", {"seat_id": seat})
    subject = bytes.fromhex(named["subject"])
    if kind != ERASE and (subject in broker.files.chain().restricted) == (kind == RESTRICT):
        raise HandslagError("HS-ADMIN-ACT-INVALID", check="restricted")
    signed = broker.files.draft(kind, _us(now), subject=subject, reason=ground)
    return Pending(signed=signed, seat=seat_id, salt=bytes.fromhex(named["salt"]))


def signed_here(broker: Broker, pending: Pending) -> Pending:
    """Sign with those administrators' keys that the configuration names; where two people sign, it names none."""
    named = broker.settings.administration
    paths = [path for path in (named.first_key_file, named.second_key_file) if path is not None] if named else []
    signed = pending.signed
    for path in paths:
        signed = actfiles.signed_by(signed, actfiles.private_key(path), broker.files.chain)
    return replace(pending, signed=signed)


def carried_out(broker: Broker, pending: Pending, now: datetime) -> Admitted:
    """Keep the act, then do what it says; again it does only what is still missing.

    Raises `HS-ADMIN-UNSIGNED`, `HS-ADMIN-ACT-INVALID`, and what a running node refuses.
    """
    data_dir = broker.settings.data_dir
    if pending.admissions and broker.ca_pem is None:
        raise HandslagError("HS-SETTINGS-INVALID", field="admission")
    running = control.is_running(data_dir)
    if pending.continued and not running:  # what is kept and lost, only the node can state
        raise HandslagError("HS-NODE-ABSENT")
    if pending.seat:
        _require_free(data_dir, pending, running=running)
    if pending.signed not in broker.files.all():  # a command that was cut off half-way is given again
        broker.files.append(pending.signed)
    if running:
        control.call(data_dir, "acts", {})
    if pending.continued:
        control.call(data_dir, "hold-continue", {})
    if pending.seat:
        control.call(data_dir, "erase-go-on", {})
    for unit in pending.revoked:
        _revoke(data_dir, unit, now, running=running)
    _admitted(data_dir, pending, running=running)
    return _answered(broker, pending)


def _admitted(data_dir: Path, pending: Pending, *, running: bool) -> None:
    if running and pending.admissions:
        control.call(data_dir, "admit_together", {"admissions": [each.to_json() for each in pending.admissions]})
    for each in pending.admissions:
        admissions.save(data_dir, each)
    if pending.regions:
        regions.save(data_dir, {region: frozenset(units) for region, units in pending.regions.items()})


def not_carried_out(broker: Broker) -> dict[str, bytes]:
    """Units with the subject of their admission that two signed and that was not carried out: refused, or cut off."""
    # INVARIANT: test_an_act_that_was_refused_is_not_listed_as_done
    kept = {each.unit: admissions.subject(each) for each in admissions.load_all(broker.settings.data_dir)}
    return {unit: subject for unit, subject in broker.files.chain().admitted.items() if kept.get(unit) != subject}


def acts_of_kind(broker: Broker, kind: str) -> list[int]:
    """Numbers of all acts of a kind."""
    read = (AdminAct.from_bytes(each.act, ACT) for each in broker.files.all())
    return [act.number for act in read if act.kind == kind]


def _require_free(data_dir: Path, pending: Pending, *, running: bool) -> None:
    """What is kept as an act had nothing against it: only the node can tell. Raises as `about_seat`."""
    if not running:
        raise HandslagError("HS-NODE-ABSENT")
    pending.require_named()
    act, seat = AdminAct.from_bytes(pending.signed.act, ACT), pending.seat.hex()
    done = control.call(data_dir, "erase-status", {})["acts"]
    if act.kind == ERASE and act.number not in {row["act"] for row in done}:
        control.call(data_dir, "erase-free", {"seat_id": seat, "ground": act.reason})


def _revoke(data_dir: Path, unit: str, now: datetime, *, running: bool) -> None:
    # The file first: should the node fall in between, it reads the revocation when it starts.
    kept = next(each for each in admissions.load_all(data_dir) if each.unit == unit)
    ended = kept if kept.revoked_at_us is not None else admissions.revoked(kept, now)
    admissions.save(data_dir, ended)
    if running:
        control.call(data_dir, "revoke", {"unit": unit, "revoked_at_us": ended.revoked_at_us})


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        raise HandslagError("HS-ADMISSION-INVALID", field="file") from None


def _answered(broker: Broker, pending: Pending) -> Admitted:
    probe = any(each.probe for each in pending.admissions)
    # INVARIANT: test_no_agency_is_asked_to_trust_the_probe
    listed = [each for each in admissions.load_all(broker.settings.data_dir) if each.probe == probe]
    statement = admissions.trust_statement(broker.settings.origin, broker.log_key, broker.supervisor_key, listed)
    common: dict[str, object] = {
        "ca_pem": broker.ca_pem,
        "broker_url": broker.settings.url,
        "origin": broker.settings.origin,
        "log_key": broker.log_key,
        "trust_toml": admissions.trust_draft(statement),
    }
    if broker.settings.further_urls:
        common["further_urls"] = list(broker.settings.further_urls)
    units = []
    for admission, name in zip(pending.admissions, pending.answers, strict=True):
        answer = {**common, "certificate_pem": admission.certificate_pem}
        Path(name).write_text(json.dumps(answer, indent=1), encoding="utf-8")
        units.append((admission, Path(name)))
    return Admitted(tuple(units), admissions.fingerprint(statement))


def _us(now: datetime) -> int:
    return int(now.astimezone(UTC).timestamp() * 1_000_000)
