"""The folder adapter: an agency system drops JSON files into `in/` and finds answers in `out/` and `receipts/`.

Nothing is lost and nothing given twice, also when the process dies between any two lines:
 - a file is removed after the transaction that took it is durable; a mark of the file in that transaction tells a
   file that was taken and not yet removed from a new one;
 - an output file is written under a hidden name, then the spool notes that it was given, then it gets its name by a
   rename. A hidden file found at start is named if the spool says it was given, and removed if not.
"""

from __future__ import annotations

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
        taken = 0
        for path in sorted(self._in.glob("*.json")):
            if path.name.startswith(".") or path.name.endswith(_ERROR):
                continue
            try:
                # A link is not followed, and a pipe would keep the whole connector waiting for its writer.
                if stat.S_ISREG(path.lstat().st_mode):
                    taken += self._take(path)
            except OSError:
                continue  # moved away under our hands
        return taken

    def _take(self, path: Path) -> bool:
        found = path.stat()
        look = (found.st_size, found.st_mtime_ns)
        steady = self._looked.get(path.name) == look
        error_file = path.with_name(path.name + _ERROR)
        if error_file.exists() and error_file.stat().st_mtime_ns >= found.st_mtime_ns:
            return False  # refused already; a corrected file is newer
        self._looked[path.name] = look
        if found.st_size > INPUT_BYTES:
            self._refuse(path, HandslagError("HS-TOO-LARGE", limit=INPUT_BYTES))
            return False
        data = path.read_bytes()
        # A file's name is bytes that need not be text.
        named = os.fsencode(path.name) + f"\x00{look[1]}\x00".encode()
        mark = self._ctx.spool.store.key.handle("intake", named + data)
        if not self._ctx.spool.commands.taken(mark) and not self._submit(path, data, mark, steady=steady):
            return False
        path.unlink()
        files.sync_folder(self._in)
        error_file.unlink(missing_ok=True)
        self._looked.pop(path.name, None)
        # Only now that the removal is durable can the mark go: the same words may be dropped again tomorrow.
        self._ctx.spool.commands.forget(mark)
        return True

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
        given = 0
        for item in self._ctx.spool.incoming.to_write():
            # A connector that caught the broker lying gives out no content any more, only what says so.
            if item.folder == "receipts" or not self._ctx.witness.stopped:
                self._give(item)
                given += 1
        return given

    def _give(self, item: OutboxItem) -> None:
        # INVARIANT: test_an_output_file_is_given_once
        folder = self._to[item.folder]
        hidden = folder / f".{item.name}.json"
        data = json.dumps(item.value, ensure_ascii=False, indent=1).encode() + b"\n"
        files.write_atomic(hidden, data)
        self._ctx.spool.incoming.written(item)
        files.rename(hidden, folder / f"{item.name}.json")


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
