"""Putting a copy back: into an empty data folder, verified, and marked so that the next start is in HOLD.

Whatever was recorded after the copy is not in it. So a restored store never releases anything by itself, also when
nobody knows of a newer checkpoint: that nobody does is no proof that there was none.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit.checkpoint import Checkpoint
from audit.continuation import number_of, open_part
from audit.note import Verifier
from audit.tiles import frontier
from broker import acts_back, backup, hold, keyfiles
from broker.actfiles import ActFiles
from broker.hold import Seen
from broker.recorder import Recorder
from broker.settings import BrokerSettings
from broker.store import copies
from broker.store.cipher import ColumnCipher
from broker.store.conversion import convert
from broker.store.keys import KeyVault
from broker.store.migrate import migrate
from broker.store.port import Rows
from schemas.errors import HandslagError
from schemas.identifiers import uuid7

_SEGMENT = 1


@dataclass(frozen=True, slots=True)
class Known:
    """What is known beyond the copy: signed notes, anchor files and the folder of administrative acts that survived."""

    notes: tuple[bytes, ...] = ()
    anchors: tuple[Path, ...] = ()
    acts: Path | None = None


def restore(settings: BrokerSettings, copy: Path, known: Known, told: Callable[[str], None]) -> dict[str, Any]:
    """Put `copy` into the data folder of `settings`, which must be missing or empty; returns what was kept and lost.

    Raises HS-COPY-EXISTS, HS-COPY-INVALID (`part` names what; `fork` when a newer checkpoint is of another
    history), HS-COPY-FAILED, and what the key file raises when the root key in place is not the one of the copy.
    Nothing is left in the data folder then.
    """
    folder = settings.data_dir
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise HandslagError("HS-COPY-EXISTS")
    manifest = backup.read_manifest(copy, settings.origin)
    told("files")
    part = folder.with_name(f".{folder.name}.restoring")
    try:
        shutil.rmtree(part, ignore_errors=True)
        _copied(copy, part)
        added = _acts(ActFiles(part, settings.origin), known.acts)
        told("copied")
        report = backup.checked(settings, part)
        told("verified")
        result = _marked(settings, part, known, manifest)
        told("marked")
        if folder.exists():
            folder.rmdir()
        part.replace(folder)
    except OSError:
        raise HandslagError("HS-COPY-FAILED") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return {**result, "entries": report.entries, **added}


def _acts(files: ActFiles, survived: Path | None) -> dict[str, Any]:
    """Take in the acts that survived beyond the copy; raises HS-ADMIN-ACT-INVALID when they are of another chain."""
    given = [] if survived is None else ActFiles(survived.parent, files.origin).all(survived.name)
    return {
        "acts_added": acts_back.added(files, given),
        "acts": files.chain().count,
        "revoked": sorted(acts_back.revoked(files)),
        "admit_again": acts_back.admitted_elsewhere(files),
    }


def _copied(copy: Path, part: Path) -> None:
    """Everything but the manifest; anchors as evidence under another name: they never stand for a restored log."""
    part.mkdir(mode=0o700, parents=True)
    for path in sorted(copy.rglob("*")):
        name = path.relative_to(copy)
        if path.is_dir():
            (part / name).mkdir(mode=0o700, exist_ok=True)
        elif path.name != backup.MANIFEST:
            to = part / (f"copied-{name}" if path.name.startswith("anchor") else name)
            with path.open("rb") as source, os.fdopen(os.open(to, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
                target.flush()
                os.fsync(target.fileno())


def _marked(settings: BrokerSettings, part: Path, known: Known, manifest: dict[str, Any]) -> dict[str, Any]:
    """Bring the tables up to date and begin the hold, in the copy; nothing but a continuation ever ends it."""
    migrate(part / "broker.db")
    vault = KeyVault.open(part / "keys.db", settings.root_key_file)

    def begin(rows: Rows) -> tuple[Seen, int]:
        seen = _newest(settings, rows, known)
        at_us = time.time_ns() // 1000
        hold.begin(rows, recorder, uuid7(at_us, os.urandom(10)), hold.RESTORED, seen, at_us)
        return seen, rows.log.head().size

    try:
        recorder = Recorder(vault, os.urandom, _SEGMENT)
        cipher = ColumnCipher(vault.columns())
        convert(part / "broker.db", cipher)  # a copy that an earlier version took
        seen, kept = copies.written(part / "broker.db", cipher, begin)
    finally:
        vault.close()
    return {
        "copy_at_us": manifest["at_us"],
        "kept_size": kept,
        "seen_origin": seen.head.origin,
        "seen_size": seen.head.size,
        "lost_leaves": max(0, seen.head.size - kept),
    }


def _newest(settings: BrokerSettings, rows: Rows, known: Known) -> Seen:
    """The newest tree head anybody knows of: the copy's own, the given notes and anchors.

    Raises HS-COPY-INVALID (`part` = fork) when one within the copy's size is of another history.
    """
    public = keyfiles.log_key(settings.log_key_file).public_key().public_bytes_raw()
    log = Verifier(settings.origin, public)
    head = rows.log.head()
    parts = max((one.number for one in rows.hold.continuations()), default=1)
    own = Seen(parts, Checkpoint(f"{settings.origin}/{parts}" if parts > 1 else settings.origin, *head))
    shown = [own, *_shown(settings, known, log)]
    for one in shown:
        inside = one.number == parts and one.head.size <= head.size
        if inside and frontier(one.head.size, rows.log.read_tile).root() != one.head.root:
            raise HandslagError("HS-COPY-INVALID", part="fork")
    return max(shown, key=lambda one: (one.number, one.head.size, one.note is not None))


def _shown(settings: BrokerSettings, known: Known, log: Verifier) -> Iterable[Seen]:
    for note in known.notes:
        number, head = open_part(note, base=settings.origin, log=log)
        yield Seen(number, head, note.decode())
    for path in known.anchors:
        try:
            head = Checkpoint.from_body(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            raise HandslagError("HS-ANCHOR-INVALID", check="file") from None
        part = number_of(settings.origin, head.origin)
        if part is None:
            raise HandslagError("HS-ANCHOR-INVALID", check="origin")
        yield Seen(part, head)
