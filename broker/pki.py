"""The demonstration certificate authority of `handslag init`, and the name of a unit in a certificate.

It exists so that a first hour needs no other authority, and says so in every subject and file name. An agency's own
authority takes its place by `tls.client_ca_file`; a certificate counts by its SHA-256, whoever signed it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import quote, unquote

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from schemas.errors import HandslagError
from schemas.identifiers import checked_unit

WARNING = "DEMONSTRATION ONLY - NOT FOR PERSONAL DATA"
_SCHEME = "handslag:unit:"
_BEFORE = timedelta(minutes=5)  # clocks of two agencies differ
CA_DAYS = 365
LEAF_DAYS = 90


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority: its certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        """Its certificate in PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)


def new_key() -> ec.EllipticCurvePrivateKey:
    """A fresh P-256 key; every TLS library in use verifies it."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The private key, PKCS #8 in PEM, not encrypted: the file's mode protects it."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def new_authority(now: datetime) -> Authority:
    """A demonstration authority, valid for a year from `now` (UTC)."""
    key = new_key()
    subject = _subject("Handslag demonstration CA")
    builder = _builder(subject, subject, key.public_key(), now, CA_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(sign_certificates=True), critical=True)
    return Authority(builder.sign(key, hashes.SHA256()), key)


def load_authority(certificate: bytes, key: bytes) -> Authority:
    """An authority from its two PEM texts; raises `HS-CERTIFICATE-INVALID`."""
    try:
        loaded = serialization.load_pem_private_key(key, password=None)
        parsed = x509.load_pem_x509_certificate(certificate)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise HandslagError("HS-CERTIFICATE-INVALID", field="authority") from None
    if not isinstance(loaded, ec.EllipticCurvePrivateKey) or parsed.public_key() != loaded.public_key():
        raise HandslagError("HS-CERTIFICATE-INVALID", field="authority")
    return Authority(parsed, loaded)


def server_certificate(
    authority: Authority, key: ec.EllipticCurvePrivateKey, hosts: Sequence[str], now: datetime
) -> x509.Certificate:
    """A server certificate for DNS names and IP addresses, 90 days; raises `HS-CERTIFICATE-INVALID`."""
    if not hosts:
        raise HandslagError("HS-CERTIFICATE-INVALID", field="host")
    names = x509.SubjectAlternativeName([_host(host) for host in hosts])
    return _leaf(
        authority, key.public_key(), "Handslag demonstration server", names, ExtendedKeyUsageOID.SERVER_AUTH, now
    )


def renewed_server_certificate(authority: Authority, before_pem: bytes, key_pem: bytes, now: datetime) -> bytes:
    """A server certificate in PEM for the names and the key of the one before, 90 days.

    Raises `HS-CERTIFICATE-INVALID` when the two do not belong together.
    """
    try:
        before = x509.load_pem_x509_certificate(before_pem)
        key = serialization.load_pem_private_key(key_pem, password=None)
        names = before.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.ExtensionNotFound):
        raise HandslagError("HS-CERTIFICATE-INVALID", field="server") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or before.public_key() != key.public_key():
        raise HandslagError("HS-CERTIFICATE-INVALID", field="server")
    hosts = [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]
    return server_certificate(authority, key, hosts, now).public_bytes(serialization.Encoding.PEM)


def client_certificate(authority: Authority, csr_pem: bytes, unit: str, now: datetime) -> x509.Certificate:
    """A client certificate for the unit that the request names, 90 days.

    Of the request only the key and the name count; whatever else it asks for is left out. Raises
    `HS-CERTIFICATE-INVALID` when the request does not verify, has a weak key or names another unit.
    """
    # INVARIANT: test_a_request_for_another_unit_is_refused
    try:
        csr = x509.load_pem_x509_csr(csr_pem)
        genuine = csr.is_signature_valid
        key = csr.public_key()
        names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature, x509.ExtensionNotFound):
        raise HandslagError("HS-CERTIFICATE-INVALID", field="csr_pem") from None
    strong = isinstance(key, ed25519.Ed25519PublicKey) or (
        isinstance(key, ec.EllipticCurvePublicKey) and key.curve.key_size >= 256
    )
    if not genuine or not strong or [_unit_in(str(name.value)) for name in names] != [unit]:
        raise HandslagError("HS-CERTIFICATE-INVALID", field="csr_pem")
    assert isinstance(key, ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey)
    uri = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(unit_uri(unit))])
    return _leaf(authority, key, "Handslag demonstration unit", uri, ExtendedKeyUsageOID.CLIENT_AUTH, now)


def unit_uri(unit: str) -> str:
    """The URI that names a unit in a certificate; Å, Ä and Ö are percent-encoded (RFC 3986 section 2.1)."""
    return _SCHEME + quote(checked_unit(unit), safe="/")


def said_of_itself(file: Path) -> tuple[str, ...]:
    """What an authority's certificate file says against its use: `WARNING`, or nothing."""
    try:
        subject = x509.load_pem_x509_certificate(file.read_bytes()).subject
    except (OSError, ValueError):
        return ()
    return (WARNING,) if any(name.value == WARNING for name in subject) else ()


def named_unit(certificate: x509.Certificate) -> str | None:
    """The unit a certificate names, None when it names none; a certificate of two units names ''."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return None
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    units = [unit for unit in map(_unit_in, uris) if unit is not None]
    if not units:
        return None
    return units[0] if len(units) == 1 else ""


def _unit_in(uri: str) -> str | None:
    return unquote(uri.removeprefix(_SCHEME)) if uri.startswith(_SCHEME) else None


def _subject(common_name: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, WARNING), x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host.encode("idna").decode("ascii"))
    except (ValueError, UnicodeError):
        raise HandslagError("HS-CERTIFICATE-INVALID", field="host") from None


_Public = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


def _builder(subject: x509.Name, issuer: x509.Name, key: _Public, now: datetime, days: int) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - _BEFORE).not_valid_after(now + timedelta(days=days))
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _leaf(
    authority: Authority,
    key: _Public,
    common_name: str,
    names: x509.SubjectAlternativeName,
    purpose: x509.ObjectIdentifier,
    now: datetime,
) -> x509.Certificate:
    builder = _builder(_subject(common_name), authority.certificate.subject, key, now, LEAF_DAYS)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(sign_certificates=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    builder = builder.add_extension(issuer, critical=False).add_extension(names, critical=False)
    return builder.sign(authority.key, hashes.SHA256())


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )
