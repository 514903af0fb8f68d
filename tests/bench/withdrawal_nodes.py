"""How long a withdrawal takes to be in force with three nodes, one of which stands still inside an open transaction.

    python -m tests.bench.withdrawal_nodes [--samples N] [--stream embedded|kafka] [--into docs/plots]

Three node processes on one PostgreSQL, three connectors, load by police and probation; social services, in the same
case and so in the same bucket, record a consent and withdraw it, again and again. The node that decides this bucket is
found, and no connector talks to it first. It is stopped (SIGSTOP) between BEGIN and COMMIT of a batch, held for a
second, continued, and stopped again at its next batch. That it stood still inside an open transaction is asked of its
own database driver and of the kernel, each time.

A sample runs from the moment the connector's call leaves to the moment its answer is back, by the connector's own
clock; tries again are part of it. It belongs to the pauses when the node stood still for a part of that time. Writes
`withdrawal-three-nodes.json` and `.svg`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.bench.figures import machine, quantile, tell
from tests.bench.plot import lines
from tests.chaos.engines import started
from tests.chaos.faults import stopped_in
from tests.chaos.nodes import Node, awaited
from tests.chaos.site import Site
from tests.kills.load import CATEGORIES, PURPOSES, REFS, ROLES, Dropped, Load, terms
from tests.kills.report import commit

_PLACE = "batch.inside"
_HELD_S = 1.0
_PATIENCE_S = 30.0
_QUEUE = 4
NAME = "withdrawal-three-nodes"
PAUSED, RUNNING = "one node stopped inside a transaction", "all nodes running"


class Withdrawing:
    """Load of two units in the main thread's way, and one that grants and withdraws without a pause."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.over = threading.Event()
        self._load = Load(site.seed)
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._events, self._consents)]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End after what is under way."""
        self.over.set()
        for thread in self._threads:
            thread.join()

    def _events(self) -> None:
        world = self.site.world
        while not self.over.is_set():
            for unit in ("police", "probation"):
                if len(list((world.root(unit) / "in").glob("*.json"))) < _QUEUE:
                    world.drop(self._load._event(unit))
            self.over.wait(0.03)

    def _consents(self) -> None:
        to = [{"role": ROLES[unit]} for unit in ("police", "probation")]
        number = 0
        while not self.over.is_set():
            number += 1
            given = self._done(f"c-{number:05d}-grant", terms(to, CATEGORIES["social"], PURPOSES))
            if given is not None:
                self._done(f"c-{number:05d}-withdraw", {"do": "withdraw", "consent": given["consent"]})

    def _done(self, name: str, value: dict[str, Any]) -> dict[str, Any] | None:
        world = self.site.world
        world.drop(Dropped("social", name, {"id": name, "ref": REFS["social"], **value}))
        path = world.root("social") / "receipts"

        def result() -> dict[str, Any] | None:
            for file in path.glob("[!.]*-result.json"):  # what has its name is whole
                told: dict[str, Any] = json.loads(file.read_bytes())
                file.unlink()
                if told["id"] == name:
                    return told
            return None

        found: dict[str, Any] | None = awaited(lambda: result() or self.over.is_set(), _PATIENCE_S)
        return found if isinstance(found, dict) else None


def deciding(site: Site) -> Node:
    """The node that decides the case's bucket: the first that passes the place when all are asked to stop there."""
    before = {node.name: len(node.trace()) for node in site.nodes}
    for node in site.nodes:
        node.arm(_PLACE, "stop")

    def first() -> Node | None:
        return next((node for node in site.nodes if len(node.trace()) > before[node.name]), None)

    found: Node | None = awaited(first, _PATIENCE_S)
    for node in site.nodes:
        if not node.disarm():
            time.sleep(0.2)
            node.signal(signal.SIGCONT)
    if found is None:
        sys.exit("no node decided anything")
    return found


def paused(site: Site, node: Node, until: Any) -> list[tuple[int, int]]:
    """Stop a node inside a transaction again and again; when each pause began and ended, CLOCK_MONOTONIC in us."""
    spans: list[tuple[int, int]] = []
    while not until():
        line = stopped_in(node, _PLACE)
        if line is None:
            continue
        time.sleep(_HELD_S)
        node.signal(signal.SIGCONT)
        spans.append((line["at"], time.monotonic_ns() // 1000))
        time.sleep(0.3)
    return spans


def samples(site: Site, since_us: int = 0) -> list[tuple[int, int]]:
    """(asked first, answered) of every withdrawal of social services since a moment."""
    asked: dict[str, int] = {}
    found: list[tuple[int, int]] = []
    for fact in site.facts("social"):
        if fact.get("do") == "withdraw" and fact["what"] == "asked":
            asked.setdefault(fact["call"], fact["at"])
        if fact.get("do") == "withdraw" and fact["what"] == "answered" and fact["call"] in asked:
            found.append((asked.pop(fact["call"]), fact["at"]))
    return [each for each in found if each[0] >= since_us]


def measured(site: Site, wanted: int) -> dict[str, list[float]]:
    """Milliseconds, ascending: while all nodes run, then while the deciding one is paused."""
    load = Withdrawing(site)
    load.start()
    node = deciding(site)
    site.away_from(node)
    time.sleep(3)
    began = time.monotonic_ns() // 1000
    awaited(lambda: len(samples(site, began)) >= wanted, wanted * 3.0)
    running = samples(site, began)
    began = time.monotonic_ns() // 1000

    def met() -> list[tuple[int, int]]:
        return [(a, b) for a, b in samples(site, began)]

    end = time.monotonic() + wanted * 6.0
    spans = paused(site, node, lambda: len(met()) >= 2 * wanted or time.monotonic() > end)
    during = [(a, b) for a, b in met() if any(a < after and b > before for before, after in spans)]
    load.stop()
    print(f"{len(spans)} pauses, {len(during)} withdrawals during them", file=sys.stderr)
    return {RUNNING: sorted((b - a) / 1000 for a, b in running), PAUSED: sorted((b - a) / 1000 for a, b in during)}


def kept(taken: dict[str, list[float]], about: dict[str, Any], into: Path) -> None:
    """The figures as JSON, and the plot: milliseconds by share of withdrawals."""
    into.mkdir(parents=True, exist_ok=True)
    (into / f"{NAME}.json").write_text(json.dumps({**about, "ms": taken}, indent=1) + "\n", encoding="utf-8")
    series = {
        f"{name} ({len(ms)})": [(100.0 * (place + 1) / len(ms), value) for place, value in enumerate(ms)]
        for name, ms in taken.items()
        if ms
    }  # fmt: skip
    made_on = about["machine"]
    note = f"{made_on['cpu']}, {made_on['cores']} cores; commit {about['commit']}; {about['command']}"
    lines(
        into / f"{NAME}.svg",
        title="A withdrawal in force everywhere, three nodes",
        x="per cent of withdrawals",
        y="ms from the call to its answer",
        series=series,
        goal=("goal: 99 % within 1 s", 1000.0),
        note=note,
    )


def main(wanted: int, stream: str, into: Path) -> None:
    """Set up, measure, write."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # whatever was started is stopped then too
    folder = Path(tempfile.mkdtemp(prefix="handslag-withdrawal-")) / "run"
    with started("postgresql", stream, full_disk=False) as engines:
        with Site(folder, 7, engines, 3, lambda line: print(line, file=sys.stderr)) as site:
            site.set_up()
            taken = measured(site, wanted)
        about = {"engines": engines.names, "machine": {**machine(), "load": os.getloadavg()[1]}, "commit": commit(),
                 "command": f"python -m tests.bench.withdrawal_nodes --samples {wanted} --stream {stream}",
                 "date": datetime.now(UTC).date().isoformat()}  # fmt: skip
    kept(taken, about, into)
    for name, ms in taken.items():
        if ms:
            tell(f"withdrawal.nodes.{'paused' if name == PAUSED else 'running'}.p50", quantile(ms, 0.5), "ms",
                 samples=len(ms))  # fmt: skip
            tell(f"withdrawal.nodes.{'paused' if name == PAUSED else 'running'}.p99", quantile(ms, 0.99), "ms",
                 samples=len(ms), slowest=ms[-1])  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=150)
    parser.add_argument("--stream", choices=("embedded", "kafka"), default="kafka")
    parser.add_argument("--into", type=Path, default=Path("docs/plots"))
    chosen = parser.parse_args()
    main(chosen.samples, chosen.stream, chosen.into)
