"""How long a withdrawal takes to be in force with three nodes, one of which stands still inside an open transaction.

    python -m tests.bench.withdrawal_nodes [--samples N] [--minutes M] [--stream embedded|kafka] [--into docs/plots]

Three node processes on one PostgreSQL, three connectors, each with another node first on its list. All three have a
seat in one case, hence in one bucket; each records a consent and takes it back, category by category and then whole,
again and again, while events of two of them are decided beside it. First all nodes run. Then whichever node decides
the next batch is stopped (SIGSTOP) between BEGIN and COMMIT, held for a second, continued, and so on: a connector may
have been talking to it. That it stood still inside an open transaction is asked of its own database driver and of the
kernel, each time.

A sample runs from the moment the connector's call first leaves to the moment its answer is back, by the connector's
own clock; every further try and every other node asked is part of it. It belongs to the pauses when a node stood still
for a part of that time. `waited` is longer: from the moment the connector had accepted the agency's file. Progress goes
to stderr; what there is when the time is over or the run is interrupted is written all the same, and says so. Writes
`withdrawal-three-nodes.json` and `.svg`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.bench.figures import machine, quantile, tell
from tests.bench.plot import lines
from tests.bench.withdrawing import Sample, Samples, Withdrawing
from tests.chaos.engines import started
from tests.chaos.faults import FaultFailedError
from tests.chaos.nodes import Node, awaited
from tests.chaos.site import Site
from tests.kills.report import commit

_PLACE = "batch.inside"
_HELD_S, _BETWEEN_S = 1.0, 0.3
_PASSED_S = 20.0  # with load, a node passes the place within this time
_TELL_S = 10.0
_WARM = 6  # the first withdrawals after a start fill caches; they are in no figure
NAME = "withdrawal-three-nodes"
PAUSED, RUNNING = "one node stopped inside a transaction", "all nodes running"
Span = tuple[int, int]
"""When a node stood still, from and until, CLOCK_MONOTONIC in microseconds."""


def asleep(nodes: list[Node]) -> tuple[Node, int]:
    """Stop the node that decides the next batch, inside its transaction: that node, and since when.

    A second one that passes the place at the same moment goes on at once. Raises FaultFailedError when no node decides
    anything, or the one that stands still has no open transaction.
    """
    before = {node.name: len(node.trace()) for node in nodes}
    for node in nodes:
        node.arm(_PLACE, "stop")

    def stop(node: Node) -> dict[str, Any] | None:
        return next((line for line in node.trace()[before[node.name] :] if line["what"] == "stop"), None)

    def passed() -> Node | None:
        return next((node for node in nodes if stop(node)), None)

    found: Node | None = awaited(passed, _PASSED_S)
    for node in nodes:
        if not node.disarm() and node is not found:
            awaited(node.stopped, 2.0)
            node.signal(signal.SIGCONT)
    line = None if found is None else stop(found)
    if found is None or line is None or not awaited(found.stopped, 2.0):
        raise FaultFailedError(f"no node stopped at {_PLACE}")
    if line["open"] is not True:
        raise FaultFailedError(f"{found.name} stopped at {_PLACE} without an open transaction")
    return found, line["at"]


def pauses(nodes: list[Node]) -> Iterator[Span]:
    """One node after the other stopped inside a transaction, as long as somebody asks for the next."""
    while True:
        node, since = asleep(nodes)
        try:
            time.sleep(_HELD_S)
        finally:
            node.signal(signal.SIGCONT)
        yield since, time.monotonic_ns() // 1000
        time.sleep(_BETWEEN_S)


class Measured:
    """What was measured so far, whether or not the run came to its end."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.taken: dict[str, list[Sample]] = {RUNNING: [], PAUSED: []}
        self.spans: list[Span] = []
        self.whole = False
        self._told = 0.0

    def run(self, site: Site, seconds: float, say: Callable[[str], None]) -> None:
        """Both halves; each ends with enough samples or with its half of the time."""
        seen = Samples(site)
        with Withdrawing(site):
            say("load has begun")
            awaited(lambda: len(seen.since(0)) >= _WARM, seconds / 4)
            began, end = time.monotonic_ns() // 1000, time.monotonic() + seconds / 2
            while not self._enough(RUNNING) and time.monotonic() < end:
                time.sleep(0.25)
                self.taken[RUNNING] = seen.since(began)
                self._say(say, RUNNING, end - time.monotonic())
            began, end = time.monotonic_ns() // 1000, time.monotonic() + seconds / 2
            for span in pauses(site.nodes):
                self.spans.append(span)
                self.taken[PAUSED] = [one for one in seen.since(began) if one.during(self.spans)]
                self._say(say, PAUSED, end - time.monotonic())
                if self._enough(PAUSED) or time.monotonic() >= end:
                    break
        self.taken[PAUSED] = [one for one in seen.since(began) if one.during(self.spans)]
        self.whole = all(self._enough(name) for name in self.taken)

    def _enough(self, name: str) -> bool:
        return len(self.taken[name]) >= self.wanted

    def _say(self, say: Callable[[str], None], now: str, left_s: float) -> None:
        if time.monotonic() - self._told >= _TELL_S:
            self._told = time.monotonic()
            counts = ", ".join(f"{len(taken)}/{self.wanted} {name}" for name, taken in self.taken.items())
            say(f"{counts}; {len(self.spans)} pauses; now: {now}, at most {left_s:.0f} s more")

    def ms(self, of: Callable[[Sample], int]) -> dict[str, list[float]]:
        """Milliseconds, ascending, of every sample by what the nodes did."""
        return {name: sorted(of(one) / 1000 for one in taken) for name, taken in self.taken.items()}


def kept(measured: Measured, about: dict[str, Any], into: Path) -> None:
    """The figures as JSON, and the plot: milliseconds by share of withdrawals."""
    into.mkdir(parents=True, exist_ok=True)
    taken, waited = measured.ms(lambda one: one.call_us), measured.ms(lambda one: one.waited_us)
    about = {**about, "whole": measured.whole, "pauses": len(measured.spans)}
    text = json.dumps({**about, "ms": taken, "waited_ms": waited}, indent=1) + "\n"
    (into / f"{NAME}.json").write_text(text, encoding="utf-8")
    series = {
        f"{name}, {len(ms)} samples, p99 {quantile(ms, 0.99):.0f} ms": [
            (100.0 * (place + 1) / len(ms), value) for place, value in enumerate(ms)
        ]
        for name, ms in taken.items()
        if ms
    }
    made_on = about["machine"]
    cut = "" if measured.whole else "; ended before it had all samples"
    lines(
        into / f"{NAME}.svg",
        title="A withdrawal in force everywhere, three nodes",
        x="per cent of withdrawals answered within",
        y="ms from the call to its answer",
        series=series,
        goal=("goal: 99 % within 1 s", 1000.0),
        note=f"{made_on['cpu']}, {made_on['cores']} cores; commit {about['commit']}\n{about['command']}{cut}",
        marker=None,
    )


def told(measured: Measured) -> None:
    """Print the figures of each half, with the number of samples beside them."""
    for short, name in (("running", RUNNING), ("paused", PAUSED)):
        for what, of in (("", lambda one: one.call_us), (".waited", lambda one: one.waited_us)):
            ms = measured.ms(of)[name]
            for mark, share in (("p50", 0.5), ("p99", 0.99)):
                if ms:
                    tell(f"withdrawal.nodes.{short}{what}.{mark}", round(quantile(ms, share), 1), "ms",
                         samples=len(ms), slowest=round(ms[-1], 1))  # fmt: skip


def main(wanted: int, minutes: float, stream: str, into: Path) -> int:
    """Set up, measure, write; 1 when the time was over or somebody interrupted before all samples were there."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # whatever was started is stopped then too
    began, measured = time.monotonic(), Measured(wanted)

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {line}", file=sys.stderr, flush=True)

    folder = Path(tempfile.mkdtemp(prefix="handslag-withdrawal-")) / "run"
    load = os.getloadavg()[1]
    names: dict[str, str] = {}
    try:
        with started("postgresql", stream, full_disk=False) as engines:
            names = engines.names
            with Site(folder, 7, engines, 3, say, proxied=False) as site, contextlib.suppress(KeyboardInterrupt):
                site.set_up()
                measured.run(site, minutes * 60 - (time.monotonic() - began), say)
    finally:
        command = f"python -m tests.bench.withdrawal_nodes --samples {wanted} --minutes {minutes:g} --stream {stream}"
        about = {"engines": names, "machine": {**machine(), "load": load}, "commit": commit(), "command": command,
                 "date": datetime.now(UTC).date().isoformat(), "seconds": round(time.monotonic() - began)}  # fmt: skip
        if any(measured.taken.values()):
            kept(measured, about, into)
            told(measured)
    return 0 if measured.whole else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=200, help="of each half")
    parser.add_argument("--minutes", type=float, default=10.0, help="at most so long, its start included")
    parser.add_argument("--stream", choices=("embedded", "kafka"), default="kafka")
    parser.add_argument("--into", type=Path, default=Path("docs/plots"))
    chosen = parser.parse_args()
    sys.exit(main(chosen.samples, chosen.minutes, chosen.stream, chosen.into))
