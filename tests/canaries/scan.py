"""Looking for words in files as they lie on the disk, in every spelling in which a program might have left them."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from broker.store.cipher import ColumnCipher
from broker.store.conversion import SEALED
from broker.store.keys import columns_key


@dataclass(frozen=True, slots=True)
class Hit:
    """One canary found: its name (never its value), where, and in which spelling."""

    canary: str
    where: str
    spelling: str


def spellings(text: str) -> Iterator[tuple[str, bytes]]:
    """The word itself and what is derived from it: encodings, escapes, and digests of it."""
    raw = text.encode()
    yield "utf-8", raw
    yield "utf-16", text.encode("utf-16-le")
    yield "latin-1", text.encode("latin-1")
    yield "upper", text.upper().encode()
    yield "lower", text.lower().encode()
    yield "hex", raw.hex().encode()
    yield "percent", quote(text).encode()
    yield "json", json.dumps(text)[1:-1].encode()
    yield "letters", "".join(letter for letter in text if letter.isalnum()).encode()
    for shift in range(3):  # a word inside a longer text that was encoded as a whole
        encoded = base64.b64encode(bytes(shift) + raw)
        yield f"base64/{shift}", encoded[4 if shift else 0 : len(encoded) // 4 * 4 - 4]
    for name in ("sha256", "sha1", "md5"):
        digest = hashlib.new(name, raw).digest()
        yield name, digest
        yield f"{name} hex", digest.hex().encode()


def in_bytes(data: bytes, canaries: dict[str, str], where: str) -> list[Hit]:
    """Every canary and spelling that stands in `data`."""
    return [
        Hit(name, where, spelling)
        for name, text in canaries.items()
        for spelling, wanted in dict(spellings(text)).items()
        if wanted in data
    ]


def in_files(paths: Iterable[Path], canaries: dict[str, str], root: Path) -> list[Hit]:
    """Every hit in the contents of files."""
    hits = []
    for path in paths:
        hits += in_bytes(path.read_bytes(), canaries, str(path.relative_to(root)))
    return hits


def in_names(paths: Iterable[Path], canaries: dict[str, str], root: Path) -> list[Hit]:
    """Every hit in the names of files and folders below `root`."""
    return [
        hit for path in paths for hit in in_bytes(str(path.relative_to(root)).encode(), canaries, f"name of {path}")
    ]


def opened(data_dir: Path, root_key: Path) -> dict[str, list[bytes]]:
    """What stands in the sealed columns of a broker's store, by `table.column`: seals must not hide what is sought."""
    cipher = ColumnCipher(columns_key(data_dir / "keys.db", root_key))
    return opened_columns(data_dir / "broker.db", cipher)


def opened_columns(database: Path, cipher: ColumnCipher) -> dict[str, list[bytes]]:
    """As `opened`, with the key at hand."""
    found: dict[str, list[bytes]] = {}
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as store:
        for table, columns in SEALED.items():
            for column in columns:
                rows = store.execute(f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL").fetchall()
                found[f"{table}.{column}"] = [cipher.open(f"{table}.{column}", sealed) for (sealed,) in rows]
    return found


def everything(root: Path) -> list[Path]:
    """All files below a folder."""
    return sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
