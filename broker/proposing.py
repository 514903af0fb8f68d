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

    Raises `HS-RULES-INVALID`, `HS-RULES-UNREADY`, `HS-ADMIN-NONE`, and for a version that is taken
    `HS-RULES-PROPOSED` (it waits) or `HS-RULES-ACTIVE` (it took force).
    """
    fit(file, now.date())
    rules = parse(file)
    _require_free(files, rules.version)
    return Pending(signed=files.draft(PROPOSE, _us(now), subject=rules.hash32, rules=file))


def activation(files: ActFiles, rules: Rules, now: datetime) -> Pending:
    """Draw up the act that puts a proposed rule set in force.

    Raises `HS-RULES-EARLY` before its date, and `HS-RULES-ACTIVE` for one that is in force or was.
    """
    if rules.in_force_from > now.date():
        raise HandslagError("HS-RULES-EARLY")
    if rules.hash32 in files.chain().activated:
        raise _active(files, rules.version)
    return Pending(signed=files.draft(ACTIVATE, _us(now), subject=rules.hash32))


def _require_free(files: ActFiles, version: str) -> None:
    """Raise `HS-RULES-ACTIVE` or `HS-RULES-PROPOSED` for a version that a rule set has already."""
    # INVARIANT: test_going_back_is_a_version_of_its_own
    named, activated = [one for one in proposed(files) if one.version == version], files.chain().activated
    if version == shipped()[1].version or any(one.hash32 in activated for one in named):
        raise _active(files, version)
    if named:
        raise HandslagError("HS-RULES-PROPOSED")


def _active(files: ActFiles, version: str) -> HandslagError:
    if version == newest(files).version:
        return HandslagError("HS-RULES-ACTIVE", check="in_force")
    return HandslagError("HS-RULES-ACTIVE", check="earlier")


def _us(now: datetime) -> int:
    return int(now.timestamp() * 1_000_000)
