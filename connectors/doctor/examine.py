"""The doctor's whole way: read the configuration, gather, check, tell causes from what follows."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

from connectors import settings as configuration
from connectors.doctor import checks, local, remote
from schemas.faults import Told, diagnosis


def examine(config: Path, *, network: bool) -> tuple[list[Told], bool]:
    """What is wrong, and whether the network was looked at: it is not before there is a broker to call.

    Raises `HS-CONFIG-INVALID` when the configuration itself cannot be read: then nothing could be looked at.
    `HS-DOCTOR-BLIND` likewise.
    """
    settings = configuration.load(config)
    now = datetime.fromtimestamp(time.time(), UTC)
    facts = local.gather(settings, config, now)
    seen = remote.gather(settings, facts.spool.note) if network and settings.broker_url else None
    return diagnosis(checks.findings(facts, seen)), seen is not None
