"""A copy of a broker while it runs: store, wrapped keys, anchor and admissions, checked after writing.

    broker.db      the store as of one moment (SQLite online backup inside one read transaction)
    keys.db        seat keys, wrapped under the root key, copied *after* the store: a key is durable before its use,
                   so every entry of the copy has its key in it
    anchor*        the anchors as they stood
    admissions/, acts/, trust-signatures.json    as they stood, copied after the store
    manifest.json  what is here with SHA-256, the tree head of the copy and its newest signed checkpoint

The root key, the log's key, TLS keys and the configuration are not in it and belong on another medium: with the root
key beside it this copy would tell everything that the broker can read.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Any

from audit.note import Verifier
from audit.report import Report
from audit.trailfile import TrailFile
from audit.verify import verify
from broker import actfiles, admissions, keyfiles, trustdesk
from broker.keyfiles import write_atomic
from broker.settings import BrokerSettings
from broker.store import copies
from broker.store.cipher import ColumnCipher
from broker.store.keys import columns_key
from broker.store.transfer import to_files
from schemas.errors import HandslagError

FORMAT = "handslag broker backup 1"
MANIFEST = "manifest.json"
_KEYS = frozenset({"HS-KEYS-EXPOSED", "HS-KEYS-INCOMPLETE", "HS-KEYS-UNREADABLE"})
_STORES = ("broker.db", "keys.db")
_FOLDERS = (admissions.FOLDER, actfiles.FOLDER)  # after the store: acts that it has are in these files
_KEPT = frozenset({".json", ".toml", ".act"})


@dataclass(slots=True)
class Progress:
    """Pages of the store copied so far and in all; written by one thread, read by another."""

    done: int = 0
    total: int = 0

    def __call__(self, remaining: int, total: int) -> None:
        """Take what SQLite tells after each step."""
        self.done, self.total = total - remaining, total


def write(settings: BrokerSettings, target: Path, progress: Callable[[int, int], None]) -> dict[str, Any]:
    """`copy` and `finish`; for a broker that does not run."""
    copy(settings, target, progress)
    return finish(settings, target)


def copy(settings: BrokerSettings, target: Path, progress: Callable[[int, int], None]) -> None:
    """Copy the data folder beside `target`, which must not exist and gets its name only from `finish`.

    Blocks for as long as the disk takes; writers of the store never wait for it. Raises HS-COPY-EXISTS,
    HS-COPY-FAILED: then nothing is left of it.
    """
    part = _part(target)
    if target.exists():
        raise HandslagError("HS-COPY-EXISTS")
    with _failing(part):
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(mode=0o700, parents=True)
        # INVARIANT: test_every_entry_of_a_copy_has_its_key_in_it
        if settings.store.engine == "postgresql":
            to_files(settings.store, part / "broker.db", part / "keys.db", lambda _table, rows: progress(0, rows))
        else:
            copies.copy_file(settings.database, part / "broker.db", progress)
            copies.copy_file(settings.data_dir / "keys.db", part / "keys.db", lambda _left, _total: None)
        for path in sorted(settings.data_dir.glob("anchor*")):
            if path.suffix not in {".lock", ".new"}:
                _copy_file(path, part / path.name)
        for name in _FOLDERS:
            if (settings.data_dir / name).is_dir():
                (part / name).mkdir(mode=0o700)
                for path in sorted((settings.data_dir / name).iterdir()):
                    if path.suffix in _KEPT:
                        _copy_file(path, part / name / path.name)
        if (settings.data_dir / trustdesk.FILE).is_file():
            _copy_file(settings.data_dir / trustdesk.FILE, part / trustdesk.FILE)


def finish(settings: BrokerSettings, target: Path) -> dict[str, Any]:
    """Verify what `copy` wrote, in whatever process, and give it its name; returns its manifest.

    Raises HS-COPY-INVALID (`part`) when it does not verify, HS-COPY-FAILED: then nothing is left of it.
    """
    part = _part(target)
    with _failing(part):
        manifest = _manifest(settings, part, checked(settings, part))
        write_atomic(part / MANIFEST, json.dumps(manifest, indent=1).encode())
        part.replace(target)
    return manifest


def _part(target: Path) -> Path:
    return target.with_name(f".{target.name}.part")


@contextmanager
def _failing(part: Path) -> Iterator[None]:
    """Whatever goes wrong, nothing half is left, and a fault of the disk has a code."""
    try:
        yield
    except OSError:
        shutil.rmtree(part, ignore_errors=True)
        raise HandslagError("HS-COPY-FAILED") from None
    except HandslagError:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _copy_file(source: Path, target: Path) -> None:
    keyfiles.write_new(target, source.read_bytes(), private=True)


def checked(settings: BrokerSettings, folder: Path) -> Report:
    """Open both stores of a copy, let SQLite look through them, and verify the whole trail against the log's key.

    Raises HS-COPY-INVALID with `part` = store, keys, or the first check of the verifier that failed, and what the keys
    raise when the root key in place is not the one of the copy.
    """
    for name, what in zip(_STORES, ("store", "keys"), strict=True):
        if not copies.sound(folder / name):
            raise HandslagError("HS-COPY-INVALID", part=what)
    public = keyfiles.log_key(settings.log_key_file).public_key().public_bytes_raw()
    try:
        with _trail(settings, folder) as trail:
            report = verify(trail, origin=settings.origin, log_keys=[Verifier(settings.origin, public)])
    except HandslagError as error:
        if error.code in _KEYS:  # the copy may be whole: the key in place does not belong to it
            raise
        raise HandslagError("HS-COPY-INVALID", part="trail") from None
    first = report.first()
    if first is not None:
        check = first.check
        raise HandslagError("HS-COPY-INVALID", part=check)
    return report


def _trail(settings: BrokerSettings, folder: Path) -> TrailFile:
    """The trail as it lies sealed in a copy, opened with the column key of the copy, if it has one."""
    return TrailFile(
        folder / "broker.db", lambda: ColumnCipher(columns_key(folder / "keys.db", settings.root_key_file))
    )


def _manifest(settings: BrokerSettings, folder: Path, report: Report) -> dict[str, Any]:
    with _trail(settings, folder) as trail:
        head = trail.head() or (0, b"")
        notes = sorted(trail.checkpoints())
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                digest = file_digest(file, "sha256").hexdigest()
            files[path.relative_to(folder).as_posix()] = {"bytes": path.stat().st_size, "sha256": digest}
    return {
        "format": FORMAT,
        "at_us": time.time_ns() // 1000,
        "origin": settings.origin,
        "size": head[0],
        "root": head[1].hex(),
        "entries": report.entries,
        "checkpoint": notes[-1][1] if notes else None,
        "files": files,
        "not_here": ["root key", "log key", "TLS keys", "configuration", "supervisor's private key"],
    }


def read_manifest(folder: Path, origin: str) -> dict[str, Any]:
    """The manifest of a copy whose files are all there as they were written.

    Raises HS-COPY-INVALID with `part` = manifest, origin or files.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        files = {str(name): str(one["sha256"]) for name, one in manifest["files"].items()}
        known = manifest["format"] == FORMAT
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise HandslagError("HS-COPY-INVALID", part="manifest") from None
    if not known:
        raise HandslagError("HS-COPY-INVALID", part="manifest")
    if manifest.get("origin") != origin:
        raise HandslagError("HS-COPY-INVALID", part="origin")
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {MANIFEST}
    if there != files.keys():
        raise HandslagError("HS-COPY-INVALID", part="files")
    for name, digest in files.items():
        try:
            with (folder / name).open("rb") as file:
                same = file_digest(file, "sha256").hexdigest() == digest
        except OSError:
            same = False
        if not same:
            raise HandslagError("HS-COPY-INVALID", part="files")
    assert isinstance(manifest, dict)
    return manifest
