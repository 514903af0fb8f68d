"""Files that hold keys: written once, readable by the broker's account only, durable before anybody relies on them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.errors import HandslagError

SUPERVISOR_KEY_BYTES = 1216  # ML-KEM-768 public key (1184) and X25519 public key (32)


def write_new(path: Path, data: bytes, *, private: bool) -> None:
    """Write a file that must not exist, 0600 when private else 0644, and sync it; raises `HS-INIT-EXISTS`."""
    mode = 0o600 if private else 0o644
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise HandslagError("HS-INIT-EXISTS") from None
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_atomic(path: Path, data: bytes) -> None:
    """Put `data` at `path` (0600) in one rename, durable when this returns; replaces what stood there."""
    draft = path.with_name(f".{path.name}.part")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_private(path: Path, field: str) -> bytes:
    """Bytes of a key file; raises `HS-SECRET-FILE` naming the setting when it is missing or wider than 0600."""
    # INVARIANT: test_a_key_file_open_to_others_is_refused
    try:
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise HandslagError("HS-SECRET-FILE", field=field, rule="mode")
        return path.read_bytes()
    except OSError:
        raise HandslagError("HS-SECRET-FILE", field=field, rule="missing") from None


def log_key(path: Path) -> Ed25519PrivateKey:
    """The key that signs checkpoints, PKCS #8 in PEM (RFC 8410); raises `HS-SECRET-FILE`."""
    try:
        key = serialization.load_pem_private_key(read_private(path, "log_key_file"), password=None)
    except (ValueError, TypeError):
        raise HandslagError("HS-SECRET-FILE", field="log_key_file", rule="form") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise HandslagError("HS-SECRET-FILE", field="log_key_file", rule="form")
    return key


def new_log_key() -> tuple[Ed25519PrivateKey, bytes]:
    """A fresh log key and the bytes of its file."""
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key, pem


def supervisor_key(path: Path) -> bytes:
    """The supervisor's public HPKE key, 1216 bytes, in its file as hexadecimal digits; raises `HS-SECRET-FILE`."""
    try:
        text = path.read_bytes()
    except OSError:
        raise HandslagError("HS-SECRET-FILE", field="supervisor_key_file", rule="missing") from None
    return _from_hex(text, SUPERVISOR_KEY_BYTES, "supervisor_key_file")


def _from_hex(text: bytes, size: int, field: str) -> bytes:
    try:
        key = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        raise HandslagError("HS-SECRET-FILE", field=field, rule="form") from None
    if len(key) != size:
        raise HandslagError("HS-SECRET-FILE", field=field, rule="size")
    return key
