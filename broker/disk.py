"""Room on the disk that is kept for withdrawals, blocks, corrections and acute safety events.

Below `reserve` free bytes nothing ordinary is taken. Whoever else writes on the disk does not know that bound, so a
ballast file holds part of the room: it is deleted when nearly nothing is left, and made again when there is plenty.
SQLite needs the room twice, in its write-ahead log and then in the file; the default reserve holds some 20,000
withdrawals with their entries.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

RESERVE = 256 * 1024 * 1024
BALLAST = 32 * 1024 * 1024
NAME = "ballast"
_LAST = 4  # the ballast goes when a quarter of the reserve is left


def free_bytes(folder: Path) -> int:
    """What this process may still write on the disk of `folder` (statvfs)."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


class DiskRoom:
    """The disk below one folder. `told` gets (free bytes, whether only reserved kinds are taken) at every look."""

    def __init__(
        self,
        folder: Path,
        reserve: int,
        ballast: int,
        told: Callable[[int, bool], None] = lambda _free, _low: None,
    ) -> None:
        self._folder = folder
        self._reserve = reserve
        self._size = ballast
        self._ballast = folder / NAME
        self._told = told

    @property
    def low(self) -> bool:
        """Whether only what has reserved room may be written."""
        # INVARIANT: test_what_must_get_in_gets_in_on_a_full_disk
        return free_bytes(self._folder) < self._reserve

    def look(self) -> bool:
        """Let the ballast go or make it again, and tell; returns `low`. Blocks on the disk for a moment."""
        if self._ballast.exists() and self._ballast.stat().st_size != self._size:  # the setting was changed
            self._ballast.unlink(missing_ok=True)
        free = free_bytes(self._folder)
        if free < self._reserve // _LAST:
            self._ballast.unlink(missing_ok=True)
        elif self._size and free > self._reserve + 2 * self._size and not self._ballast.exists():
            self._fill()
        low = self.low
        self._told(free_bytes(self._folder), low)
        return low

    def _fill(self) -> None:
        draft = self._folder / f".{NAME}"
        try:
            with draft.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, self._size)
            draft.replace(self._ballast)
        except OSError:  # no room after all, or a file system without the call: the bound alone holds
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
