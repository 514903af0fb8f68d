"""The faults of a chaos run. Each does one thing to one part, asserts that it was done there, and puts it right again.

A fault returns what it saw, for the report; it raises FaultFailedError when what it did cannot be shown: a SIGSTOP
counts as "inside an open transaction" only when the node's trace says so, asked of the database driver at that instant,
and the kernel says that every thread stands still.
"""

from __future__ import annotations

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.launch import BEFORE, INSIDE, PLACES, UNANSWERED
from tests.chaos.nodes import Node, awaited
from tests.chaos.site import Site

Seen = dict[str, Any]
Fault = Callable[[Site, random.Random], Seen]
_EACH_S = 8.0  # for one node of several; the next one is tried after it
_REACHED_S = 20.0  # load passes every place within this time, or the fault says that it was not reached
_SETTLED_S = 10.0
_SERVES_S = 40.0
NOT_REACHED = "not reached"


class FaultFailedError(AssertionError):
    """A fault was not what it claims to be."""


def _node(site: Site, draw: random.Random) -> Node:
    return draw.choice(site.nodes)


def _at(node: Node, place: str, action: str, before: int | None = None, seconds: float = _REACHED_S) -> Seen | None:
    """Arm, wait until the trace says that the node is there; None when it did not pass the place in time.

    With `before`, the length of the trace then, it was armed already.
    """
    if before is None:
        before = len(node.trace())
        node.arm(place, action)

    def there() -> Seen | None:
        return next((line for line in node.trace()[before:] if line["what"] == action), None)

    seen: Seen | None = awaited(there, seconds)
    if seen is None and not node.disarm():
        seen = awaited(there, 1.0)
    return seen


def stopped_in(node: Node, place: str, before: int | None = None, seconds: float = _REACHED_S) -> Seen | None:
    """SIGSTOP at a place, shown; None when the node did not pass it. The caller continues it.

    With `before`, the length of the trace when it was, the node has been armed already.
    """
    line = _at(node, place, "stop", before, seconds)
    if line is None:
        return None
    if not awaited(node.stopped, 2.0):
        raise FaultFailedError(f"{node.name} was to stand still at {place}")
    if place in INSIDE and line["open"] is not True:
        raise FaultFailedError(f"{node.name} stopped at {place} without an open transaction")
    if place in UNANSWERED and not line["committed"]:
        raise FaultFailedError(f"{node.name} stopped at {place} and nothing was committed")
    return line


def _first_of(site: Site, draw: random.Random, tried: Callable[[Node], Seen | None]) -> tuple[Node, Seen | None]:
    """The nodes in a drawn order until one passes its place: which of them has the work, no fault can choose."""
    order = draw.sample(site.nodes, len(site.nodes))
    for node in order:
        line = tried(node)
        if line is not None:
            return node, line
    return order[0], None


def _stopped_at(site: Site, draw: random.Random, place: str) -> Seen:
    """SIGSTOP at a place; shown, held, continued, and what then became of the transaction."""
    node, line = _first_of(site, draw, lambda node: stopped_in(node, place, seconds=_EACH_S))
    if line is None:
        return {"node": node.name, "place": place, "what": NOT_REACHED}
    held = draw.uniform(0.3, 3.0)
    time.sleep(held)
    if node.trace()[-1] != line:
        raise FaultFailedError(f"{node.name} went on while it was to stand still")
    node.signal(signal.SIGCONT)

    def after() -> list[Seen]:
        return [one for one in node.trace() if one["at"] > line["at"] and one["pid"] == line["pid"]]

    def over() -> bool:
        return any(one["what"] not in {"stop", "continued"} or line["transaction"] is None for one in after())

    if not awaited(over, _SETTLED_S):
        raise FaultFailedError(f"{node.name} did not go on after {place}")
    return {"node": node.name, "place": place, "open": line["open"], "committed": line["committed"],
            "held_s": round(held, 2), "then": [one["what"] for one in after()]}  # fmt: skip


def stop_inside(site: Site, draw: random.Random) -> Seen:
    """SIGSTOP between BEGIN and COMMIT."""
    return _stopped_at(site, draw, draw.choice(sorted(INSIDE)))


def stop_unanswered(site: Site, draw: random.Random) -> Seen:
    """SIGSTOP between COMMIT and reply."""
    return _stopped_at(site, draw, draw.choice(sorted(UNANSWERED)))


def stop_before(site: Site, draw: random.Random) -> Seen:
    """SIGSTOP between deciding and BEGIN, or between preparing a hand-over and BEGIN."""
    return _stopped_at(site, draw, draw.choice(sorted(BEFORE)))


def kill_at_place(site: Site, draw: random.Random) -> Seen:
    """SIGKILL at a named place, then a start."""
    place = draw.choice(sorted(PLACES))

    def killed(node: Node) -> Seen | None:
        node.down_on_purpose = True
        line = _at(node, place, "kill", seconds=_EACH_S)
        node.down_on_purpose = line is not None
        return line

    node, line = _first_of(site, draw, killed)
    if line is None:
        return {"node": node.name, "place": place, "what": NOT_REACHED}
    awaited(lambda: not node.running, 5.0)
    time.sleep(draw.uniform(0, 2.0))
    node.start()
    return {"node": node.name, "place": place, "open": line["open"], "committed": line["committed"]}


def kill_anywhere(site: Site, draw: random.Random) -> Seen:
    """SIGKILL at any moment, then a start."""
    node = _node(site, draw)
    node.kill()
    away = draw.uniform(0, 3.0)
    time.sleep(away)
    node.start()
    return {"node": node.name, "away_s": round(away, 2)}


def rolling_restart(site: Site, draw: random.Random) -> Seen:
    """Every node in turn stopped as a service manager does, and started."""
    for node in draw.sample(site.nodes, len(site.nodes)):
        node.stop()
        node.start()
        if not awaited(lambda node=node: node.serves() or not node.running, _SERVES_S):  # type: ignore[misc]
            raise FaultFailedError(f"{node.name} does not serve after a restart")
    return {"nodes": len(site.nodes)}


def clock_step(site: Site, draw: random.Random) -> Seen:
    """A node's wall clock is wrong for a while, forward or back, and then right again at once."""
    node = _node(site, draw)
    wrong_s = draw.choice(site.engines.clock_steps)
    node.clock(int(wrong_s * 1e6))
    held = draw.uniform(1.0, 3.0)
    time.sleep(held)
    node.clock(0)
    return {"node": node.name, "wrong_s": wrong_s, "held_s": round(held, 2)}


def network_cut(site: Site, draw: random.Random) -> Seen:
    """Every open connection of connectors to one node is reset."""
    number = draw.randrange(len(site.proxies))
    site.proxies[number].cut_all()
    return {"node": site.nodes[number].name}


def network_bad(site: Site, draw: random.Random) -> Seen:
    """For some seconds connections to all nodes are cut, delayed, swallowed, repeated, as the seeds draw it."""
    before = _troubles(site)
    for proxy in site.proxies:
        proxy.calm(on=False)
        proxy.cut_all()
    time.sleep(draw.uniform(4.0, 8.0))
    for proxy in site.proxies:
        proxy.calm()
    return {"troubles": dict(_troubles(site) - before)}


def _troubles(site: Site) -> Counter[str]:
    """How often the proxies have done what to a connection."""
    return sum((Counter(proxy.happened) for proxy in site.proxies), Counter[str]())


FAULTS: dict[str, Fault] = {
    "stop before a transaction": stop_before,
    "stop inside a transaction": stop_inside,
    "stop between commit and reply": stop_unanswered,
    "kill at a place": kill_at_place,
    "kill anywhere": kill_anywhere,
    "rolling restart": rolling_restart,
    "clock step": clock_step,
    "network cut": network_cut,
    "network bad": network_bad,
}


@dataclass(slots=True)
class Faults:
    """Runs faults one after the other in a thread, in an order drawn by a seed, until told to stop.

    All of them in turn, or those named by `only`.
    """

    site: Site
    seed: int
    only: tuple[str, ...] = ()
    happened: list[Seen] = field(default_factory=list)
    error: BaseException | None = None
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._run, name="faults", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Wait for the fault that is under way, then end; raises what a fault raised."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        if self.error is not None:
            raise self.error

    def going(self) -> bool:
        """Whether no fault has failed."""
        return self.error is None

    def _run(self) -> None:
        draw, began = random.Random(f"faults {self.seed}"), time.monotonic()
        every = {**FAULTS, **self.site.engines.faults}
        every = {name: every[name] for name in self.only or every}
        while not self._over.is_set():
            for name in draw.sample(sorted(every), len(every)):
                if self._over.wait(draw.uniform(0.2, 2.0)):
                    return
                at_s = round(time.monotonic() - began, 2)
                try:
                    seen = every[name](self.site, draw)
                except BaseException as error:  # noqa: BLE001 - handed to the run, which raises it
                    self.error = error
                    return
                self.happened.append({"at_s": at_s, "fault": name, **seen})
                self.site.say(f"{at_s:7.2f} s  {name}: {seen}")
