"""Configuration of the broker: one TOML file, unknown keys refused, secrets by the name of their file only.

Paths are relative to the file's own folder, so that the whole folder can be moved. Environment variables change
nothing: a broker does what its file says.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from broker.disk import BALLAST, RESERVE
from broker.engine_settings import StoreSettings, StreamSettings
from schemas.errors import HandslagError
from schemas.weeks import OFFSET_US, WEEK_US

# A key that asks for a secret itself, or a value that looks like one, whatever key it stands under.
_SECRET_KEY = re.compile(r"(key|secret|password|token|credential|passphrase)s?$", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"-----BEGIN|[0-9a-fA-F]{64}|[A-Za-z0-9+/]{43}=|[a-z]+://[^/@\s]*:[^/@\s]+@")
_PLAIN = re.compile(r"[a-z][a-z_]{0,31}(\.[a-z][a-z_]{0,31})*", re.ASCII)  # what is repeated of an unknown key
_URL = re.compile(r"^https://[^/\s@]+$")
_ORIGIN = re.compile(r"[a-z0-9]([a-z0-9.-]{0,200}[a-z0-9])?(:[0-9]{1,5})?(/[A-Za-z0-9._-]{1,32}){1,4}", re.ASCII)


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def address_of(text: str) -> Address:
    """`host:port` or `[IPv6]:port`; raises ValueError without repeating the text."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        host = ""
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("host:port")
    return Address(host, int(port))


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TlsSettings(_Part):
    """PEM files: the server's certificate and key, and the authority that signs the units' certificates."""

    certificate_file: Path
    key_file: Path
    client_ca_file: Path


class AdministrationSettings(_Part):
    """Keys of two administrators on this machine: for demonstrations, where one person plays both."""

    first_key_file: Path | None = None
    second_key_file: Path | None = None


class OperationsSettings(_Part):
    """Where health and metrics are served, in plain HTTP: leave it on the loopback address."""

    listen: str = "127.0.0.1:9464"

    @field_validator("listen")
    @classmethod
    def _listen(cls, value: str) -> str:
        return str(address_of(value))

    @property
    def address(self) -> Address:
        """The address to listen on."""
        return address_of(self.listen)


class AdmissionSettings(_Part):
    """The demonstration authority that `agency admit` signs with; absent where an authority of your own does it."""

    ca_certificate_file: Path
    ca_key_file: Path


class QuotaSettings(_Part):
    """Bounds per unit (docs/protocol.md, "Quotas"); what is urgent has `urgent_per_minute` beyond all others."""

    calls_per_second: float = Field(default=100, ge=1)
    fetches_per_second: float = Field(default=20, ge=0.1)
    queries_per_minute: float = Field(default=60, ge=1)
    submissions_per_minute: float = Field(default=6_000, ge=1)
    bytes_per_minute: float = Field(default=64 * 1024 * 1024, ge=1024 * 1024)
    stream_submissions: int = Field(default=6_000, ge=1)
    stream_bytes: int = Field(default=64 * 1024 * 1024, ge=1024 * 1024)
    urgent_per_minute: float = Field(default=600, ge=10)


class BackupSettings(_Part):
    """For how many days a copy of this broker may still lie somewhere; after that nothing erased comes back."""

    horizon_days: int = Field(default=35, ge=1, le=3650)


class ConnectionSettings(_Part):
    """Connections of one node, counted before TLS; `seconds` from accept to the first authenticated call."""

    most: int = Field(default=800, ge=8)
    unproven: int = Field(default=256, ge=4)
    unproven_of_address: int = Field(default=64, ge=2)
    of_unit: int = Field(default=64, ge=2)
    seconds: float = Field(default=15.0, ge=1, le=120)


class DiskSettings(_Part):
    """Bytes on the data disk kept for what must get in, and the part of them that a ballast file holds."""

    reserve_bytes: int = Field(default=RESERVE, ge=4 * 1024 * 1024)
    ballast_bytes: int = Field(default=BALLAST, ge=0)


class BrokerSettings(BaseSettings):
    """Everything the broker is told. Seconds where a name ends in `_seconds`."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True)

    origin: str
    url: str = Field(pattern=_URL.pattern)
    further_urls: tuple[str, ...] = ()  # of the other nodes on this store, as agencies are told them
    listen: str
    data_dir: Path
    log_key_file: Path
    root_key_file: Path
    supervisor_key_file: Path
    beat_seconds: float = Field(default=10.0, ge=0.05, le=3600)
    lease_seconds: float = Field(default=60.0, ge=1, le=3600)
    wait_seconds: float = Field(default=20.0, ge=0, le=20)
    # Shorter than a week in tests and shows only, and then as every connector is told (`slot_s`).
    slot_seconds: float = Field(default=WEEK_US / 1e6, ge=1, le=WEEK_US / 1e6)
    slot_offset_seconds: float = Field(default=OFFSET_US / 1e6, ge=0, le=WEEK_US / 1e6)
    texts_index: Path | None = None  # index.toml of agencies' own information texts: hashes, no words
    store: StoreSettings = StoreSettings()
    stream: StreamSettings = StreamSettings()
    tls: TlsSettings
    operations: OperationsSettings = OperationsSettings()
    admission: AdmissionSettings | None = None
    administration: AdministrationSettings | None = None
    quotas: QuotaSettings = QuotaSettings()
    disk: DiskSettings = DiskSettings()
    connections: ConnectionSettings = ConnectionSettings()
    backup: BackupSettings = BackupSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is the library's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The file and nothing else."""
        return (init_settings,)

    @field_validator("origin")
    @classmethod
    def _origin(cls, value: str) -> str:
        if not _ORIGIN.fullmatch(value):
            raise ValueError("host/path")
        return value

    @field_validator("listen")
    @classmethod
    def _listen(cls, value: str) -> str:
        return str(address_of(value))

    @field_validator("further_urls")
    @classmethod
    def _further(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(_URL.fullmatch(url) for url in value):
            raise ValueError("https only")
        return value

    @property
    def address(self) -> Address:
        """The address the gateway listens on."""
        return address_of(self.listen)

    @property
    def database(self) -> Path:
        """The SQLite file of the Store and the Stream; raises `HS-NOT-YET` where the Store is a server."""
        if self.store.engine != "sqlite":
            raise HandslagError("HS-NOT-YET", field="store")
        return self.data_dir / "broker.db"


def load(path: Path) -> BrokerSettings:
    """Read `broker.toml`.

    Raises `HS-SETTINGS-INVALID` naming the setting, `HS-SETTINGS-SECRET` for a secret in the file itself, `HS-NOT-YET`
    for a stream on Apache Kafka beside a store that one node alone can open; none of them repeats a value.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise HandslagError("HS-SETTINGS-INVALID", field="file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise HandslagError("HS-SETTINGS-INVALID", field="toml") from None
    _refuse_secrets(raw)
    try:
        settings = BrokerSettings(**raw)
    except ValidationError as error:
        raise HandslagError("HS-SETTINGS-INVALID", field=_named(error)) from None
    except TypeError:
        raise HandslagError("HS-SETTINGS-INVALID", field="toml") from None
    if settings.stream.engine == "kafka" and settings.store.engine == "sqlite":
        raise HandslagError("HS-NOT-YET", field="stream")
    return _rebased(settings, path.resolve().parent)


def _refuse_secrets(table: dict[str, Any], above: str = "") -> None:
    # INVARIANT: test_an_inline_secret_is_refused
    for key, value in table.items():
        name = above + key
        if isinstance(value, dict):
            _refuse_secrets(value, f"{name}.")
        elif _SECRET_KEY.search(key) or any(_SECRET_VALUE.search(text) for text in _texts(value)):
            raise HandslagError("HS-SETTINGS-SECRET", field=_plain(name))


def _texts(value: Any) -> list[str]:
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return [value] if isinstance(value, str) else []


def _named(error: ValidationError) -> str:
    """Dotted name of the first setting complained about; the file's author wrote it, and it is a name, not a value."""
    first = error.errors(include_input=False, include_context=False)[0]
    return _plain(".".join(str(part) for part in first["loc"]))


def _plain(name: str) -> str:
    return name if _PLAIN.fullmatch(name) and not _SECRET_VALUE.search(name) else "unknown key"


def _rebased(settings: BrokerSettings, base: Path) -> BrokerSettings:
    """The same settings with every path absolute."""
    return settings.model_copy(update=_absolute(settings, base))


def _absolute(part: BaseModel, base: Path) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    for name in type(part).model_fields:
        value = getattr(part, name)
        if isinstance(value, Path):
            changed[name] = base / value
        elif isinstance(value, BaseModel):
            changed[name] = value.model_copy(update=_absolute(value, base))
    return changed
