"""A lost connector rebuilt from its newest backup and two shares: nothing is written before all of it was read.

What this makes is a folder that has not spoken to anybody. `returning.py` takes it into service.
"""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from connectors import enrolment, files, keeping
from connectors.keys import UnitKeyPair
from connectors.sealedfile import SealedReader
from schemas.errors import HandslagError

_FILES = {*(f"keys/{name}" for name in keeping.KEYS), f"keys/{keeping.AGENCY_KEY}", "trust.toml", keeping.SPOOL}
_NEEDED = _FILES - {f"keys/{keeping.AGENCY_KEY}"}
_PIECE = 1024 * 1024
_MANIFEST_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacked:
    """A rebuilt folder: its configuration, when its backup was made (microseconds UTC), and the number it had then."""

    config: Path
    unit: str
    backup_at_us: int
    instance: int


def unpack(
    backup: Path, keys: UnitKeyPair, target: Path, ready: Callable[[Unpacked], None] = lambda _unpacked: None
) -> Unpacked:
    """Read a backup to its end into a new folder, 0700, call `ready` with it, then give it its name `target`.

    What is interrupted leaves no folder that could be started: a bare copy would speak as the lost connector.

    Raises `HS-BACKUP-INVALID` (cut, changed, of another key, of another shape) and leaves nothing then;
    `HS-RESTORE-EXISTS` for a folder that is not empty; `HS-BACKUP-FAILED` when the disk refuses.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise HandslagError("HS-RESTORE-EXISTS")
    draft = target.with_name(f".{target.name}.restoring")
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700, parents=True)
        for name in ("keys", "data"):
            (draft / name).mkdir(mode=0o700)
        with backup.open("rb") as source:
            manifest = _read(source, keys, draft)
        _configured(draft, manifest)
        ready(_unpacked(draft, manifest))
        if target.exists():
            target.rmdir()
        draft.replace(target)
        files.sync_folder(target.parent)
    except OSError:
        raise HandslagError("HS-BACKUP-FAILED", check="file") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return _unpacked(target, manifest)


def _unpacked(folder: Path, manifest: dict[str, Any]) -> Unpacked:
    return Unpacked(
        config=folder / "connector.toml",
        unit=manifest["unit"],
        backup_at_us=manifest["made_at_us"],
        instance=manifest["instance"],
    )


def _read(source: BinaryIO, keys: UnitKeyPair, draft: Path) -> dict[str, Any]:
    reader = SealedReader(source, keys)
    found: set[str] = set()
    manifest: dict[str, Any] | None = None
    try:
        with tarfile.open(fileobj=cast(BinaryIO, reader), mode="r|") as tar:
            for entry, content in _members(tar):
                if manifest is None:
                    manifest = _manifest(entry, content)
                    continue
                if entry.name not in _FILES or entry.name in found:
                    raise HandslagError("HS-BACKUP-INVALID", check="file name")
                found.add(entry.name)
                _keep(draft / entry.name, content)
        # The end of the archive is not the end of the file: only its last chunk says that nothing was cut.
        while reader.read(_PIECE):
            pass
    except (tarfile.TarError, EOFError):
        raise HandslagError("HS-BACKUP-INVALID", check="archive") from None
    if manifest is None or not found >= _NEEDED:
        raise HandslagError("HS-BACKUP-INVALID", check="files")
    return manifest


def _members(tar: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, BinaryIO]]:
    for entry in tar:
        content = tar.extractfile(entry) if entry.isreg() else None
        if content is None:
            raise HandslagError("HS-BACKUP-INVALID", check="file kind")
        yield entry, content  # type: ignore[misc]  # IO[bytes], read only


def _manifest(entry: tarfile.TarInfo, content: BinaryIO) -> dict[str, Any]:
    if entry.name != keeping.MANIFEST or entry.size > _MANIFEST_BYTES:
        raise HandslagError("HS-BACKUP-INVALID", check="manifest")
    try:
        manifest = json.loads(content.read())
        if manifest["version"] != 1:
            raise HandslagError("HS-SPOOL-NEWER")
        for name, kind in (("unit", str), ("made_at_us", int), ("instance", int), ("settings", dict)):
            if not isinstance(manifest[name], kind):
                raise HandslagError("HS-BACKUP-INVALID", check="manifest")
    except (ValueError, KeyError, TypeError):
        raise HandslagError("HS-BACKUP-INVALID", check="manifest") from None
    found: dict[str, Any] = manifest
    return found


def _keep(path: Path, content: BinaryIO) -> None:
    with files.create_private(path) as file:
        shutil.copyfileobj(content, file, _PIECE)
        files.flush(file)


def _configured(draft: Path, manifest: dict[str, Any]) -> None:
    """The configuration as it was, with the paths of the new folder."""
    enrolment.write_config(draft / "connector.toml", manifest["settings"])
