"""A real gateway on the loopback address with real TLS; only the core behind the port is the test's own."""

from __future__ import annotations

import base64
import hashlib
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from broker import pki
from broker.gateway.server import serve_gateway
from broker.metrics import Metrics
from broker.settings import BrokerSettings
from schemas import calls, instances
from schemas.errors import HandslagError
from schemas.trust_calls import TrustAnswer

UNIT = "SOC/EXEMPEL/KONSULT"
NOTE = "exempel.invalid/audit\n1\nAAAA\n\n— exempel AAAA\n"
AVRO = "application/vnd.handslag.avro"


@dataclass
class CoreForHttpTests:
    """The other side of the port, in memory, for HTTP behaviour only: it answers, and raises what it is told to."""

    admitted: dict[bytes, str] = field(default_factory=dict)
    raises: BaseException | None = None
    reasons: tuple[str, ...] = ()
    newest_instance: int = 1
    saw: list = field(default_factory=list)
    contacts: list = field(default_factory=list)
    asked: list = field(default_factory=list)
    refusals: list = field(default_factory=list)

    async def _answer(self, unit, request, answer):
        self.asked.append((unit, request))
        if self.raises is not None:
            raise self.raises
        return answer

    async def submit(self, unit, request):
        return await self._answer(unit, request, calls.SubmitAnswer(accepted=len(request.submissions), refusals=()))

    async def fetch(self, unit, request):
        return await self._answer(unit, request, calls.FetchAnswer(items=(), heads=()))

    async def ack(self, unit, request):
        return await self._answer(unit, request, calls.AckAnswer(results=()))

    async def consents(self, unit, request):
        answer = calls.ConsentsAnswer(
            call_id=request.call_id,
            ledger_seq=1,
            head=bytes(32),
            recorded_at_us=1,
            counts=(),
            affected=(),
            entry_id=bytes(16),
            leaf_hash=bytes(32),
        )
        return await self._answer(unit, request, answer)

    async def _seat(self, unit, request):
        answer = calls.SeatAnswer(
            call_id=request.call_id,
            seat_id=bytes(16),
            state="ACTIVE",
            ledger_seq=0,
            head=bytes(32),
            entry_id=bytes(16),
            leaf_hash=bytes(32),
        )
        return await self._answer(unit, request, answer)

    open_case = accept = state = close = _seat

    async def invite(self, unit, request):
        return await self._answer(unit, request, None)

    async def announce(self, unit, request):
        answer = instances.InstanceAnswer(instance=2, entry_id=bytes(16), leaf_hash=bytes(32), receipts=0, seats=())
        return await self._answer(unit, request, answer)

    async def compromised(self, unit, request):
        answer = instances.CompromisedAnswer(held=0, entry_id=bytes(16), leaf_hash=bytes(32))
        return await self._answer(unit, request, answer)

    async def ledger_fetch(self, unit, request):
        return await self._answer(unit, request, calls.LedgerPage(events=(), ledger_seq=0, head=bytes(32)))

    async def audit_fetch(self, unit, request):
        answer = calls.AuditPage(entries=(), entry_id=bytes(16), leaf_hash=bytes(32), more=False)
        return await self._answer(unit, request, answer)

    async def proofs(self, unit, request):
        proofs = tuple(calls.LeafProof(leaf_hash=leaf) for leaf in request.leaf_hashes)
        return await self._answer(unit, request, calls.ProofsAnswer(proofs=proofs))

    async def trust(self, unit, request):
        return TrustAnswer(statement=b"EXEMPEL", signatures=())

    async def units(self):
        return await self._answer(None, "units", calls.UnitsAnswer(units=()))

    async def rules(self):
        return b'version = "1"\n'

    async def checkpoint(self):
        return NOTE

    async def tile(self, level, n, width):
        self.asked.append((level, n, width))
        return bytes(32 * width)

    async def readiness(self):
        if self.raises is not None:
            raise self.raises
        return self.reasons

    async def seen(self, unit, instance, note):
        self.saw.append((unit, instance, note))
        if instance < self.newest_instance:
            raise HandslagError("HS-INSTANCE-OLD")

    async def contacted(self, unit, version, clock_us):
        self.contacts.append((unit, version, clock_us))

    async def refused(self, unit, code):
        self.refusals.append((unit, code))

    async def unit_of(self, cert_sha256):
        return self.admitted.get(cert_sha256)


class Pki:
    """Files of one demonstration authority."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.now = datetime.now(UTC)
        self.authority = pki.new_authority(self.now)
        (folder / "ca.pem").write_bytes(self.authority.pem)
        key = pki.new_key()
        certificate = pki.server_certificate(self.authority, key, ["127.0.0.1", "localhost"], self.now)
        (folder / "server.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (folder / "server.key").write_bytes(pki.key_pem(key))

    def client(self, unit: str = UNIT, *, ago: timedelta = timedelta()) -> tuple[ssl.SSLContext, bytes]:
        """A client's TLS context and the SHA-256 of its certificate."""
        key = pki.new_key()
        certificate = pki.client_certificate(self.authority, csr(key, unit), unit, self.now - ago)
        chain = self.folder / f"{certificate.serial_number}.pem"
        chain.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + pki.key_pem(key))
        der = certificate.public_bytes(serialization.Encoding.DER)
        return self.trusting(chain), hashlib.sha256(der).digest()

    def trusting(self, chain: Path | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.folder / "ca.pem")
        if chain is not None:
            context.load_cert_chain(chain)
        return context


def csr(key, *units: str) -> bytes:
    names = [x509.UniformResourceIdentifier(pki.unit_uri(unit)) for unit in units]
    builder = x509.CertificateSigningRequestBuilder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "EXEMPEL")]))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@dataclass
class Line:
    """One connector's way to the running gateway."""

    core: CoreForHttpTests
    pki: Pki
    metrics: Metrics
    serving: object
    session: aiohttp.ClientSession

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.serving.gateway.port}"

    @property
    def operations(self) -> str:
        return f"http://127.0.0.1:{self.serving.operations.port}"

    async def post(self, path, body, **headers):
        async with self.session.post(self.url + path, data=body, headers=usual(**headers)) as answer:
            return answer.status, answer.headers.copy(), await answer.read()

    async def get(self, path, **headers):
        async with self.session.get(self.url + path, headers=usual(**headers)) as answer:
            return answer.status, answer.headers.copy(), await answer.read()


def usual(**changed):
    """The headers of every call; None takes one away."""
    headers = {"Content-Type": AVRO, "Handslag-Instance": "1", "Handslag-Checkpoint": spelled(NOTE)}
    headers.update({name.replace("_", "-"): value for name, value in changed.items()})
    return {name: value for name, value in headers.items() if value is not None}


def spelled(note: str) -> str:
    return base64.b64encode(note.encode()).decode()


def settings_for(files: Path, data: Path) -> BrokerSettings:
    return BrokerSettings(
        origin="exempel.invalid/audit",
        url="https://127.0.0.1:8443",
        listen="127.0.0.1:0",
        data_dir=data,
        log_key_file=files / "log.key",
        root_key_file=files / "root.key",
        supervisor_key_file=files / "supervisor.hex",
        tls={
            "certificate_file": files / "server.pem",
            "key_file": files / "server.key",
            "client_ca_file": files / "ca.pem",
        },
        operations={"listen": "127.0.0.1:0"},
    )


@asynccontextmanager
async def gateway(tmp_path):
    """A served gateway and an admitted connector's session."""
    files = Pki(tmp_path / "pki")
    context, fingerprint = files.client()
    core = CoreForHttpTests(admitted={fingerprint: UNIT})
    metrics = Metrics()
    async with (
        serve_gateway(core, settings_for(files.folder, tmp_path), metrics) as serving,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session,
    ):
        yield Line(core, files, metrics, serving, session)
