"""`handslag init`: a folder with everything a first broker needs, whole or not at all."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from audit.note import Verifier
from broker import pki, settings
from broker.actfiles import ActFiles, signed_by
from broker.keyfiles import new_log_key, supervisor_key, write_new
from broker.store.keys import KeyVault
from consent.rules import shipped
from schemas.admin import ADMINISTRATORS, RULES, Administrator
from schemas.errors import HandslagError

DEMONSTRATION_NOTE = """\
The files here whose names say `demo` are for demonstrations. Whoever holds `supervisor-demo.private.hex` reads what is
sealed to the supervisor; whoever holds `demo-ca.key` opens the door to anybody; whoever holds both keys in
`administrators-demo` signs for two. Replace all of them before any real person is in the system: `handslag init
--supervisor-key FILE`, an authority of your own in `tls.client_ca_file`, and `handslag admin name` with the public keys
of two administrators who keep theirs (`handslag admin key`) to themselves; then delete the folder and [administration].
"""


@dataclass(frozen=True, slots=True)
class InitPlan:
    """What `init` is told: `hosts` go into the server's certificate, the first one into its URL."""

    listen: str
    hosts: tuple[str, ...]
    origin: str
    supervisor_key_file: Path | None
    operations: str = "127.0.0.1:9464"


@dataclass(frozen=True, slots=True)
class Initialised:
    """What `init` made: the configuration's path, the log's public key as a vkey, whether the supervisor is a demo."""

    config: Path
    origin: str
    log_key: str
    demonstration_supervisor: bool


def initialise(folder: Path, plan: InitPlan, now: datetime) -> Initialised:
    """Create `folder` with everything a broker needs before its first start.

    Raises `HS-INIT-EXISTS` when the folder holds anything, `HS-SETTINGS-INVALID`, `HS-SECRET-FILE`,
    `HS-CERTIFICATE-INVALID`; nothing is left behind then.
    """
    # INVARIANT: test_init_never_overwrites
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise HandslagError("HS-INIT-EXISTS")
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        vkey = _fill(draft, plan, now)
        settings.load(draft / "broker.toml")
        draft.replace(folder)
    except OSError:
        raise HandslagError("HS-SETTINGS-INVALID", field="dir") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Initialised(folder / "broker.toml", plan.origin, vkey, plan.supervisor_key_file is None)


def _fill(folder: Path, plan: InitPlan, now: datetime) -> str:
    for name in ("", "keys", "tls", "data"):
        (folder / name).mkdir(mode=0o700)
    log_key, pem = new_log_key()
    write_new(folder / "keys/log.key", pem, private=True)
    KeyVault.open(folder / "data/keys.db", folder / "keys/root.key").close()  # both halves or neither
    _authority(folder / "tls", plan.hosts, now)
    supervisor = _supervisor(folder, plan.supervisor_key_file)
    _administrators(folder, plan.origin, now)
    write_new(folder / "broker.toml", _config(plan, supervisor).encode(), private=False)
    return Verifier(plan.origin, log_key.public_key().public_bytes_raw()).vkey()


def _authority(folder: Path, hosts: tuple[str, ...], now: datetime) -> None:
    authority = pki.new_authority(now)
    key = pki.new_key()
    server = pki.server_certificate(authority, key, hosts, now)
    write_new(folder / "demo-ca.pem", authority.pem, private=False)
    write_new(folder / "demo-ca.key", pki.key_pem(authority.key), private=True)
    write_new(folder / "demo-server.pem", server.public_bytes(serialization.Encoding.PEM), private=False)
    write_new(folder / "demo-server.key", pki.key_pem(key), private=True)
    write_new(folder / "READ-ME-demo.txt", DEMONSTRATION_NOTE.encode(), private=False)


def _administrators(folder: Path, origin: str, now: datetime) -> None:
    """Two demonstration administrators; the first act names them, the second lets the rules take force."""
    (folder / "administrators-demo").mkdir(mode=0o700)
    made = {}
    for name in ("first", "second"):
        made[name], pem = new_log_key()
        write_new(folder / f"administrators-demo/{name}.key", pem, private=True)
    files = ActFiles(folder / "data", origin)
    named = [
        Administrator(name=f"demo-{name}", signing_key=key.public_key().public_bytes_raw())
        for name, key in made.items()
    ]
    at_us = int(now.timestamp() * 1_000_000)
    for plan in ({"kind": ADMINISTRATORS, "administrators": named}, {"kind": RULES, "subject": shipped()[1].hash32}):
        signed = files.draft(made_at_us=at_us, **plan)  # type: ignore[arg-type]
        for key in made.values():
            signed = signed_by(signed, key, files.chain)
        files.append(signed)


def _supervisor(folder: Path, given: Path | None) -> str:
    """Put the supervisor's public key in place; returns its path below the folder."""
    if given is not None:
        write_new(folder / "keys/supervisor.hex", supervisor_key(given).hex().encode() + b"\n", private=False)
        return "keys/supervisor.hex"
    kem, curve = MLKEM768PrivateKey.generate(), X25519PrivateKey.generate()
    private = kem.private_bytes_raw() + curve.private_bytes_raw()
    public = kem.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()
    (folder / "supervisor-demo").mkdir(mode=0o700)
    write_new(folder / "supervisor-demo/supervisor-demo.private.hex", private.hex().encode() + b"\n", private=True)
    write_new(folder / "supervisor-demo/supervisor-demo.public.hex", public.hex().encode() + b"\n", private=False)
    return "supervisor-demo/supervisor-demo.public.hex"


def _config(plan: InitPlan, supervisor: str) -> str:
    try:
        port = settings.address_of(plan.listen).port
    except ValueError:
        raise HandslagError("HS-SETTINGS-INVALID", field="listen") from None
    host = plan.hosts[0]
    url = f"https://{settings.Address(host, port)}"
    return f"""\
# The broker's whole configuration. Paths are relative to this file; `handslag config check` proves it.
origin = "{plan.origin}"            # name of the audit log, for ever
url = "{url}"                       # where connectors reach the gateway
listen = "{plan.listen}"
data_dir = "data"
store = "sqlite"
stream = "embedded"
beat_seconds = 10.0                 # one block of the audit log a beat, with or without traffic
lease_seconds = 60.0                # a fetched delivery not acknowledged by then is handed over again

log_key_file = "keys/log.key"       # signs checkpoints; Ed25519, PKCS #8
root_key_file = "keys/root.key"     # wraps the key of every seat; keep it out of every backup of data/
supervisor_key_file = "{supervisor}"

[tls]
certificate_file = "tls/demo-server.pem"
key_file = "tls/demo-server.key"
client_ca_file = "tls/demo-ca.pem"  # for demonstrations; see tls/READ-ME-demo.txt

[admission]                         # what `handslag agency admit` signs certificates with
ca_certificate_file = "tls/demo-ca.pem"
ca_key_file = "tls/demo-ca.key"

[administration]                    # two must sign every act; here both keys of the DEMONSTRATION: take them out
first_key_file = "administrators-demo/first.key"
second_key_file = "administrators-demo/second.key"

[operations]
listen = "{plan.operations}"           # health and metrics in plain HTTP: keep it on the loopback address
"""
