"""Backups of a running connector: one file, sealed to the agency's recovery key, holding everything a restore needs.

A key of a seat is published only after a backup that holds it is durable: whoever is sealed to must not become
unreadable because one disk died.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO, cast

from connectors import deciders, files, instance, officers, recovery
from connectors.context import Context
from connectors.fields import shown_moment
from connectors.identity import Identities, Seat, load_unit_keys
from connectors.keys import PublicKeys
from connectors.sealedfile import SealedWriter
from connectors.settings import Settings
from connectors.spool import Spool
from connectors.spool.copying import Progress, copy_spool
from schemas.errors import HandslagError

SUFFIX = ".handslag"
MANIFEST = "manifest.json"
SPOOL = "data/connector.db"
KEYS = ("data.key", "unit-signing.key", "unit-hpke.key", "certificate.key", "certificate.pem", "ca.pem", recovery.FILE)
AGENCY_KEY = "agency.key"  # only while it lies beside the others

_LAST = "backup"
_HOUR_US = 3600 * 1_000_000
_DAY_US = 24 * _HOUR_US
# What a seat keeps out of its own representation is its secrets, also those that a later version adds.
_SECRETS = tuple(field.name for field in fields(Seat) if not field.repr)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """One backup that is durable: when, its file, its place among all, its bytes, and which seat keys it holds."""

    at_us: int
    file: str
    number: int
    size: int
    keys: str


async def kept(ctx: Context) -> None:
    """Return when a durable backup holds every key that this connector holds now; at once when the last one does.

    To be awaited before a new seat key is published. Raises `HS-RECOVERY-KEY-MISSING` or `HS-BACKUP-FAILED`, both to be
    tried again; the agency is told by an alarm in `receipts`, once a day.
    """
    # INVARIANT: test_a_seat_key_is_published_only_after_a_backup_holds_it
    async with ctx.backing_up:  # one at a time; who waited finds the other's
        known = last(ctx.spool)
        if known is None or known.keys != key_state(ctx.identities) or not there(known):
            await _automatic(ctx)


async def due(ctx: Context) -> None:
    """The backup of the beat: makes one when the last is older than `backup_hours`; raises as `kept`."""
    async with ctx.backing_up:
        known = last(ctx.spool)
        if known is None or ctx.now() - known.at_us >= ctx.settings.backup_hours * _HOUR_US:
            await _automatic(ctx)


async def renewed(ctx: Context) -> None:
    """A backup now, and no older automatic one beside it: they hold what was erased here. Raises as `kept`."""
    async with ctx.backing_up:
        await _automatic(ctx)
        prune(ctx.settings, 1)


async def _automatic(ctx: Context) -> None:
    """Make a backup in `backup_dir` beside the event loop, and remove the oldest ones beyond `backups_kept`."""
    keys = key_state(ctx.identities)
    try:
        plan = planned(ctx.settings, ctx.spool, None)
        made = await asyncio.to_thread(write, ctx.settings, plan, keys, lambda _done, _all: None)
    except HandslagError as error:
        _alarm(ctx, error)
        raise
    remember(ctx.spool, made)
    prune(ctx.settings)


def _alarm(ctx: Context, error: HandslagError) -> None:
    value = {"kind": "alarm", "code": error.code, "sv": error.diagnostics("sv"), "en": error.diagnostics("en")}
    ctx.spool.incoming.put(f"alarm-{error.code.lower()}-{ctx.now() // _DAY_US}", "receipts", value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a backup is to be, decided on the spool's own thread: the rest needs files only."""

    target: Path
    number: int
    at_us: int
    to: PublicKeys
    instance: int


def planned(settings: Settings, spool: Spool, target: Path | None) -> Plan:
    """A backup to `target`, or under a name of its own in `backup_dir`.

    Raises `HS-RECOVERY-KEY-MISSING`, `HS-KEY-FILE`, and `HS-BACKUP-FAILED` when the folder cannot be made.
    """
    known = last(spool)
    number = known.number + 1 if known else 1
    at_us = time.time_ns() // 1000
    if target is None:
        try:
            settings.backup_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError:
            raise HandslagError("HS-BACKUP-FAILED", check="backup_dir") from None
        day = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at_us / 1e6))
        target = settings.backup_dir / f"{prefix(settings)}{day}-{number:06d}{SUFFIX}"
    return Plan(
        target=target,
        number=number,
        at_us=at_us,
        to=recovery.public_of(settings.keys_dir),
        instance=instance.number_of(settings, spool),
    )


def prefix(settings: Settings) -> str:
    """How the automatic backups of this unit begin, so that several may share a folder; names nobody."""
    return load_unit_keys(settings.unit_signing_key, settings.unit_hpke_key).key_id.hex()[:12] + "-"


def write(settings: Settings, plan: Plan, keys: str, progress: Progress) -> Backup:
    """Copy, pack, seal, and put the file in its place, durable when this returns. Blocks; raises `HS-BACKUP-FAILED`.

    The copy of the spool lies in the data folder meanwhile, its columns sealed as in the spool itself.
    """
    copy = settings.data_dir / f".backup-{os.getpid()}-{plan.number}.db"
    draft = plan.target.with_name(f".{plan.target.name}.{os.getpid()}.part")
    try:
        for stale in settings.data_dir.glob(f".backup-{os.getpid()}-*.db*"):
            stale.unlink(missing_ok=True)
        copy_spool(settings.database, copy, progress)
        _pack(settings, plan, copy, draft)
        draft.replace(plan.target)
        files.sync_folder(plan.target.parent)
        size = plan.target.stat().st_size
    except OSError:
        raise HandslagError("HS-BACKUP-FAILED", check="file") from None
    finally:
        copy.unlink(missing_ok=True)
        draft.unlink(missing_ok=True)
    return Backup(at_us=plan.at_us, file=str(plan.target), number=plan.number, size=size, keys=keys)


def _pack(settings: Settings, plan: Plan, copy: Path, draft: Path) -> None:
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        sealed = SealedWriter(file, plan.to)
        with tarfile.open(fileobj=cast(BinaryIO, sealed), mode="w|", format=tarfile.GNU_FORMAT) as tar:
            for name, source in _contents(settings, plan, copy):
                _add(tar, name, source)
        sealed.close()
        file.flush()
        os.fsync(file.fileno())


def _contents(settings: Settings, plan: Plan, copy: Path) -> Iterator[tuple[str, bytes | Path]]:
    """Every file of a backup by its name in the restored folder, the manifest first."""
    manifest = {
        "version": 1,
        "unit": settings.unit,
        "agency": settings.agency,
        "made_at_us": plan.at_us,
        "number": plan.number,
        "instance": plan.instance,
        "settings": _portable(settings),
    }
    yield MANIFEST, json.dumps(manifest, ensure_ascii=False).encode()
    own = {"certificate.key": settings.certificate_key, "certificate.pem": settings.certificate, "ca.pem": settings.ca}
    for name in KEYS:
        yield f"keys/{name}", own.get(name, settings.keys_dir / name)
    if (settings.keys_dir / AGENCY_KEY).exists():
        yield f"keys/{AGENCY_KEY}", settings.keys_dir / AGENCY_KEY
    if (settings.keys_dir / officers.FILE).exists():
        yield f"keys/{officers.FILE}", settings.keys_dir / officers.FILE
    if (settings.keys_dir / deciders.FILE).exists():
        yield f"keys/{deciders.FILE}", settings.keys_dir / deciders.FILE
    yield "trust.toml", settings.trust_file
    yield SPOOL, copy


def _portable(settings: Settings) -> dict[str, Any]:
    """The configuration with paths as the restored folder needs them; what lay outside the folder keeps its place."""
    base = settings.keys_dir.parent
    values = settings.model_dump(mode="json")
    for name in ("data_dir", "keys_dir", "certificate", "certificate_key", "ca", "trust_file"):
        del values[name]  # the restored folder has the usual places
    for name in ("folder", "backup_dir", "texts_dir"):
        path: Path | None = getattr(settings, name)
        if path is None:
            del values[name]
            continue
        values[name] = path.relative_to(base).as_posix() if path.is_relative_to(base) else str(path)
    return values


def _add(tar: tarfile.TarFile, name: str, source: bytes | Path) -> None:
    entry = tarfile.TarInfo(name)
    if isinstance(source, bytes):
        entry.size = len(source)
        tar.addfile(entry, io.BytesIO(source))
        return
    with source.open("rb") as file:
        entry.size = os.fstat(file.fileno()).st_size
        tar.addfile(entry, file)


def prune(settings: Settings, keep: int | None = None) -> int:
    """Remove automatic backups beyond the newest `keep` (the setting `backups_kept`); returns how many.

    One that stays is no failure.
    """
    own = sorted(settings.backup_dir.glob(f"{prefix(settings)}*{SUFFIX}"), key=lambda path: path.name)
    gone = own[: -(keep or settings.backups_kept)]
    for path in gone:
        try:
            path.unlink()
        except OSError:
            break
    return len(gone)


def remember(spool: Spool, made: Backup) -> None:
    """Keep what is known of the newest backup."""
    value = {name: getattr(made, name) for name in Backup.__slots__}
    spool.memory.put(_LAST, json.dumps(value).encode())


def last(spool: Spool) -> Backup | None:
    """The newest backup that was made of this spool, None before the first."""
    held = spool.memory.get(_LAST)
    return Backup(**json.loads(held)) if held else None


def key_state(identities: Identities) -> str:
    """One value for all private keys of all seats: another key, another value."""
    digest = hashlib.sha256()
    for seat in identities.all():
        for name in _SECRETS:
            digest.update(repr(getattr(seat, name)).encode() + b"\x00")
    return digest.hexdigest()


def there(backup: Backup) -> bool:
    """Whether the file still stands where it was put."""
    return Path(backup.file).exists()


def told(spool: Spool, now_us: int) -> dict[str, Any] | None:
    """The newest backup for `status`: when, how old in seconds, where, and whether it holds every seat key."""
    known = last(spool)
    if known is None:
        return None
    return {
        "made_at": shown_moment(known.at_us),
        "age_s": max(0, (now_us - known.at_us) // 1_000_000),
        "file": known.file,
        "there": there(known),
        "bytes": known.size,
        "holds_every_key": known.keys == key_state(Identities(spool.store)),
    }


def shown_progress(say: Callable[[str], None]) -> Progress:
    """A progress that says every tenth of a long copy, once."""
    said = [0]

    def progress(done: int, total: int) -> None:
        tenth = 10 * done // max(total, 1)
        if tenth > said[0]:
            said[0] = tenth
            say(f"copied {10 * tenth} %")

    return progress
