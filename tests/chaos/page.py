"""The page of one run for `docs/evidence/`: when, what, on what, what happened, what was found."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from tests.chaos import checker
from tests.chaos.faults import NOT_REACHED, Seen
from tests.chaos.run import Report

RULES = tuple(value for name, value in vars(checker).items() if name.isupper() and isinstance(value, str))
SHOWN = {
    "stop before a transaction": "SIGSTOP after deciding or preparing, before BEGIN; every thread stood still",
    "stop inside a transaction": "SIGSTOP between BEGIN and COMMIT; the node's own driver said: open",
    "stop between commit and reply": "SIGSTOP; the trace names what the call had made durable",
    "kill at a place": "SIGKILL from inside at a named place, then a start",
    "kill anywhere": "SIGKILL at any moment, then a start",
    "rolling restart": "every node in turn stopped and started",
    "clock step": "the node's wall clock wrong for some seconds",
    "network cut": "every connection of connectors to one node reset",
    "network bad": "connections cut, delayed, swallowed, repeated",
    "PostgreSQL restarted": "stopped as an operator does, started",
    "PostgreSQL killed": "every process of the server killed at once",
    "disk full": "the last byte of the server's disk taken by somebody else",
    "Kafka server restarted": "one of three stopped and started",
    "Kafka server lost": "one of three killed, away for some seconds",
    "Kafka server silent": "one of three stopped (SIGSTOP)",
}
TROUBLES = {
    "delay": "delayed",
    "cut": "cut",
    "half": "cut after the request got through",
    "swallow": "swallowed",
    "again": "repeated",
}


def page(report: Report, command: str) -> str:
    """The whole page, in Markdown."""
    about = [
        ("date", report.date), ("command", f"`{command}`"), ("commit", f"`{report.commit}`"),
        ("machine", report.machine), ("seed", str(report.seed)), ("load and faults", f"{report.seconds:.0f} s"),
        ("load", ", ".join(f"{count} {what}" for what, count in report.load.items())),
        ("recorded by the connectors", ", ".join(f"{n} {what}" for what, n in sorted(report.facts.items()))),
        ("nodes that could not start while an engine was away, and were started again", str(report.started_again)),
    ]  # fmt: skip
    faults = [(name, SHOWN.get(name, ""), done, missed) for name, (done, missed) in report.by_fault().items()]
    total = ("all", "", sum(row[2] for row in faults), sum(row[3] for row in faults))
    parts = [
        f"# Faults under load: {report.title()}",
        _table(("", ""), about),
        "What the connectors wrote down was judged by `tests/chaos/checker.py`. "
        + ("Every promise held." if not report.found else "BROKEN:"),
        *(["\n".join(f"- {each}" for each in report.found)] if report.found else []),
        _table(("rule", "findings"), [(rule, sum(f.startswith(f"{rule}: ") for f in report.found)) for rule in RULES]),
        _table(("fault", "what it was, and how it is known", "times", "place not reached"), [*faults, total]),
        _places(report.faults),
        _besides(report.faults),
        _grown(report.growth),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |".replace("|  |", "| |") for line in lines)


def _places(faults: list[Seen]) -> str:
    """Stops and kills by place, and what became of the transactions that were open."""
    at: dict[str, list[Seen]] = defaultdict(list)
    for one in faults:
        if "place" in one and one.get("what") != NOT_REACHED:
            at[one["place"]].append(one)
    if not at:
        return ""
    rows = []
    for place, seen in sorted(at.items()):
        stopped = [one for one in seen if "then" in one]
        ends = Counter(next((what for what in one["then"] if what != "continued"), "-") for one in stopped)
        said = ", ".join(f"{count} {how}" for how, count in sorted(ends.items()) if how != "-")
        open_ = sum(one.get("open") is True for one in seen)
        rows.append((f"`{place}`", len(stopped), len(seen) - len(stopped), open_, said))
    return _table(("place", "stopped", "killed", "transaction open", "and ended, after a stop, with"), rows)


def _besides(faults: list[Seen]) -> str:
    """What else is known of faults: clocks, networks, disks."""
    clocks = Counter(one["wrong_s"] for one in faults if "wrong_s" in one)
    full = [one for one in faults if "free_bytes" in one]
    said = []
    if clocks:
        said.append("Clock steps: " + ", ".join(f"{n} x {step:+.0f} s" for step, n in sorted(clocks.items())) + ".")
    if troubles := sum((Counter(one.get("troubles", {})) for one in faults), Counter[str]()):
        kinds = ", ".join(f"{n} {TROUBLES[kind]}" for kind, n in sorted(troubles.items()))
        said.append(f"Connections in a bad network: {kinds}.")
    if full:
        most = max(one["free_bytes"] for one in full)
        ended = sum(one["server_ended"] for one in full)
        said.append(f"Disk full: at most {most} bytes were left; the server ended for it {ended} of {len(full)} times.")
    return " ".join(said)


def _grown(growth: Sequence[tuple[float, dict[str, float]]]) -> str:
    """Memory and disk as the run went on."""
    if not growth:
        return ""
    names = list(growth[0][1])
    rows = [(f"{at:.0f} s", *(taken.get(name, "") for name in names)) for at, taken in growth]
    return "Megabytes of memory and disk as the run went on:\n\n" + _table(("after", *names), rows)
