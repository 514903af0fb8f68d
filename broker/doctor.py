"""`handslag doctor`: what is wrong with this installation, each with who acts and what to type."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

from broker import settings
from broker.diagnosis import checks
from broker.diagnosis.gather import gather
from schemas.faults import Told, diagnosis


def examine(config: Path) -> list[Told]:
    """What is wrong with a broker, on its own machine.

    Raises `HS-SETTINGS-INVALID`, `HS-SETTINGS-SECRET`, `HS-NOT-YET` when the configuration itself cannot be read: then
    nothing could be looked at; and `HS-DOCTOR-BLIND`.
    """
    loaded = settings.load(config)
    return diagnosis(checks.findings(gather(loaded, datetime.fromtimestamp(time.time(), UTC))))
