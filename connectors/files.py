"""Files of the connector: written whole or not at all, readable by its own account only."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from schemas.errors import HandslagError

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def checked_private(path: Path, what: str) -> None:
    """Refuse a file or folder that the group or others may use; raises `HS-FOLDER-UNSAFE` naming `what`.

    Where the system has no POSIX permissions (Windows) the folder's access list is the administrator's matter and
    nothing is checked.
    """
    # INVARIANT: test_a_folder_open_to_others_is_refused
    if os.name == "posix" and path.stat().st_mode & _OTHERS:
        raise HandslagError("HS-FOLDER-UNSAFE", field=what)


def private_folder(path: Path, what: str) -> Path:
    """Make the folder with mode 0700 when it is missing, refuse it when it is wider; returns it."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        checked_private(path, what)
    except OSError:
        raise HandslagError("HS-CONFIG-INVALID", field=what) from None
    return path


def read_secret(path: Path) -> bytes:
    """Bytes of a key file; raises `HS-KEY-FILE` when it is missing, `HS-FOLDER-UNSAFE` when it is wider than 0600."""
    try:
        checked_private(path, "key file")
        return path.read_bytes()
    except OSError:
        raise HandslagError("HS-KEY-FILE") from None


def write_secret(path: Path, data: bytes) -> None:
    """Write a key file that does not exist yet, mode 0600, on disk before this returns; raises `HS-KEY-FILE`."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(path.parent)
    except OSError:
        raise HandslagError("HS-KEY-FILE") from None


def create_private(path: Path) -> BinaryIO:
    """Open a file that does not exist yet for writing, mode 0600; raises OSError."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def write_new(path: Path, data: bytes) -> None:
    """Write a file that was asked for, mode 0600, whole or not at all; raises `HS-FILE-EXISTS`, `HS-FILE-UNWRITTEN`."""
    write_new_all({path: data})


def write_new_all(contents: Mapping[Path, bytes]) -> None:
    """`write_new` for several files; when one cannot be written none stays."""
    done: list[Path] = []
    try:
        for path, data in contents.items():
            with create_private(path) as file:
                done.append(path)
                file.write(data)
                flush(file)
        for folder in {path.parent for path in contents}:
            sync_folder(folder)
    except OSError as error:
        for path in done:
            path.unlink(missing_ok=True)
        if isinstance(error, FileExistsError):
            raise HandslagError("HS-FILE-EXISTS") from None
        raise HandslagError("HS-FILE-UNWRITTEN") from None


def flush(file: BinaryIO) -> None:
    """Bring what was written to the disk; raises OSError."""
    file.flush()
    os.fsync(file.fileno())


def write_atomic(path: Path, data: bytes) -> None:
    """Put `data` at `path` in one rename, mode 0600, durable when this returns; replaces what stood there.

    Raises `HS-SPOOL-FAILED` when the disk refuses.
    """
    write_all({path: data})


def write_all(contents: Mapping[Path, bytes]) -> None:
    """`write_atomic` for several files: each whole or not at all, all durable when this returns."""
    try:
        for path, data in contents.items():
            draft = path.with_name(f".{path.name}.part")
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        for folder in {path.parent for path in contents}:
            sync_folder(folder)
    except OSError:
        raise HandslagError("HS-SPOOL-FAILED") from None


def rename(source: Path, target: Path) -> None:
    """Give a file its name, durably; raises `HS-SPOOL-FAILED`."""
    rename_all({source: target})


def rename_all(names: Mapping[Path, Path]) -> None:
    """Give files their names, durable when this returns; raises `HS-SPOOL-FAILED`."""
    try:
        for source, target in names.items():
            source.replace(target)
        for folder in {target.parent for target in names.values()}:
            sync_folder(folder)
    except OSError:
        raise HandslagError("HS-SPOOL-FAILED") from None


def sync_folder(folder: Path) -> None:
    """Make a rename or removal durable; Windows cannot open a folder and needs no such call."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
