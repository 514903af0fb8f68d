"""`handslag init --join`: the folder of a further node, made from that of a node there is.

What a node needs and no store gives it is copied by hand or by this command: the log's key, the root key, the
supervisor's public key, the way into the store, the anchors. Everything else comes out of the store at the first start.
What admits agencies stays where it is: the fewer copies of those keys, the better.
"""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.hazmat.primitives import serialization

from broker import pki, settings
from broker.keyfiles import read_private, write_new
from broker.settings import BrokerSettings
from schemas.errors import HandslagError

_TOP = ("log_key_file", "root_key_file", "supervisor_key_file")
_PARTS = ("store", "stream", "tls")
_OWN = frozenset({("tls", "certificate_file"), ("tls", "key_file")})  # each node has its own
_STAYS = ("admission", "administration")


class JoinPlan(NamedTuple):
    """What `init --join` is told: `hosts` go into the server's certificate, the first one into its URL."""

    listen: str
    hosts: tuple[str, ...]
    operations: str


def join(folder: Path, other: Path, plan: JoinPlan, now: datetime) -> Path:
    """Make `folder` a further node of the broker whose configuration is `other`; returns its own configuration.

    Raises `HS-INIT-EXISTS` when the folder holds anything, `HS-STORE-ALONE` when the other's store is a file that no
    second node can open, `HS-SETTINGS-INVALID`, `HS-SECRET-FILE`; nothing is left behind then.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise HandslagError("HS-INIT-EXISTS")
    there = settings.load(other)
    # INVARIANT: test_a_store_in_a_file_takes_no_further_node
    if there.store.engine == "sqlite":
        raise HandslagError("HS-STORE-ALONE")
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        for name in ("", "keys", "tls", "data"):
            (draft / name).mkdir(mode=0o700)
        raw = _copied(draft, tomllib.loads(other.read_text(encoding="utf-8")), there)
        _own_certificate(draft, raw, there, plan.hosts, now)
        _anchors(draft / "data", there.data_dir)
        write_new(draft / "broker.toml", _text(_own(raw, there, plan)).encode(), private=False)
        settings.load(draft / "broker.toml")
        draft.replace(folder)
    except OSError:
        raise HandslagError("HS-SETTINGS-INVALID", field="dir") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder / "broker.toml"


def _copied(draft: Path, raw: dict[str, Any], there: BrokerSettings) -> dict[str, Any]:
    """The other's configuration with every file it names copied and named anew."""
    made = {name: value for name, value in raw.items() if name not in _STAYS}
    for name in _TOP:
        made[name] = _copy(draft, getattr(there, name), f"keys/{name.removesuffix('_file').replace('_', '-')}")
    for part in _PARTS:
        table = dict(made[part]) if isinstance(made.get(part), dict) else {}
        for name, path in getattr(there, part):
            if isinstance(path, Path) and (part, name) not in _OWN:
                table[name] = _copy(draft, path, f"keys/{part}-{name.removesuffix('_file').replace('_', '-')}")
        if table:
            made[part] = table
    return made


def _copy(draft: Path, path: Path, name: str) -> str:
    private = bool(path.stat().st_mode & 0o077) is False
    write_new(draft / name, path.read_bytes(), private=private)
    return name


def _own_certificate(
    draft: Path, raw: dict[str, Any], there: BrokerSettings, hosts: tuple[str, ...], now: datetime
) -> None:
    """A server certificate of this node's own from the authority of the other's `[admission]`, or the other's one."""
    files = {"certificate_file": "tls/server.pem", "key_file": "tls/server.key"}
    if there.admission is not None:
        key = read_private(there.admission.ca_key_file, "admission.ca_key_file")
        authority = pki.load_authority(there.admission.ca_certificate_file.read_bytes(), key)
        own = pki.new_key()
        made = pki.server_certificate(authority, own, hosts, now).public_bytes(serialization.Encoding.PEM)
        pem, key_pem = made, pki.key_pem(own)
    else:
        pem, key_pem = there.tls.certificate_file.read_bytes(), read_private(there.tls.key_file, "tls.key_file")
    write_new(draft / files["certificate_file"], pem, private=False)
    write_new(draft / files["key_file"], key_pem, private=True)
    raw["tls"] = {**raw["tls"], **files}


def _anchors(into: Path, data_dir: Path) -> None:
    """What the other node remembers of the log: a store put back from a copy is noticed here from the first start."""
    # INVARIANT: test_a_further_node_remembers_what_the_first_one_saw
    for path in sorted(data_dir.glob("anchor*")):
        if path.suffix == "":
            write_new(into / path.name, path.read_bytes(), private=True)


def _own(raw: dict[str, Any], there: BrokerSettings, plan: JoinPlan) -> dict[str, Any]:
    try:
        port = settings.address_of(plan.listen).port
    except ValueError:
        raise HandslagError("HS-SETTINGS-INVALID", field="listen") from None
    url = f"https://{settings.Address(plan.hosts[0], port)}"
    others = [each for each in dict.fromkeys((there.url, *there.further_urls)) if each != url]
    operations = {**raw.get("operations", {}), "listen": plan.operations}
    return {**raw, "url": url, "further_urls": others, "listen": plan.listen, "data_dir": "data",
            "operations": operations}  # fmt: skip


def _text(raw: Mapping[str, Any]) -> str:
    """A configuration as TOML: values first, then one table after the other."""
    lines = ["# A further node of one broker. Paths are relative to this file; `handslag config check` proves it."]
    lines += [f"{name} = {_value(value)}" for name, value in raw.items() if not isinstance(value, dict)]
    for name, table in raw.items():
        if isinstance(table, dict):
            lines += ["", f"[{name}]", *(f"{key} = {_value(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(_value(each) for each in value) + "]"
    return json.dumps(value, ensure_ascii=False)
