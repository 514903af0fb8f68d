"""Which rules a discloser should have been decided by at each entry, from acts and approvals that the trail records.

The operator's PROPOSE and ACTIVATE acts carry the files and their order, each unit's approval is an entry of its own.
With these a recorded `rules_hash` is made again, also where it names what lies between two files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from audit.administration import ACT
from audit.anchors import Anchors
from audit.report import Report
from audit.verify_keys import Opened
from consent import rules as consent_rules
from consent.rules import Rules, parse
from consent.rules_change import derived, effective, informed
from schemas import codec
from schemas.admin import ACTIVATE, RULES, AdminAct, SignedAdminAct
from schemas.errors import HandslagError
from schemas.rules import RulesApproval

_SIGNED = ACT + 4096


@dataclass(slots=True)
class RuleSets:
    """What the opened entries say about rules; entry numbers tell what came before what."""

    laid: list[tuple[int, bool, Rules | None]] = field(default_factory=list)
    """What took force: the entry, whether it was an installation's own rules, and those where they can be read."""
    approved: dict[tuple[str, str], list[tuple[int, bytes]]] = field(default_factory=dict)
    """(controller, unit) -> (entry number, hash of the file) of each approval."""
    known: Mapping[bytes, Rules] = field(default_factory=dict)
    """Every rule set that can be named, by its hash."""

    @property
    def changed(self) -> bool:
        """Whether any rule set ever took effect on top of an installation's own."""
        return any(not own for _, own, _ in self.laid)

    def every(self) -> Mapping[bytes, Rules]:
        """Every rule set that some discloser was ever decided by, by its hash."""
        ways = [derived(steps) for steps in self._each() if steps]
        return {hash32: several[0].rules for each in ways for hash32, several in each.items()}

    def _each(self, number: int | None = None) -> list[list[Rules]]:
        """For every time that an installation's own rules took force: those and what took effect on top, in order.

        Nothing for those that cannot be read here. With a number, only what took force before that entry.
        """
        # INVARIANT: test_rules_that_came_back_are_decided_by_alone
        found: list[list[Rules]] = []
        for at, own, rules in self.laid:
            if number is not None and at >= number:
                break
            if own:
                found.append([] if rules is None else [rules])
            elif found and found[-1] and rules is not None:
                found[-1].append(rules)
        return found

    def at(self, number: int, owner: str) -> list[Rules]:
        """What units of a controller were decided by at an entry; nothing where the trail does not tell."""
        steps = next((each for each in reversed(self._each(number))), None)
        if not steps:
            return []
        took = [(at, b"" if own or rules is None else rules.hash32) for at, own, rules in self.laid if at < number]
        units = [
            {one for at, one in given if at < number and informed(at, took, one)}
            for (of, _), given in self.approved.items()
            if of == owner
        ]
        return [effective(steps, approved) for approved in (*units, frozenset[bytes]())]

    def wrong(self, one: Opened) -> bool:
        """Whether a decision names other rules than any unit of its controller had at its entry."""
        # INVARIANT: test_a_decision_by_rules_that_nobody_approved_is_named
        expected = self.at(one.number, one.entry.owner)
        return self.changed and bool(expected) and one.payload.rules_hash not in {each.hash32 for each in expected}


def read(ones: Iterable[Opened], anchors: Anchors, report: Report) -> RuleSets:
    """Read the entries about no seat; what is not as it must be is a finding `rules`, and does not count."""
    found = RuleSets()
    files: dict[bytes, Rules] = {}
    for one in sorted(ones, key=lambda one: one.number):
        act = one.payload.act
        if one.entry.operation != "ADMIN" or act is None or one.payload.code is not None:
            continue
        try:
            name = codec.name_of(act)
            if name == SignedAdminAct.SCHEMA:
                _operators(found, files, one, act)
            elif name == RulesApproval.SCHEMA:
                _approval(found, one, act, anchors, report)
        except HandslagError:
            report.add(one.finding("rules", "form"))
    found.known = {**found.every(), **consent_rules.released()}
    return found


def _operators(found: RuleSets, files: dict[bytes, Rules], one: Opened, raw: bytes) -> None:
    act = AdminAct.from_bytes(SignedAdminAct.from_bytes(raw, _SIGNED).act, ACT)
    if act.subject is None:
        return
    if act.kind == RULES:
        found.laid.append((one.number, True, consent_rules.released().get(act.subject)))
    elif act.rules is not None:
        rules = parse(act.rules)
        files[rules.hash32] = rules
    elif act.kind == ACTIVATE and act.subject in files:
        found.laid.append((one.number, False, files[act.subject]))


def _approval(found: RuleSets, one: Opened, raw: bytes, anchors: Anchors, report: Report) -> None:
    """An approval counts for the unit that signed it; one that it did not sign is named."""
    # INVARIANT: test_an_approval_that_the_unit_did_not_sign_is_named
    said = RulesApproval.from_bytes(raw)
    signed = anchors.unit_signed(said.unit, one.entry.owner, one.payload.act_signature or b"", raw)
    report.signatures += 1
    if signed is False:
        report.add(one.finding("rules", "signature"))
        return
    found.approved.setdefault((one.entry.owner, said.unit), []).append((one.number, said.rules_hash))
