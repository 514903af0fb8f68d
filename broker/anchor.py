"""The anchor: the highest head that was ever about to be signed, in a file that no restore of the Store touches.

A Store put back from a backup is older than its anchor, and that is how it is noticed. The file holds the head as a
checkpoint body (C2SP tlog-checkpoint, unsigned), belongs to its owner alone (0600) and is replaced as a whole; beside
it lies an empty `.lock`, so that several processes take turns. Put it on another disk than the Store, outside its
backups.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from audit.checkpoint import Checkpoint
from audit.merkle import EMPTY_ROOT
from schemas.errors import HandslagError

_MAX_BYTES = 4096


class AnchorMoved(Exception):  # noqa: N818 - an answer, not a fault: read the anchor again
    """The anchor no longer states what was read: nothing was written."""


class Anchor:
    """The anchor file of one log. Safe to use from several threads and processes; every verb blocks on the disk."""

    def __init__(self, path: Path, origin: str) -> None:
        """Take what `open` checked."""
        self.path = path
        self.origin = origin
        self._threads = threading.Lock()

    @classmethod
    def open(cls, path: Path, origin: str, *, store_size: int) -> Self:
        """Open the anchor of the log `origin`; make it for the empty tree only when the log has no leaves yet.

        `store_size` is the committed head's size. Raises HS-ANCHOR-MISSING (no file, but a log that is not empty) and
        HS-ANCHOR-INVALID with `check` = mode, file, format or origin.
        """
        # INVARIANT: test_a_lost_anchor_is_never_made_anew
        anchor = cls(path, origin)
        with anchor._alone():
            if not path.exists():
                if store_size:
                    raise HandslagError("HS-ANCHOR-MISSING")
                anchor._replace(Checkpoint(origin, 0, EMPTY_ROOT))
        anchor.read()
        return anchor

    @classmethod
    def begin(cls, path: Path, head: Checkpoint) -> Self:
        """The anchor of a log that goes on under a new origin from `head`; raises HS-ANCHOR-INVALID.

        One that lies there is of a try that was not recorded: the kept head is the same or it is nobody's.
        """
        anchor = cls(path, head.origin)
        with anchor._alone():
            anchor._replace(head)
        return anchor

    def read(self) -> Checkpoint:
        """The head that the file states; raises HS-ANCHOR-MISSING, HS-ANCHOR-INVALID."""
        try:
            with self.path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                data = file.read(_MAX_BYTES)
        except FileNotFoundError:
            raise HandslagError("HS-ANCHOR-MISSING") from None
        except OSError:
            raise HandslagError("HS-ANCHOR-INVALID", check="file") from None
        if mode & 0o077:
            raise HandslagError("HS-ANCHOR-INVALID", check="mode")
        try:
            head = Checkpoint.from_body(data.decode())
        except (UnicodeDecodeError, HandslagError):
            raise HandslagError("HS-ANCHOR-INVALID", check="format") from None
        if head.origin != self.origin:
            raise HandslagError("HS-ANCHOR-INVALID", check="origin")
        return head

    def advance(self, seen: Checkpoint, head: Checkpoint) -> None:
        """Compare-and-set: state `head` if the file still states `seen`; durable before this returns.

        Raises AnchorMoved when it states something else, HS-TRAIL-ROLLBACK (`check` = smaller or fork) when `head`
        would go back, HS-ANCHOR-MISSING, HS-ANCHOR-INVALID. That `seen` is a prefix of `head` is the caller's check.
        """
        # INVARIANT: test_the_anchor_never_goes_back
        with self._alone():
            if self.read() != seen:
                raise AnchorMoved
            if head.size < seen.size:
                raise HandslagError("HS-TRAIL-ROLLBACK", check="smaller")
            if head.size == seen.size and head.root != seen.root:
                raise HandslagError("HS-TRAIL-ROLLBACK", check="fork")
            if head != seen:
                self._replace(head)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the lock file; a lock on the anchor itself would be lost when the file is replaced."""
        with self._threads:
            try:
                lock = os.open(self.path.with_name(self.path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
            except OSError:
                raise HandslagError("HS-ANCHOR-INVALID", check="file") from None
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
            finally:
                os.close(lock)

    def _replace(self, head: Checkpoint) -> None:
        """Write beside, sync, rename over, sync the folder: after a crash the file is the old or the new one."""
        if head.origin != self.origin:
            raise HandslagError("HS-ANCHOR-INVALID", check="origin")
        fresh = self.path.with_name(self.path.name + ".new")
        try:
            with contextlib.suppress(FileNotFoundError):
                fresh.unlink()
            file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(file, "wb") as out:
                out.write(head.body().encode())
                out.flush()
                os.fsync(out.fileno())
            fresh.replace(self.path)
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError:
            raise HandslagError("HS-ANCHOR-INVALID", check="file") from None
