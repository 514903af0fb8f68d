"""A rule file drawn up as an act: proposed to everybody, and put in force; two administrators sign both."""

from __future__ import annotations

from datetime import datetime

from audit.administration import ACT
from broker.actfiles import ActFiles
from broker.pending import Pending
from broker.ruling import fit
from consent.rules import Rules, parse, shipped
from schemas.admin import ACTIVATE, PROPOSE, AdminAct
from schemas.errors import HandslagError


def proposed(files: ActFiles) -> list[Rules]:
    """Every rule set that was proposed, in order."""
    acts = (AdminAct.from_bytes(each.act, ACT) for each in files.all())
    return [parse(act.rules) for act in acts if act.rules is not None]


def newest(files: ActFiles) -> Rules:
    """The rule set that took effect last: of an activation, or the installation's own."""
    steps = files.chain().steps
    return next((one for one in proposed(files) if steps and one.hash32 == steps[-1]), shipped()[1])


def chosen(files: ActFiles, version: str) -> Rules:
    """The proposed rule set of a version; raises `HS-RULES-UNKNOWN`."""
    found = next((one for one in proposed(files) if one.version == version), None)
    if found is None:
        raise HandslagError("HS-RULES-UNKNOWN")
    return found


def proposal(files: ActFiles, file: bytes, now: datetime) -> Pending:
    """Draw up the act that proposes a file.

    Raises `HS-RULES-INVALID`, `HS-RULES-UNREADY`, `HS-ADMIN-NONE`, and `HS-ADMIN-ACT-INVALID` for a version that is
    taken.
    """
    fit(file, now.date())
    rules = parse(file)
    # INVARIANT: test_going_back_is_a_version_of_its_own
    if rules.version in {one.version for one in (shipped()[1], *proposed(files))}:
        raise HandslagError("HS-ADMIN-ACT-INVALID", check="version")
    return Pending(signed=files.draft(PROPOSE, _us(now), subject=rules.hash32, rules=file))


def activation(files: ActFiles, rules: Rules, now: datetime) -> Pending:
    """Draw up the act that puts a proposed rule set in force.

    Raises `HS-RULES-EARLY` before its date, and `HS-ADMIN-ACT-INVALID` for one that is in force or was.
    """
    if rules.in_force_from > now.date():
        raise HandslagError("HS-RULES-EARLY")
    if rules.hash32 in files.chain().activated:
        raise HandslagError("HS-ADMIN-ACT-INVALID", check="subject")
    return Pending(signed=files.draft(ACTIVATE, _us(now), subject=rules.hash32))


def _us(now: datetime) -> int:
    return int(now.timestamp() * 1_000_000)
