"""Which rules each discloser is decided by, read from the store and kept as long as nothing was added to it.

What is read stands in the snapshot or transaction of whoever asks. A rule set that takes effect and an approval move
every gate, so that a batch that was decided by other rules is not written.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from broker.store.port import Rows
from broker.store.rules import ApprovalRow
from consent.rules import Rules, parse
from consent.rules_change import effective, informed

RulesOf = Callable[[str], Rules]
"""The rules that a unit's releases are decided by."""


@dataclass(frozen=True, slots=True)
class _Read:
    """What the store said under one mark."""

    mark: tuple[int, int]
    steps: Sequence[Rules]
    approved: Mapping[str, frozenset[bytes]]


class RuleBook:
    """The rule sets on top of an installation's own; used from any thread."""

    def __init__(self) -> None:
        self._read: _Read | None = None

    def of(self, rows: Rows, base: Rules) -> RulesOf:
        """The rules by unit, as this snapshot has them; raises `HS-RULES-INVALID` for a file that cannot be read."""
        # INVARIANT: test_rules_that_another_node_put_in_force_hold_here_at_the_next_batch
        mark = rows.rules.mark()
        kept = self._read
        if kept is None or kept.mark != mark or kept.steps[0] is not base:
            kept = _read(rows, base, mark)
            self._read = kept
        if len(kept.steps) == 1:
            return lambda _unit: base
        found = kept
        return lambda unit: effective(found.steps, found.approved.get(unit, frozenset()))


def counting(rows: Rows, unit: str | None = None) -> list[ApprovalRow]:
    """The approvals, of one unit or of all, that were told of everything their rule set opens."""
    took, given = rows.rules.took(), rows.rules.given()
    return [row for row in rows.rules.approvals(unit) if informed(given.get(row.entry_id, 0), took, row.rules_hash)]


def _read(rows: Rows, base: Rules, mark: tuple[int, int]) -> _Read:
    approved: dict[str, set[bytes]] = defaultdict(set)
    for row in counting(rows):
        approved[row.unit].add(row.rules_hash)
    steps = (base, *map(parse, rows.rules.steps(base.hash32)))
    return _Read(mark, steps, {unit: frozenset(hashes) for unit, hashes in approved.items()})
