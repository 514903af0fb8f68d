"""`probe.toml`: intervals, the address of the metrics, and where the two connectors lie."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

from broker.settings import Address, address_of
from schemas.errors import HandslagError


@dataclass(frozen=True, slots=True)
class ProbeSettings:
    """Everything the probe is told. Seconds where a name ends in `_s`; `folder` is where the file lies."""

    folder: Path
    listen: str = "127.0.0.1:9465"
    interval_s: float = 30.0
    withdrawal_every_s: float = 180.0
    patience_s: float = 15.0
    poll_s: float = 2.0
    renew_s: float = 86_400.0

    @property
    def address(self) -> Address:
        """Where the metrics are served."""
        return address_of(self.listen)

    @property
    def sender(self) -> Path:
        """Configuration of the sending connector."""
        return self.folder / "sender" / "connector.toml"

    @property
    def recipient(self) -> Path:
        """Configuration of the receiving connector."""
        return self.folder / "recipient" / "connector.toml"

    @property
    def evidence(self) -> Path:
        """What arrived and must not have, one file each."""
        return self.folder / "evidence"


def load(path: Path) -> ProbeSettings:
    """Read `probe.toml`; raises `HS-CONFIG-INVALID` naming the field, never its value."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise HandslagError("HS-CONFIG-INVALID", field="file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise HandslagError("HS-CONFIG-INVALID", field="toml") from None
    known = {each.name for each in fields(ProbeSettings)} - {"folder"}
    if set(raw) - known:
        raise HandslagError("HS-CONFIG-INVALID", field="unknown key")
    for name, value in raw.items():
        number = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 31_622_400
        if not (isinstance(value, str) if name == "listen" else number):
            raise HandslagError("HS-CONFIG-INVALID", field=name)
    settings = ProbeSettings(path.resolve().parent, **raw)
    try:
        address_of(settings.listen)
    except ValueError:
        raise HandslagError("HS-CONFIG-INVALID", field="listen") from None
    return settings
