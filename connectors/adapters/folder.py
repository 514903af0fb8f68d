"""The folder adapter: an agency system drops JSON files into `in/` and finds answers in `out/` and `receipts/`.

Nothing is lost and nothing given twice, also when the process dies between any two lines:
 - files are removed after the transaction that took them is durable; a mark of the file in that transaction tells a
   file that was taken and not yet removed from a new one;
 - output files are written under hidden names, then the spool notes that they were given, then they get their names
   by renames. A hidden file found at start is named if the spool says it was given, and removed if not.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from pathlib import Path

from connectors import commands, executor, files, reports
from connectors.context import Context
from connectors.spool import Spool
from connectors.spool.incoming import OutboxItem
from schemas import limits
from schemas.errors import HandslagError

INPUT_BYTES = 2 * limits.SUBMISSION  # JSON of the largest event; read whole
_ERROR = ".error.json"
_TOGETHER = 100  # files taken in one transaction; other tasks wait that long


class Folder:
    """One connector's three folders, each 0700."""

    def __init__(self, root: Path, ctx: Context) -> None:
        """Make or check the folders; raises `HS-FOLDER-UNSAFE` for one that others may use."""
        self._ctx = ctx
        files.private_folder(root, "folder")
        self._in = files.private_folder(root / "in", "folder in")
        self._to = {name: files.private_folder(root / name, f"folder {name}") for name in ("out", "receipts")}
        self._looked: dict[str, tuple[int, int]] = {}
        finish_renames(self._to, ctx.spool)

    def take_in(self) -> int:
        """Work off what lies in `in/`, in order of name; returns how many files were taken."""
        marks: dict[Path, bytes] = {}
        with self._ctx.spool.transaction():
            for path in sorted(self._in.glob("*.json")):
                if path.name.startswith(".") or path.name.endswith(_ERROR):
                    continue
                if len(marks) == _TOGETHER:
                    break
                with contextlib.suppress(OSError):  # moved away under our hands
                    # A link is not followed, and a pipe would keep the whole connector waiting for its writer.
                    mark = self._take(path) if stat.S_ISREG(path.lstat().st_mode) else None
                    if mark is not None:
                        marks[path] = mark
        self._remove(marks)
        return len(marks)

    def _take(self, path: Path) -> bytes | None:
        """Accept one file; returns its mark when it may be removed."""
        found = path.stat()
        look = (found.st_size, found.st_mtime_ns)
        steady = self._looked.get(path.name) == look
        error_file = path.with_name(path.name + _ERROR)
        if error_file.exists() and error_file.stat().st_mtime_ns >= found.st_mtime_ns:
            return None  # refused already; a corrected file is newer
        self._looked[path.name] = look
        if found.st_size > INPUT_BYTES:
            self._refuse(path, HandslagError("HS-TOO-LARGE", limit=INPUT_BYTES))
            return None
        data = path.read_bytes()
        # A file's name is bytes that need not be text.
        named = os.fsencode(path.name) + f"\x00{look[1]}\x00".encode()
        mark = self._ctx.spool.store.key.handle("intake", named + data)
        if not self._ctx.spool.commands.taken(mark) and not self._submit(path, data, mark, steady=steady):
            return None
        return mark

    def _remove(self, marks: dict[Path, bytes]) -> None:
        """Remove files whose transaction is durable."""
        if not marks:
            return
        for path in marks:
            path.unlink(missing_ok=True)
            path.with_name(path.name + _ERROR).unlink(missing_ok=True)
            self._looked.pop(path.name, None)
        files.sync_folder(self._in)
        # Only now that the removal is durable can the marks go: the same words may be dropped again tomorrow.
        with self._ctx.spool.transaction():
            for mark in marks.values():
                self._ctx.spool.commands.forget(mark)

    def _submit(self, path: Path, data: bytes, mark: bytes, *, steady: bool) -> bool:
        if not steady and not _whole(data):
            return False  # perhaps half written: look again
        try:
            command = commands.read(data)
            if executor.must_wait(self._ctx, command):
                return False
            executor.submit(self._ctx, command, mark)
        except HandslagError as error:
            if error.entry.retriable:
                return False
            self._refuse(path, error)
            return False
        return True

    def _refuse(self, path: Path, error: HandslagError) -> None:
        """Say beside the file what is wrong with it; the file stays with its owner."""
        value = json.dumps(reports.error_value(error), ensure_ascii=False, indent=1).encode() + b"\n"
        files.write_atomic(path.with_name(path.name + _ERROR), value)

    def give_out(self) -> int:
        """Write what waits for the agency's system; returns how many files got their names."""
        # A connector that caught the broker lying gives out no content any more, only what says so.
        stopped = self._ctx.witness.stopped
        waiting = self._ctx.spool.incoming.to_write()
        items = [item for item in waiting if item.folder == "receipts" or not stopped]
        self._give(items)
        return len(items)

    def _give(self, items: list[OutboxItem]) -> None:
        # INVARIANT: test_an_output_file_is_given_once
        hidden = {item.number: self._to[item.folder] / f".{item.name}.json" for item in items}
        files.write_all({hidden[item.number]: _shown(item) for item in items})
        with self._ctx.spool.transaction():
            for item in items:
                self._ctx.spool.incoming.written(item)
        files.rename_all({hidden[item.number]: self._to[item.folder] / f"{item.name}.json" for item in items})


def _shown(item: OutboxItem) -> bytes:
    return json.dumps(item.value, ensure_ascii=False, indent=1).encode() + b"\n"


def finish_renames(folders: dict[str, Path], spool: Spool) -> None:
    """Name or remove the hidden files that a killed process left."""
    for folder in folders.values():
        for hidden in folder.glob(".*.json"):
            name = hidden.name.removeprefix(".").removesuffix(".json")
            if spool.incoming.is_written(name):
                files.rename(hidden, folder / f"{name}.json")
            else:
                hidden.unlink(missing_ok=True)
        for draft in folder.glob(".*.part"):
            draft.unlink(missing_ok=True)


def _whole(data: bytes) -> bool:
    """Whether the bytes are complete JSON: an object that a writer has not finished is not."""
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True
