"""An export of one seat's entries: a folder of plain files that says by itself what it holds.

    manifest.json            format, seat, origin, unit, when, the entry of the query, SHA-256 of every other file
    entries/<number>.entry   the entry's bytes, which hash to its leaf
    payloads/<number>.bin    its content, encrypted
    proofs/<number>.tlog-proof   its place in the log (C2SP tlog-proof)
    keys.txt                 one key per entry (`audit verify COPY --keys keys.txt`)
    checkpoint               the signed note that every proof is under
    trust.toml, units.json   who vouches for the log and for the units' keys
    seat.json                the seat's public key and the lead's statement, as the connector holds them
    held.json                what the connector was told of this seat: entries named to it, the head of its ledger

Files are 0600 in folders 0700: whoever reads this folder reads the entries. Nothing read from it is believed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from audit import entrykeys
from audit.anchors import units_read, units_written
from schemas import limits
from schemas.calls import KeyedEntry
from schemas.errors import HandslagError
from schemas.identifiers import parsed, shown
from schemas.statements import SignedUnit
from schemas.trail import AuditEntry

FORMAT = "handslag audit export 1"
MANIFEST = "manifest.json"
_FILE_LIMIT = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """An entry about the seat that the broker named to the connector: with a receipt, a delivery, an answer."""

    leaf_hash: bytes
    kind: str
    told_at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """What an export holds.

    `proofs` maps entry numbers to proof files; `lead_statement` is an encoded SignedStatement, `lead_rotations` those
    by which the lead's keys went on; `ledger_seq` and `ledger_head` are those of the connector's own copy of the seat's
    consent ledger. Times in microseconds UTC.
    """

    seat_id: bytes
    origin: str
    unit: str
    made_at_us: int
    query_entry: bytes
    entries: tuple[KeyedEntry, ...]
    proofs: Mapping[int, bytes]
    checkpoint: bytes
    trust: str
    units: tuple[SignedUnit, ...]
    signing_key: bytes
    lead_statement: bytes
    held: tuple[Held, ...]
    ledger_seq: int
    ledger_head: bytes
    lead_rotations: tuple[bytes, ...] = ()


def write(folder: Path, export: Export) -> None:
    """Write an export to a folder that does not exist yet; raises HS-EXPORT-EXISTS, HS-EXPORT-FAILED."""
    # INVARIANT: test_an_export_never_writes_into_a_folder_that_exists
    files = _files(export)
    manifest = {
        "format": FORMAT,
        "seat": shown(export.seat_id),
        "origin": export.origin,
        "unit": export.unit,
        "made_at_us": export.made_at_us,
        "query_entry": shown(export.query_entry),
        "files": {name: sha256(data).hexdigest() for name, data in sorted(files.items())},
    }
    try:
        folder.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        raise HandslagError("HS-EXPORT-EXISTS") from None
    except OSError:
        raise HandslagError("HS-EXPORT-FAILED") from None
    try:
        for name in ("entries", "payloads", "proofs"):
            (folder / name).mkdir(mode=0o700)
        for name, data in files.items():
            _write(folder / name, data)
        _write(folder / MANIFEST, _json(manifest))
    except OSError:
        raise HandslagError("HS-EXPORT-FAILED") from None


def _files(export: Export) -> dict[str, bytes]:
    keys = {AuditEntry.from_bytes(one.entry, limits.ENTRY).entry_id: one.key for one in export.entries}
    seat = {
        "signing_key": export.signing_key.hex(),
        "lead_statement": export.lead_statement.hex(),
        "lead_rotations": [one.hex() for one in export.lead_rotations],
    }
    held = {
        "ledger_seq": export.ledger_seq,
        "ledger_head": export.ledger_head.hex(),
        "told": [
            {"leaf_hash": one.leaf_hash.hex(), "kind": one.kind, "told_at_us": one.told_at_us} for one in export.held
        ],
    }
    files = {
        "keys.txt": entrykeys.written(keys).encode(),
        "checkpoint": export.checkpoint,
        "trust.toml": export.trust.encode(),
        "units.json": units_written(export.units).encode(),
        "seat.json": _json(seat),
        "held.json": _json(held),
    }
    for one in export.entries:
        files[f"entries/{one.number:08}.entry"] = one.entry
        files[f"payloads/{one.number:08}.bin"] = one.payload
    for number, proof in export.proofs.items():
        files[f"proofs/{number:08}.tlog-proof"] = proof
    return files


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode()


def _write(path: Path, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)


def is_export(path: Path) -> bool:
    """Whether a path is a folder with a manifest."""
    return (path / MANIFEST).is_file()


def read(folder: Path) -> Export:
    """Read an export; raises HS-TRAIL-UNREADABLE for what `write` would not write.

    `part` is manifest, or the kind of file that is missing, changed or malformed. A changed file fails here by the
    manifest; whoever changes the manifest as well meets `verify_export`.
    """
    try:
        manifest = json.loads(_read(folder / MANIFEST))
        if manifest["format"] != FORMAT:
            raise HandslagError("HS-TRAIL-UNREADABLE", part="manifest")
        files = {str(name): _listed(folder, name, told) for name, told in manifest["files"].items()}
        return _export(manifest, files)
    except (KeyError, ValueError, TypeError, AttributeError, OSError):
        raise HandslagError("HS-TRAIL-UNREADABLE", part="manifest") from None


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(_FILE_LIMIT + 1)
    if len(data) > _FILE_LIMIT:
        raise HandslagError("HS-TRAIL-UNREADABLE", part="size")
    return data


def _listed(folder: Path, name: str, told: str) -> bytes:
    kind, _, rest = name.rpartition("/")
    # A name from the manifest must not lead out of the folder.
    plain = kind in {"", "entries", "payloads", "proofs"} and rest not in {"", ".", ".."} and "\\" not in rest
    if not plain:
        raise HandslagError("HS-TRAIL-UNREADABLE", part="manifest")
    try:
        data = _read(folder / name)
    except OSError:
        raise HandslagError("HS-TRAIL-UNREADABLE", part="file") from None
    if sha256(data).hexdigest() != told:
        raise HandslagError("HS-TRAIL-UNREADABLE", part="file")
    return data


def _export(manifest: Mapping[str, Any], files: Mapping[str, bytes]) -> Export:
    seat, held = json.loads(files["seat.json"]), json.loads(files["held.json"])
    keys = entrykeys.read(files["keys.txt"].decode())
    entries = []
    for name in sorted(name for name in files if name.startswith("entries/")):
        number = int(name.removeprefix("entries/").removesuffix(".entry"))
        data = files[name]
        # The leaf hash is always computed from the bytes; one that was stored would prove nothing.
        entry_id = AuditEntry.from_bytes(data, limits.ENTRY).entry_id
        payload = files[f"payloads/{number:08}.bin"]
        leaf = sha256(b"\x00" + data).digest()
        entries.append(KeyedEntry(number=number, entry=data, payload=payload, key=keys[entry_id], leaf_hash=leaf))
    return Export(
        seat_id=parsed(manifest["seat"]),
        origin=str(manifest["origin"]),
        unit=str(manifest["unit"]),
        made_at_us=int(manifest["made_at_us"]),
        query_entry=parsed(manifest["query_entry"]),
        entries=tuple(entries),
        proofs={
            int(name.removeprefix("proofs/").removesuffix(".tlog-proof")): data
            for name, data in files.items()
            if name.startswith("proofs/")
        },
        checkpoint=files["checkpoint"],
        trust=files["trust.toml"].decode(),
        units=tuple(units_read(files["units.json"].decode())),
        signing_key=bytes.fromhex(seat["signing_key"]),
        lead_statement=bytes.fromhex(seat["lead_statement"]),
        held=tuple(
            Held(leaf_hash=bytes.fromhex(row["leaf_hash"]), kind=str(row["kind"]), told_at_us=int(row["told_at_us"]))
            for row in held["told"]
        ),
        ledger_seq=int(held["ledger_seq"]),
        ledger_head=bytes.fromhex(held["ledger_head"]),
        # An export made before leads rotated holds none.
        lead_rotations=tuple(bytes.fromhex(one) for one in seat.get("lead_rotations", ())),
    )
