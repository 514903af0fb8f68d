"""What memory and disk a run takes as it goes on: a run of an hour must not need ten times what ten minutes need."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.figures import resident_bytes
from tests.kills.load import REFS

if TYPE_CHECKING:
    from tests.chaos.site import Site

_EACH_S = 10.0
_ROWS = 6
_MB = 1024 * 1024
MEMORY = ("memory of the largest node", "memory of the largest connector")


class Growth:
    """Looks now and then; rows of (seconds since the first look, megabytes by what takes them)."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._began: float | None = None
        self._next = 0.0
        self._rows: list[tuple[float, dict[str, float]]] = []

    def look(self, *, now: bool = False) -> None:
        """Take a row when it is time for one, or now."""
        at = time.monotonic()
        if at < self._next and not now:
            return
        self._next = at + _EACH_S
        self._began = at if self._began is None else self._began
        self._rows.append((round(at - self._began, 1), self._taken()))

    def rows(self) -> list[tuple[float, dict[str, float]]]:
        """A few of the rows, evenly apart, the first and the last among them."""
        last = len(self._rows) - 1
        places = sorted({round(last * each / (_ROWS - 1)) for each in range(_ROWS)}) if last >= 0 else []
        return [self._rows[place] for place in places]

    def _taken(self) -> dict[str, float]:
        site = self._site
        taken = {
            MEMORY[0]: _memory([node.pid for node in site.nodes if node.running]),
            MEMORY[1]: _memory([pid for unit in REFS if (pid := site.world.pid(unit)) is not None]),
            "folders of the nodes": sum(_size(node.config.parent) for node in site.nodes),
            "folders of the connectors": sum(_size(site.world.play.config(unit).parent) for unit in REFS),
            "what the connectors wrote down": sum(_size(site.facts_of(unit).parent) for unit in ("social",)),
        }
        taken |= {name: _size(folder) for name, folder in site.engines.folders.items()}
        return {name: round(size / _MB, 1) for name, size in taken.items()}


def _memory(pids: list[int]) -> float:
    sizes = [0]
    for pid in pids:
        with contextlib.suppress(OSError):
            sizes.append(resident_bytes(pid))
    return max(sizes)


def _size(folder: Path) -> float:
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.stat().st_blocks * 512 if path.is_file() else 0
    return total
