"""The table at the end, and how it differs from what the scenario expects."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from deploy.demo.readback import Row
from deploy.demo.scenario import Outcome


def rendered(rows: Sequence[Row]) -> str:
    """Who, what, to which role, what came, what not and why, how it ended, what the trail holds."""
    table = Table(title="Read back from receipts and trail", show_lines=False)
    for head in ("from", "event", "to role", "outcome", "came", "not, and why", "end", "trail"):
        table.add_column(head, overflow="fold")
    for row in rows:
        withheld = "\n".join(f"{category}: {why}" for category, why in row.withheld.items())
        trail = " ".join(dict.fromkeys(row.trail))
        cells = (row.sender, row.event_type, row.role, row.outcome, " ".join(row.came), withheld, row.end, trail)
        table.add_row(*cells)
    console = Console(width=150, color_system=None)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def differences(expected: Sequence[Outcome], rows: Sequence[Row]) -> list[str]:
    """Every expectation that the table does not meet, and every row that nobody expected."""
    found = {(row.event, row.role): row for row in rows}
    wrong = []
    for one in expected:
        row = found.pop((one.event, one.role), None)
        if row is None:
            wrong.append(f"{one.event} to {one.role}: no receipt")
            continue
        is_ = (row.outcome, row.came, row.withheld, row.end)
        should = (one.outcome, one.came, one.withheld, one.end)
        if is_ != should:
            wrong.append(f"{one.event} to {one.role}: {is_}, not {should}")
        if "DECISION" not in row.trail:
            wrong.append(f"{one.event} to {one.role}: no DECISION in the trail")
        if row.came and not {"DISCLOSURE", "ACK"} <= set(row.trail):
            wrong.append(f"{one.event} to {one.role}: it came, and the trail has no DISCLOSURE and ACK")
    return wrong + [f"{event} to {role}: nobody expected it" for event, role in found]
