"""Certificates for a Kafka cluster on this machine: an authority of its own, servers, and clients.

Who is who in Kafka is the subject of the certificate (its distinguished name), so each has one of its own.
"""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAYS = timedelta(days=30)
_EARLIER = timedelta(minutes=5)
SERVERS = "kafka-local"
NODES = "handslag-local"


class Authority:
    """An authority; `folder` holds its certificate `ca.pem` and all that it issues, its key stays in memory."""

    def __init__(self, folder: Path, name: str = "kafka-local CA") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = _builder(self._name, self._name, self._key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self.file = folder / "ca.pem"
        self.file.write_bytes(_pem(builder.sign(self._key, hashes.SHA256())))

    def issue(self, name: str, unit: str, *, server: bool = False) -> tuple[Path, Path]:
        """(certificate, key) files of CN=`name`, OU=`unit`; a server's is also a client's, for its like."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
                x509.NameAttribute(NameOID.COMMON_NAME, name),
            ]
        )
        builder = _builder(subject, self._name, key.public_key())
        purposes = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if server:
            purposes.append(ExtendedKeyUsageOID.SERVER_AUTH)
            here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))])
            builder = builder.add_extension(here, critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        certificate_file, key_file = self._folder / f"{unit}-{name}.pem", self._folder / f"{unit}-{name}.key"
        certificate_file.write_bytes(_pem(builder.sign(self._key, hashes.SHA256())))
        key_file.touch(mode=0o600)
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return certificate_file, key_file


def properties(authority: Path, certificate: Path, key: Path) -> str:
    """The lines of a Kafka properties file for one end of a connection; both halves go into one file beside the key."""
    both = key.with_suffix(".both.pem")
    both.touch(mode=0o600)
    both.write_bytes(key.read_bytes() + certificate.read_bytes())
    return (
        f"ssl.keystore.type=PEM\nssl.keystore.location={both}\n"
        f"ssl.truststore.type=PEM\nssl.truststore.location={authority}\n"
        "ssl.protocol=TLSv1.3\nssl.enabled.protocols=TLSv1.3\n"
    )


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key)
    return (
        builder.serial_number(x509.random_serial_number()).not_valid_before(now - _EARLIER).not_valid_after(now + _DAYS)
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
