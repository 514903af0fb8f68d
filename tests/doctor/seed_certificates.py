"""Faults of a connector's certificate and authority."""

from __future__ import annotations

import datetime as dt
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from broker import admissions, control, pki
from tests.doctor.planting import DAY, UNIT, Sick, over, plants
from tests.doctor.site import (
    NOW,
    Site,
    csr,
    pem,
)


@plants("connector", "F-CERT-MISSING")
def no_certificate(site, stack):
    config = site.connector()
    (config.parent / "keys/certificate.pem").unlink()
    return Sick(config)


@plants("connector", "F-CERT-MISSING")
def nonsense_for_an_authority(site, stack):
    config = site.connector()
    (config.parent / "keys/ca.pem").write_text("EXEMPEL")
    return Sick(config)


def issued(
    site: Site, config: Path, unit: str = UNIT, at: dt.datetime = NOW, authority: Any = None
) -> x509.Certificate:
    """A certificate for the connector's key, put in place."""
    certificate = pki.client_certificate(authority or site.authority, csr(config, unit), unit, at)
    (config.parent / "keys/certificate.pem").write_bytes(pem(certificate))
    return certificate


@plants("connector", "F-CERT-EXPIRED", follow=("F-CERT-REFUSED",))
def a_certificate_of_last_year(site, stack):
    config = site.connector()
    issued(site, config, at=NOW - 200 * DAY)
    return Sick(config)


@plants("connector", "F-CERT-EARLY", follow=("F-CERT-REFUSED",))
def a_certificate_of_next_month(site, stack):
    config = site.connector()
    issued(site, config, at=NOW + 30 * DAY)
    return Sick(config)


@plants("connector", "F-CERT-SOON")
def a_certificate_that_ends_next_week(site, stack):
    config, unit = site.extra()
    certificate = issued(site, config, unit, NOW - 83 * DAY)
    data = site.folder / "broker/data"
    (kept,) = [each for each in admissions.load_all(data) if each.unit == unit]
    sha = certificate.fingerprint(hashes.SHA256())
    control.call(data, "admit_together", {"admissions": [replace(kept, certificate_sha256=sha).to_json()]})
    return Sick(config)


@plants("connector", "F-CERT-NAME")
def certificate_and_key_of_another_unit(site, stack):
    config = site.connector()
    for name in ("certificate.pem", "certificate.key"):
        shutil.copy2(site.folder / "syd/keys" / name, config.parent / "keys" / name)
    return Sick(config)


@plants("connector", "F-CERT-NAME", follow=("F-CERT-KEY",))
def certificate_of_another_unit_beside_the_own_key(site, stack):
    config = site.connector()
    shutil.copy2(site.folder / "syd/keys/certificate.pem", config.parent / "keys/certificate.pem")
    return Sick(config)


@plants("connector", "F-CERT-KEY")
def another_key_under_the_certificate(site, stack):
    config = site.connector()
    (config.parent / "keys/certificate.key").write_bytes(pki.key_pem(pki.new_key()))
    return Sick(config)


@plants("connector", "F-CERT-AUTHORITY", follow=("F-TLS-INSPECTION",))
def another_authority_in_the_authority_file(site, stack):
    config = site.connector()
    (config.parent / "keys/ca.pem").write_bytes(pki.new_authority(NOW).pem)
    return Sick(config)


@plants("connector", "F-AUTHORITY-EXPIRED", follow=("F-SERVER-EXPIRED", "F-CERT-REFUSED"))
def an_authority_whose_year_is_over(site, stack):
    config = site.connector()
    (config.parent / "keys/ca.pem").write_bytes(pem(over(site.authority)))
    return Sick(config)


@plants("connector", "F-CERT-REFUSED")
def a_certificate_of_an_authority_the_broker_does_not_know(site, stack):
    config, other = site.connector(), pki.new_authority(NOW)
    issued(site, config, authority=other)
    (config.parent / "keys/ca.pem").write_bytes(site.authority.pem + other.pem)
    return Sick(config)


@plants("connector", "F-UNIT-UNKNOWN")
def a_certificate_that_was_never_admitted(site, stack):
    config = site.connector()
    issued(site, config)
    return Sick(config)
