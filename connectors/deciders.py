"""Who may decide at this unit that something goes without consent: names with public keys here, private keys elsewhere.

A person's file is sealed under the person's own passphrase and belongs on the person's own stick (`officers.py` draws
and opens it). That somebody *is* that person is the agency's word, as the unit's keys are; staff sign-in with an
electronic identity does not exist yet. Whom the unit names is in `keys/deciders.json`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from connectors import files, officers
from connectors.keys import UnitKeyPair
from schemas.errors import HandslagError

FILE = "deciders.json"


def named(keys_dir: Path) -> dict[str, bytes]:
    """The named deciders with their Ed25519 public keys (32 bytes); empty before the first. Raises `HS-KEY-FILE`."""
    path = keys_dir / FILE
    if not path.exists():
        return {}
    try:
        rows = json.loads(files.read_secret(path))
        return {name: bytes.fromhex(key) for name, key in rows.items()}
    except (ValueError, TypeError, AttributeError):
        raise HandslagError("HS-KEY-FILE", field="deciders") from None


def name_decider(keys_dir: Path, name: str, file: Path, passphrase: str, random: Callable[[int], bytes]) -> None:
    """Draw a decider's keys into `file` and name the decider here; raises `HS-NAME-TAKEN`, and as `officers.drawn`."""
    rows = named(keys_dir)
    if name in rows:
        raise HandslagError("HS-NAME-TAKEN")
    rows[name] = officers.drawn(name, file, passphrase, random).signing
    _write(keys_dir, rows)


def unname(keys_dir: Path, name: str) -> None:
    """A person decides no more; raises `HS-DECIDER-UNKNOWN`."""
    rows = named(keys_dir)
    if rows.pop(name, None) is None:
        raise HandslagError("HS-DECIDER-UNKNOWN")
    _write(keys_dir, rows)


def unlocked(keys_dir: Path, name: str, file: Path, passphrase: str) -> UnitKeyPair:
    """The keys of a named decider; raises `HS-DECIDER-UNKNOWN` for anybody else, whatever is wrong."""
    # INVARIANT: test_nobody_decides_without_a_key_of_their_own
    pair = officers.opened(name, file, passphrase)
    if pair is None or named(keys_dir).get(name) != pair.public.signing:
        raise HandslagError("HS-DECIDER-UNKNOWN")
    return pair


def _write(keys_dir: Path, rows: dict[str, bytes]) -> None:
    shown = {each: key.hex() for each, key in sorted(rows.items())}
    files.write_atomic(keys_dir / FILE, json.dumps(shown).encode())
