"""TLS 1.3 with client certificates, and which unit a certificate speaks for."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from cryptography import x509

from broker import pki
from broker.gateway.port import Core
from broker.settings import TlsSettings
from schemas.errors import HandslagError


def server_context(files: TlsSettings) -> ssl.SSLContext:
    """A server context that speaks TLS 1.3 only and asks every client for a certificate of `client_ca_file`.

    No session tickets: a resumed session would skip the check of the certificate (RFC 8446 section 2.2).
    Raises `HS-SETTINGS-INVALID`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.num_tickets = 0
    try:
        context.load_verify_locations(cafile=files.client_ca_file)
    except (OSError, ValueError):
        raise HandslagError("HS-SETTINGS-INVALID", field="tls.client_ca_file") from None
    reload_certificate(context, files)
    return context


def reload_certificate(context: ssl.SSLContext, files: TlsSettings) -> None:
    """Take a renewed server certificate for new connections, without a restart; raises `HS-SETTINGS-INVALID`."""
    try:
        context.load_cert_chain(files.certificate_file, files.key_file)
    except (OSError, ValueError):
        raise HandslagError("HS-SETTINGS-INVALID", field="tls.certificate_file") from None


def ends_s(path: Path) -> float:
    """When the certificate in a PEM file ends, seconds since 1970; raises `HS-SETTINGS-INVALID`."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc.timestamp()
    except (OSError, ValueError):
        raise HandslagError("HS-SETTINGS-INVALID", field="tls") from None


async def authenticated_unit(core: Core, transport: asyncio.BaseTransport | None) -> str:
    """The unit whose certificate opened this connection; raises `HS-UNIT-UNKNOWN`.

    Asked at every call: a connection outlives neither a revocation nor the certificate's own last day. A certificate
    that names a unit must name the one it was admitted for.
    """
    # INVARIANT: test_a_connection_does_not_outlive_a_revocation
    connection = None if transport is None else transport.get_extra_info("ssl_object")
    der = None if connection is None else connection.getpeercert(binary_form=True)
    if not der:
        raise HandslagError("HS-UNIT-UNKNOWN")
    unit = await core.unit_of(hashlib.sha256(der).digest())
    if unit is None:
        raise HandslagError("HS-UNIT-UNKNOWN")
    named, ends = _read(der)
    if ends < datetime.now(UTC) or named not in {None, unit}:
        raise HandslagError("HS-UNIT-UNKNOWN")
    return unit


@lru_cache(maxsize=1024)  # one certificate a connector, read at every call
def _read(der: bytes) -> tuple[str | None, datetime]:
    """The unit a certificate names and its last moment."""
    certificate = x509.load_der_x509_certificate(der)
    return pki.named_unit(certificate), certificate.not_valid_after_utc
