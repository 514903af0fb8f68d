"""Gathering what lies on this machine. Changes nothing but two scratch files in the data folder, removed at once."""

from __future__ import annotations

import json
import os
import shutil
import stat
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from connectors import highwater, identity, keys, trust
from connectors.box import DataKey
from connectors.doctor.facts import CertificateFacts, LocalFacts, SpoolFacts, TrustFacts
from connectors.settings import Settings
from connectors.slots import WEEKLY
from connectors.spool import alone
from connectors.spool.look import locks, look
from schemas.errors import HandslagError

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_ADAPTER = ("in", "out", "receipts")
_LOOKED_AT = 20  # files of the out folder: enough to see who writes there
_PROBE_BYTES = 64 * 1024


def gather(settings: Settings, config: Path, now: datetime) -> LocalFacts:
    """Everything that can be seen without the network. `now` is this machine's clock (UTC).

    Raises `HS-DOCTOR-BLIND` where this account may not read what it should examine.
    """
    _sighted(settings)
    data_dir = settings.data_dir if settings.data_dir.is_dir() else None
    running, other = _runner(settings.data_dir, config)
    return LocalFacts(
        now=now,
        instance=settings.instance,
        certificate=_certificate(settings),
        files=_files(settings),
        folders=_folders(settings),
        same=_same(settings.folder),
        swapped=_swapped(settings.folder / "out"),
        trust=_trust(settings),
        spool=_spool(settings),
        marker=highwater.marker(settings.folder / highwater.FILE),
        running=running,
        running_other=other,
        locks=locks(data_dir) if data_dir else None,
        free_bytes=_free(data_dir) if data_dir else None,
        writable=_writable(data_dir) if data_dir else None,
        weekly=settings.slots == WEEKLY,
    )


def _sighted(settings: Settings) -> None:
    """What another account may not read is not damaged: nothing seen is neither sound nor a fault."""
    # INVARIANT: test_a_doctor_that_may_not_read_does_not_call_it_a_fault
    for folder in (settings.keys_dir, settings.data_dir, settings.folder):
        if folder.is_dir() and not os.access(folder, os.R_OK | os.X_OK):
            raise HandslagError("HS-DOCTOR-BLIND", field="folder")
    files = (settings.data_key, settings.certificate_key, settings.unit_signing_key, settings.unit_hpke_key)
    if any(path.exists() and not os.access(path, os.R_OK) for path in (*files, settings.database)):
        raise HandslagError("HS-DOCTOR-BLIND", field="file")


def _files(settings: Settings) -> dict[str, str]:
    secret = {
        "certificate_key": settings.certificate_key,
        "keys/data.key": settings.data_key,
        "keys/unit-signing.key": settings.unit_signing_key,
        "keys/unit-hpke.key": settings.unit_hpke_key,
    }
    found = {name: _mode(path) for name, path in secret.items()}
    if found["keys/data.key"] == "ok":
        found["keys/data.key"] = "ok" if _loads(lambda: DataKey.load(settings.data_key)) else "damaged"
    pair = (settings.unit_signing_key, settings.unit_hpke_key)
    if {found["keys/unit-signing.key"], found["keys/unit-hpke.key"]} == {"ok"} and not _loads(
        lambda: identity.load_unit_keys(*pair)
    ):
        found["keys/unit-signing.key"] = "damaged"
    if found["certificate_key"] == "ok" and _private_key(settings.certificate_key) is None:
        found["certificate_key"] = "damaged"
    return found


def _loads(read: object) -> bool:
    assert callable(read)
    try:
        read()
    except HandslagError:
        return False
    return True


def _mode(path: Path) -> str:
    try:
        found = path.stat()
        return "open" if os.name == "posix" and found.st_mode & _OTHERS else "ok"
    except OSError:
        return "missing"


def _folders(settings: Settings) -> dict[str, str]:
    """A folder that the first run makes by itself may be missing before it."""
    found = {}
    named = {"keys_dir": settings.keys_dir, "data_dir": settings.data_dir, "folder": settings.folder}
    named |= {f"folder/{name}": settings.folder / name for name in _ADAPTER}
    for name, path in named.items():
        if path.is_dir():
            found[name] = _mode(path)
        else:
            found[name] = "missing" if path.exists() or path.is_symlink() or name == "keys_dir" else "ok"
    return found


def _same(folder: Path) -> str:
    places: dict[Path, str] = {}
    for name in _ADAPTER:
        place = (folder / name).resolve()
        if (folder / name).is_dir() and place in places:
            return f"{places[place]} = {name}"
        places[place] = name
    return ""


def _swapped(out: Path) -> bool:
    """Whether a file in `out` is a command: its value of `do` is not looked at, only that there is one."""
    try:
        paths = sorted(path for path in out.iterdir() if not path.name.startswith("."))[:_LOOKED_AT]
        values = [json.loads(path.read_bytes()) for path in paths if path.suffix == ".json"]
    except (OSError, ValueError, RecursionError):
        return False
    return any(isinstance(value, dict) and "do" in value and "kind" not in value for value in values)


def _private_key(path: Path) -> serialization.PublicFormat | object | None:
    try:
        return serialization.load_pem_private_key(path.read_bytes(), None).public_key()
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):
        return None


def _certificate(settings: Settings) -> CertificateFacts | None:
    try:
        certificate = x509.load_pem_x509_certificate(settings.certificate.read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except (OSError, ValueError, x509.ExtensionNotFound):
        return None
    held = _private_key(settings.certificate_key)
    authority = _authority(settings.ca)
    return CertificateFacts(
        begins=certificate.not_valid_before_utc,
        ends=certificate.not_valid_after_utc,
        names_unit=uris == ["handslag:unit:" + quote(settings.unit, safe="/")],
        key_fits=None if held is None else held == certificate.public_key(),
        issued_by_ca=None if not authority else any(_issued(certificate, each) for each in authority),
        ca_ends=max((each.not_valid_after_utc for each in authority), default=None),
        ca_notes=tuple(str(name.value) for each in authority for name in each.subject if "NOT FOR" in str(name.value)),
    )


def _authority(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError):
        return []


def _issued(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _trust(settings: Settings) -> TrustFacts | None:
    """None when there is no list; a list that cannot be read counts as one that was changed."""
    if not settings.trust_file.exists() or not settings.trust_fingerprint:
        return None
    try:
        listed = trust.parse(settings.trust_file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, HandslagError):
        return TrustFacts(configured=True, fingerprint=False, every_signature_holds=False, signers=0, origin=True)
    listed_keys = {each.agency: each.signing_key for each in listed.statement.agencies}
    data = listed.statement.to_bytes()
    holding = [
        _loads(lambda agency=agency, one=one: keys.verify(listed_keys[agency], one, data))
        for agency, one in listed.signatures.items()
        if agency in listed_keys
    ]
    return TrustFacts(
        configured=True,
        fingerprint=listed.fingerprint.hex() == settings.trust_fingerprint,
        every_signature_holds=all(holding) and len(holding) == len(listed.signatures),
        signers=sum(holding),
        origin=listed.statement.origin == settings.origin,
    )


def _spool(settings: Settings) -> SpoolFacts:
    if not settings.database.exists():
        return SpoolFacts(state="absent")
    try:
        key = DataKey(settings.data_key.read_bytes())
    except (OSError, HandslagError):
        key = None
    found = look(settings.database, key, (highwater.NAME, "halt", "checkpoint", "backup"))
    high = found.values.get(highwater.NAME)
    return SpoolFacts(
        state=found.state,
        backed_up="backup" in found.values,
        high_water=highwater.number(high) if found.state == "ok" and key is not None else None,
        halted=bool(found.values.get("halt")),
        note=found.values.get("checkpoint"),
        newest=_newest(settings.data_dir),
    )


def _newest(folder: Path) -> datetime | None:
    """When a file of the data folder was written last: a clock before it went back since."""
    try:
        stamps = [path.stat().st_mtime for path in folder.glob("connector.db*")]
    except OSError:
        return None
    return datetime.fromtimestamp(max(stamps), UTC) if stamps else None


def _runner(data_dir: Path, config: Path) -> tuple[bool, bool]:
    if not data_dir.is_dir() or not (data_dir / alone.LOCK).exists():
        return False, False
    if not alone.held(data_dir):
        return False, False
    told = alone.configuration_of(data_dir)
    return True, told is not None and told != alone.name_of(config)


def _free(folder: Path) -> int | None:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def _writable(folder: Path) -> bool:
    path = folder / f".room-{uuid4().hex}"
    try:
        with path.open("wb") as file:
            file.write(bytes(_PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        return False
    finally:
        path.unlink(missing_ok=True)
    return True
