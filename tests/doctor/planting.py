"""What a plant is: a fault put into a copy of a site that has run, with what the page docs/faults.md says of it.

A plant spoils a copy, or starts what is in the way (an endpoint, a process), and gives the configuration to examine.
The doctor must then name exactly the fault, and of what follows at least nothing undeclared.
"""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from broker import pki
from tests.doctor.site import (
    NOW,
    Report,
    Site,
    apart,
    copy_data,
    here,
    seen,
    set_line,
    until,
)

DAY = dt.timedelta(days=1)
UNIT = "SOC/EXEMPEL/KONSULT"


@dataclass
class Sick:
    """What to examine: a configuration, what the machine has besides, and further words of the command."""

    config: Path
    environment: dict[str, str] = field(default_factory=dict)
    words: tuple[str, ...] = ()


Plant = Callable[[Site, ExitStack], Sick]


@dataclass(frozen=True)
class Seeded:
    """A plant with what the page says of it: side, the faults to be named, and those that may follow."""

    name: str
    side: str
    plant: Plant
    faults: frozenset[str]
    follow: frozenset[str]

    def examined(self, site: Site) -> Report:
        """Plant it and ask the doctor, in a process of its own where the machine itself is wrong."""
        with ExitStack() as stack:
            sick = self.plant(site, stack)
            words = (*(("connector", "doctor") if self.side == "connector" else ("doctor",)), "--config", sick.config)
            if sick.environment:
                return apart(sick.environment, *words, *sick.words)
            return here(*words, *sick.words)


SEEDED: dict[str, Seeded] = {}


def plants(side: str, *faults: str, follow: tuple[str, ...] = ()) -> Callable[[Plant], Plant]:
    def kept(plant: Plant) -> Plant:
        name = f"{side} {plant.__name__.replace('_', ' ')}"
        SEEDED[name] = Seeded(name, side, plant, frozenset(faults), frozenset(follow))
        return plant

    return kept


def over(authority: pki.Authority) -> x509.Certificate:
    """The same authority with a certificate of two years ago."""
    old = authority.certificate
    builder = x509.CertificateBuilder(
        subject_name=old.subject, issuer_name=old.issuer, public_key=old.public_key(), serial_number=1,
        not_valid_before=NOW - 800 * DAY, not_valid_after=NOW - 400 * DAY,
    )  # fmt: skip
    for extension in old.extensions:
        builder = builder.add_extension(extension.value, critical=extension.critical)
    return builder.sign(authority.key, hashes.SHA256())


def went_back(site: Site, stack: ExitStack, *, anchor: bool) -> tuple[Path, Path, Any]:
    """A broker of its own whose store was put back, and a connector that saw more; the old anchor too where asked."""
    broker, config = site.broker(), site.connector()
    gateway = broker.read_text().split('url = "https://127.0.0.1:')[1].split('"')[0]
    set_line(config, "broker_url", f'"https://127.0.0.1:{gateway}"')
    set_line(config, "poll_s", "0.3")
    copy_data(broker.parent / "data", broker.parent / "old")
    process = site.serve(broker)
    with site.run(config):
        for _beat in range(6):  # more than the old one gains when it starts again
            before = seen(config)
            until(lambda before=before: seen(config) > before)
    process.__exit__(None, None, None)
    kept = (broker.parent / "data/anchor").read_bytes()
    shutil.rmtree(broker.parent / "data")
    (broker.parent / "old").rename(broker.parent / "data")
    if not anchor:
        (broker.parent / "data/anchor").write_bytes(kept)
        (broker.parent / "data/anchor").chmod(0o600)
    return broker, config, process
