"""Configuration of a connector: one TOML file, unknown keys refused, secrets by file reference only.

Paths are relative to the file's own folder, so that the whole folder can be moved.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from connectors.slots import OFFSET_US, WEEK_US, Slots
from schemas.errors import HandslagError
from schemas.identifiers import checked_unit


class Settings(BaseSettings):
    """Everything a connector is told. Seconds where a name ends in `_s`."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True)

    unit: str
    agency: str
    controller: str
    broker_url: str
    further_urls: tuple[str, ...] = ()  # of the broker's other nodes, asked in this order when one does not answer
    origin: str
    instance: int = Field(default=1, ge=1)
    data_dir: Path = Path("data")
    keys_dir: Path = Path("keys")
    certificate: Path = Path("keys/certificate.pem")
    certificate_key: Path = Path("keys/certificate.key")
    ca: Path = Path("keys/ca.pem")
    trust_file: Path = Path("trust.toml")
    trust_fingerprint: str = Field(pattern=r"^([0-9a-f]{64})?$")
    folder: Path = Path("folder")
    texts_dir: Path | None = None  # the agency's own information texts, with their index.toml
    backup_dir: Path = Path("backup")
    backups_kept: int = Field(default=14, ge=1)
    backup_hours: float = Field(default=24.0, gt=0)
    poll_s: float = Field(default=2.0, gt=0, le=60)
    wait_s: float = Field(default=0.0, ge=0, le=20)
    directory_s: float = Field(default=60.0, gt=0)
    proof_alarm_s: float = Field(default=600.0, gt=0)
    accept: Literal["automatic", "explicit"] = "explicit"
    regime: Literal["GDPR", "BDL"] = "GDPR"
    actor_ref: str = Field(default="CONNECTOR", max_length=64)
    # Shorter than a week in tests and shows only; every connector of a case must be told the same.
    slot_s: float = Field(default=WEEK_US / 1e6, ge=1, le=WEEK_US / 1e6)
    slot_offset_s: float = Field(default=OFFSET_US / 1e6, ge=0, le=WEEK_US / 1e6)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is the library's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only the file counts: an environment variable that changes a connector is a surprise nobody reviews."""
        return (init_settings,)

    @field_validator("unit")
    @classmethod
    def _unit(cls, value: str) -> str:
        try:
            return checked_unit(value)
        except HandslagError:
            raise ValueError("unit") from None

    @field_validator("broker_url")
    @classmethod
    def _url(cls, value: str) -> str:
        if value and not value.startswith("https://"):
            raise ValueError("https only")
        return value.rstrip("/")

    @field_validator("further_urls")
    @classmethod
    def _urls(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(url.startswith("https://") for url in value):
            raise ValueError("https only")
        return tuple(url.rstrip("/") for url in value)

    @property
    def broker_urls(self) -> tuple[str, ...]:
        """Every address of the broker, the first one first."""
        return tuple(dict.fromkeys((self.broker_url, *self.further_urls)))

    @property
    def slots(self) -> Slots:
        """When seat keys rotate."""
        return Slots(round(self.slot_s * 1e6), round(self.slot_offset_s * 1e6))

    @property
    def database(self) -> Path:
        """The SQLite file of spool and identities."""
        return self.data_dir / "connector.db"

    @property
    def data_key(self) -> Path:
        """Key of everything at rest."""
        return self.keys_dir / "data.key"

    @property
    def unit_signing_key(self) -> Path:
        """Ed25519 private key of the unit, 32 raw bytes."""
        return self.keys_dir / "unit-signing.key"

    @property
    def unit_hpke_key(self) -> Path:
        """HPKE private key of the unit, 96 raw bytes."""
        return self.keys_dir / "unit-hpke.key"


_PATHS = ("data_dir", "keys_dir", "certificate", "certificate_key", "ca", "trust_file", "folder", "backup_dir")


def load(path: Path) -> Settings:
    """Read `connector.toml`; raises `HS-CONFIG-INVALID` naming the field, never its value."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise HandslagError("HS-CONFIG-INVALID", field="file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise HandslagError("HS-CONFIG-INVALID", field="toml") from None
    try:
        settings = Settings(**raw)
    except ValidationError as error:
        first = error.errors()[0]
        known = first["type"] != "extra_forbidden" and first["loc"]
        raise HandslagError("HS-CONFIG-INVALID", field=str(first["loc"][0]) if known else "unknown key") from None
    base = path.resolve().parent
    paths = [*_PATHS, *(["texts_dir"] if settings.texts_dir is not None else [])]
    return settings.model_copy(update={name: base / getattr(settings, name) for name in paths})
