"""The root key file: the key-encryption keys (KEK) under which seat keys are wrapped, one per epoch.

    {"format": "handslag root key 1", "epoch": 1, "keks": {"1": "<64 hex digits>"}}

It lies apart from `keys.db` and from every backup of it: an old backup of wrapped keys is worth nothing once the KEK
of its epoch is gone from here. Readable by its owner alone; a wider mode is refused, not mended, because somebody may
have read it already.

A forward ratchet: the KEK of the next epoch follows from this one, and no KEK leads back. So every copy of the file
opens what was wrapped since, nothing has to be carried to any node, and moving the file forward destroys.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from schemas.errors import HandslagError

FORMAT = "handslag root key 1"
KEK_BYTES = 32
_WIDER_THAN_OWNER = 0o077
_AHEAD = 100_000  # bounds the steps that a damaged row costs; one erasure is one step


@dataclass(frozen=True, slots=True)
class RootKey:
    """The KEKs by epoch (32 bytes each) and the epoch under which new keys are wrapped."""

    epoch: int
    keks: Mapping[int, bytes] = field(repr=False)

    def kek(self, epoch: int) -> bytes:
        """Return the KEK of an epoch; raises HS-KEYS-UNREADABLE (`part` = epoch) when it is not (or no longer) here."""
        # INVARIANT: test_no_later_root_key_leads_back
        if epoch in self.keks:
            return self.keks[epoch]
        newest = max(self.keks)
        if not newest < epoch <= newest + _AHEAD:
            raise HandslagError("HS-KEYS-UNREADABLE", part="epoch")
        key = self.keks[newest]
        for _ in range(epoch - newest):
            key = HKDF(algorithm=SHA256(), length=KEK_BYTES, salt=None, info=b"HS1 next root key").derive(key)
        return key

    @property
    def oldest(self) -> int:
        """The oldest epoch whose KEK is here."""
        return min(self.keks)

    def forward(self, epoch: int) -> RootKey:
        """The same from an epoch on, without any KEK of an older one; raises as `kek`."""
        kept = {number: key for number, key in self.keks.items() if number > epoch}
        return RootKey(max(epoch, self.epoch), {epoch: self.kek(epoch), **kept})


def exists(path: Path) -> bool:
    """Whether anything lies at the path."""
    return os.path.lexists(path)


def create(path: Path) -> RootKey:
    """Write a new root key with one fresh KEK of epoch 1, durable before this returns; never overwrites.

    Raises HS-KEYS-UNREADABLE when the file is already there or cannot be written.
    """
    root = RootKey(1, {1: os.urandom(KEK_BYTES)})
    # A name of its own and a link: a crash leaves no half file under the real name, and nothing is replaced.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        _written(temporary, root)
        os.link(temporary, path)
        temporary.unlink()
        sync_directory(path.parent)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise HandslagError("HS-KEYS-UNREADABLE", part="root") from None
    return root


def let_go(path: Path, epoch: int) -> RootKey:
    """Destroy every KEK older than `epoch` in the file, and return what it holds now; a file further on stays.

    The new file is durable before the bytes of the old one are overwritten; until they are, they have a name, so that
    a start after a crash finds them. What the disk or its controller keeps of overwritten blocks is beyond a program.
    Raises HS-KEYS-UNREADABLE (`part` = root when the file cannot be replaced, epoch) and as `load`.
    """
    # INVARIANT: test_a_kill_while_the_root_key_moves_loses_nothing_and_leaves_nothing
    root, old = load(path), path.with_name(f".{path.name}.old")
    try:
        for left in (old, *path.parent.glob(f".{path.name}.*.new")):
            _cleared(path, left)
        if root.oldest >= epoch:
            return root
        later = root.forward(epoch)
        temporary = path.with_name(f".{path.name}.{uuid4().hex}.new")
        try:
            _written(temporary, later)
            os.link(path, old)
            temporary.replace(path)
            sync_directory(path.parent)
        finally:
            if temporary.exists():
                _cleared(path, temporary)
        _cleared(path, old)
    except OSError:
        raise HandslagError("HS-KEYS-UNREADABLE", part="root") from None
    return later


def _cleared(path: Path, left: Path) -> None:
    """Overwrite a file that holds a key, unless it is another name of the one in use, and remove it."""
    if not left.exists():
        return
    if not left.samefile(path):
        with left.open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            file.write(bytes(size))
            file.flush()
            os.fsync(file.fileno())
    left.unlink()


def _written(path: Path, root: RootKey) -> None:
    keks = {str(epoch): key.hex() for epoch, key in sorted(root.keks.items())}
    text = json.dumps({"format": FORMAT, "epoch": root.epoch, "keks": keks})
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(handle, text.encode())
        os.fsync(handle)
    finally:
        os.close(handle)


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
