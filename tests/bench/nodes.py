"""Events per second end to end with 1, 2 and 4 node processes on PostgreSQL and Kafka, all on this machine.

    python -m tests.bench.nodes [--counts 1 2 4] [--events N] [--stream embedded|kafka]

As `tests.bench.end_to_end` by the public client, with a broker of several nodes: each connector knows all of them.
Beside the rate: CPU an event over all nodes, and where the sessions of the PostgreSQL server spent their time. Nodes,
servers and connectors share the cores of one machine, so what this shows is the price of a further node there; what a
further machine brings needs a further machine.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deploy.kafka_local import Cluster
from deploy.postgres_local import LocalPostgres
from tests.bench.end_to_end import Bench, by_client, introduced
from tests.bench.figures import cpu_seconds, tell
from tests.bench.waits import Waits
from tests.nodes.conftest import SeveralNodes
from tests.stream.conftest import create


class Scaled(SeveralNodes, Bench):
    """The bench's processes with several nodes as the broker."""

    def cpu(self) -> dict[str, float]:
        """CPU seconds by process, nodes included."""
        nodes = {f"node{number}": cpu_seconds(one.pid) for number, one in self.nodes.processes.items()}
        return {**super().cpu(), **nodes}


@contextlib.contextmanager
def streams(engine: str, folder: Path) -> Iterator[Cluster | None]:
    """A Kafka server where one is asked for."""
    if engine == "embedded":
        yield None
        return
    with Cluster(folder / "kafka") as cluster:
        yield cluster


def measure(folder: Path, count: int, events: int, postgres: LocalPostgres, kafka: Cluster | None) -> None:
    """One broker of `count` nodes from an empty folder, `events` events through it."""
    settings = postgres.create(f"nodes{count}")
    play = Scaled(folder / "site", introduced(folder), settings, count)
    if kafka is not None:
        topic = f"nodes.{count}"
        asyncio.run(create(kafka.bootstrap, topic))
        play.stream = {"engine": "kafka", "bootstrap": list(kafka.bootstrap), "topic": topic,
                       "transit_key_file": "transit.key"}  # fmt: skip
    waits = Waits(settings)
    with play:
        play.set_up()
        play.run_steps()
        with waits:
            seconds, cpu, _facts = by_client(play, events)
    facts: dict[str, Any] = {"nodes": count, "events": events, "stream": "embedded" if kafka is None else "kafka"}
    tell("nodes.rate", round(events / seconds, 1), "events/s", **facts)
    spent = sum(used for name, used in cpu.items() if name.startswith("node"))
    tell("nodes.cpu", round(spent / events * 1e6), "us/event", **facts)
    tell("nodes.waits", waits.busy(), "busy sessions", shares=waits.shares(), **facts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--events", type=int, default=500)
    parser.add_argument("--stream", choices=["embedded", "kafka"], default="kafka")
    chosen = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as scratch,
        LocalPostgres.temporary() as postgres,
        streams(chosen.stream, Path(scratch)) as kafka,
    ):
        for count in chosen.counts:
            print(f"{count} nodes", file=sys.stderr, flush=True)
            measure(Path(scratch) / f"of{count}", count, chosen.events, postgres, kafka)


if __name__ == "__main__":
    main()
