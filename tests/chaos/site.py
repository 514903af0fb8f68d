"""Everything a chaos run consists of: engines, nodes behind proxies, three connectors that write down what they record.

Set up by the documented commands (tests/kills/world.py does that for both), then the connectors are pointed at the
proxies and the nodes started by their launcher.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deploy.processes import free_ports
from tests.chaos.engines import Engines
from tests.chaos.growth import Growth
from tests.chaos.history import Fact, History, merged
from tests.chaos.nodes import LAUNCH, Node
from tests.chaos.proxy import ChaosProxy
from tests.kills.load import REFS, ROLES, Load
from tests.kills.world import World

ROOT = Path(__file__).resolve().parents[2]


class Site:
    """Use as a context manager: whatever was started is stopped."""

    def __init__(
        self,
        folder: Path,
        seed: int,
        engines: Engines,
        nodes: int,
        say: Callable[[str], None],
        *,
        proxied: bool = True,
    ) -> None:
        """Without `proxied` connectors talk to the nodes themselves: proxies in this process take time of their own."""
        self.folder, self.seed, self.engines, self.say = folder, seed, engines, say
        self._proxied = proxied
        self.world = World(folder, say, self._launched)
        self.count = nodes
        self.nodes: list[Node] = []
        self.proxies: list[ChaosProxy] = []
        self.growth = Growth(self)
        self._facts = folder.with_name(f"{folder.name}-facts")
        self._control = folder.with_name(f"{folder.name}-control")

    def __enter__(self) -> Site:
        self._facts.mkdir(parents=True)
        self._control.mkdir()
        return self

    def __exit__(self, *_: object) -> None:
        for node in self.nodes:
            node.stop()
        self.world.__exit__()
        for proxy in self.proxies:
            proxy.close()

    def _launched(self, name: str, _armed: tuple[str, int]) -> list[str]:
        if name == "broker":
            return [sys.executable, str(ROOT / "handslag.py")]
        return [sys.executable, str(LAUNCH), "connector", name, str(self._facts / f"{name}.jsonl")]

    def set_up(self) -> None:
        """Engines, one node, three connectors, a case with three seats; then the other nodes and the proxies."""
        self.world.play.store, self.world.play.stream = self.engines.store, self.engines.stream
        self.world.set_up()
        self.world.stop()
        configs = [self.world.play.broker, *(self._further(number) for number in range(2, self.count + 1))]
        for number, config in enumerate(configs, start=1):
            node = Node(f"node{number}", config, self._control, self.folder / "logs")
            self.nodes.append(node)
            if self._proxied:
                self.proxies.append(ChaosProxy(lambda node=node: node.address, self.seed * 100 + number))  # type: ignore[misc]
        for number, unit in enumerate(REFS):
            self._point(self.world.play.config(unit), number)
        for node in self.nodes:
            node.start()
        for unit in REFS:
            self.world.start(unit)

    def _point(self, config: Path, first: int) -> None:
        """Make a connector talk to the nodes, through their proxies if there are any, each to another one first."""
        ports = [proxy.port for proxy in self.proxies] or [node.address[1] for node in self.nodes]
        urls = [f"https://127.0.0.1:{port}" for port in ports]
        urls = urls[first % len(urls) :] + urls[: first % len(urls)]
        text = re.sub(r"(?m)^broker_url = .*$", f'broker_url = "{urls[0]}"', config.read_text(encoding="utf-8"))
        text = re.sub(r"(?m)^further_urls = .*\n", "", text)
        config.write_text(f"further_urls = {json.dumps(urls[1:])}\n{text}", encoding="utf-8")

    def facts_of(self, unit: str) -> Path:
        """The file in which a connector's recorder appends."""
        return self._facts / f"{unit}.jsonl"

    def facts(self, unit: str) -> list[Fact]:
        """What a connector has written down so far."""
        lines = self.facts_of(unit).read_text(encoding="utf-8").split("\n")
        return [json.loads(line) for line in lines[:-1]]

    def _further(self, number: int) -> Path:
        """One more node's folder, by the command an operator uses."""
        first = self.world.play.broker
        folder = first.parent.with_name(f"node{number}")
        gateway, operations = free_ports(2)
        words = ("--host", "127.0.0.1", "--listen", f"127.0.0.1:{gateway}", "--operations", f"127.0.0.1:{operations}")
        self.world.play.handslag("init", "--dir", folder, "--join", first, *words)
        return folder / first.name

    def load(self, seconds: float, going: Callable[[], bool] = lambda: True, pace_s: float = 0.03) -> None:
        """Drop files for so long, drawn by the seed, while every process that should run does."""
        load, end = Load(self.seed), time.monotonic() + seconds
        self.world.takes = True
        while time.monotonic() < end and going():
            self.growth.look()
            self.world.mind(None)
            for node in self.nodes:
                node.watch()
            self.world.feed(load)
            time.sleep(pace_s)

    def quiet(self) -> dict[str, dict[str, int]]:
        """No more trouble: wait until nothing is under way any more; returns what is left per unit (nothing)."""
        for proxy in self.proxies:
            proxy.calm()
        for node in self.nodes:
            node.clock(0)
            node.disarm()
            if not node.running:
                node.start()
        self.world.settle()
        return {unit: self.world.under_way(unit) for unit in REFS}

    def history(self, about: dict[str, Any]) -> History:
        """Stop the connectors and read what they wrote, closed by what each still had under way."""
        left = {unit: self.world.under_way(unit) for unit in REFS}
        self.world.stop()
        history = merged(ROLES, [self._facts / f"{unit}.jsonl" for unit in REFS], about)
        at = time.monotonic_ns() // 1000
        for unit in REFS:
            n = sum(1 for f in history.facts if f["unit"] == unit) + 1
            history.facts.append({"unit": unit, "n": n, "at": at, "wall": time.time_ns() // 1000, "what": "quiet",
                                  "left": left[unit]})  # fmt: skip
        return history
