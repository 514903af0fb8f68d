"""The root key file: the key-encryption keys (KEK) under which seat keys are wrapped, one per epoch.

    {"format": "handslag root key 1", "epoch": 1, "keks": {"1": "<64 hex digits>"}}

It lies apart from `keys.db` and from every backup of it: an old backup of wrapped keys is worth nothing once the KEK
of its epoch is gone from here. Readable by its owner alone; a wider mode is refused, not mended, because somebody may
have read it already.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from schemas.errors import HandslagError

FORMAT = "handslag root key 1"
KEK_BYTES = 32
_WIDER_THAN_OWNER = 0o077


@dataclass(frozen=True, slots=True)
class RootKey:
    """The KEKs by epoch (32 bytes each) and the epoch under which new keys are wrapped."""

    epoch: int
    keks: Mapping[int, bytes] = field(repr=False)

    def kek(self, epoch: int) -> bytes:
        """Return the KEK of an epoch; raises HS-KEYS-UNREADABLE when it is not (or no longer) here."""
        try:
            return self.keks[epoch]
        except KeyError:
            raise HandslagError("HS-KEYS-UNREADABLE", part="epoch") from None


def exists(path: Path) -> bool:
    """Whether anything lies at the path."""
    return os.path.lexists(path)


def create(path: Path) -> RootKey:
    """Write a new root key with one fresh KEK of epoch 1, durable before this returns; never overwrites.

    Raises HS-KEYS-UNREADABLE when the file is already there or cannot be written.
    """
    root = RootKey(1, {1: os.urandom(KEK_BYTES)})
    text = json.dumps({"format": FORMAT, "epoch": 1, "keks": {"1": root.keks[1].hex()}})
    # A name of its own and a link: a crash leaves no half file under the real name, and nothing is replaced.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(handle, text.encode())
            os.fsync(handle)
        finally:
            os.close(handle)
        os.link(temporary, path)
        temporary.unlink()
        sync_directory(path.parent)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise HandslagError("HS-KEYS-UNREADABLE", part="root") from None
    return root


def load(path: Path) -> RootKey:
    """Read the root key; raises HS-KEYS-EXPOSED for a mode wider than 0600, HS-KEYS-UNREADABLE for anything else."""
    require_private(path)
    try:
        data = json.loads(path.read_text(encoding="ascii"))
        keks = {int(epoch): bytes.fromhex(key) for epoch, key in data["keks"].items()}
        root = RootKey(int(data["epoch"]), keks)
        good = data["format"] == FORMAT and all(len(key) == KEK_BYTES for key in keks.values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise HandslagError("HS-KEYS-UNREADABLE", part="root") from None
    if not good or root.epoch not in keks:
        raise HandslagError("HS-KEYS-UNREADABLE", part="root")
    return root


def require_private(path: Path) -> None:
    """Refuse a key file that others may read or that is no regular file; raises HS-KEYS-EXPOSED, HS-KEYS-UNREADABLE."""
    # INVARIANT: test_a_key_file_that_others_may_read_is_refused
    try:
        status = path.lstat()
    except OSError:
        raise HandslagError("HS-KEYS-UNREADABLE", part="file") from None
    if not stat.S_ISREG(status.st_mode):
        raise HandslagError("HS-KEYS-UNREADABLE", part="file")
    if stat.S_IMODE(status.st_mode) & _WIDER_THAN_OWNER:
        raise HandslagError("HS-KEYS-EXPOSED")


def sync_directory(path: Path) -> None:
    """Make a new name in a directory durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
