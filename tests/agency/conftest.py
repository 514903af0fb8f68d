"""One unit's connector on real files, without a broker: whatever needs an answer stays durable and waits."""

import datetime as dt
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from audit.note import Signer, Verifier
from connectors import cases, enrolment, fields, membership, sealing, settings
from connectors.context import Context
from connectors.identity import Seat
from connectors.keys import SeatKeyPair
from connectors.sealing import Given, SealPlan
from consent.ledger import head_after
from schemas import projection
from schemas.acts import ConsentAct, LedgerEvent, RecipientRef, Terms
from schemas.checks import digest_table, sha256
from schemas.envelope import Attempt, DeliveredSection, Delivery
from schemas.identifiers import uuid7
from schemas.statements import Acceptance

ORIGIN = "broker.example/audit"
DAY_US = 24 * 3600 * 1_000_000


class World:
    """A context with one lead's seat `EX-1`, a vouched police seat, and hands to record consents."""

    def __init__(self, folder: Path) -> None:
        self.log = Ed25519PrivateKey.generate()
        vkey = Verifier(ORIGIN, self.log.public_key().public_bytes_raw()).vkey()
        self.signer = Signer(ORIGIN, self.log)
        for name, unit in (("soc", "SOC/EXEMPEL/KONSULT"), ("pol", "POL/EXEMPEL/SYD")):
            role = "social_services_lead" if name == "soc" else "police_coordination"
            who = enrolment.Unit(unit=unit, agency=f"EX{name}", controller="EX", roles=(role,))
            enrolment.initialise(folder / name, who, None, {})
        self.config = folder / "soc" / "connector.toml"
        answer = {
            **_certificate(folder / "soc"),
            "broker_url": "https://127.0.0.1:9",
            "origin": ORIGIN,
            "log_key": vkey,
        }
        (folder / "answer.json").write_text(json.dumps(answer))
        enrolment.enrol(self.config, folder / "answer.json")
        self._trust(folder, vkey)
        self.open()
        self.seat = self._case()

    def _trust(self, folder: Path, vkey: str) -> None:
        draft = folder / "trust.toml"
        requests = {name: json.loads((folder / name / "request.json").read_text()) for name in ("soc", "pol")}
        rows = "\n".join(
            f'[[agency]]\ncode = "EX{name}"\nsigning_key = "{request["agency_key_hex"]}"'
            for name, request in requests.items()
        )
        draft.write_text(f'origin = "{ORIGIN}"\nlog_key = "{vkey}"\nsupervisor_key = "{"00" * 1216}"\n{rows}\n')
        for name in requests:
            key = folder / name / "keys" / "agency.key"
            draft.write_text(enrolment.sign_trust(draft, f"EX{name}", key))
        enrolment.install_trust(self.config, draft, enrolment.fingerprint_of(draft))

    def open(self) -> None:
        self.ctx = Context.load(settings.load(self.config))

    def reopen(self) -> None:
        self.ctx.spool.close()
        self.open()

    def _case(self) -> Seat:
        ctx, keys, police = self.ctx, SeatKeyPair.generate(), SeatKeyPair.generate()
        self.police = police
        since, until = ctx.now() - DAY_US, ctx.now() + DAY_US
        statement = membership.open_statement(
            case_tag=b"c" * 16, member=b"m" * 16, role="social_services_lead", keys=keys,
            not_before_us=since, not_after_us=until,
        )  # fmt: skip
        seat = Seat(
            ref="EX-1", seat_id=b"s" * 16, state="ACTIVE", role="social_services_lead", case_tag=b"c" * 16,
            member=b"m" * 16, private=keys.private_bytes(), pin=sha256(statement.statement),
            lead_statement=statement.to_bytes(), acceptance=b"", units={},
        )  # fmt: skip
        ctx.identities.add(seat)
        acceptance = Acceptance(
            invitation_hash=b"i" * 32, unit="POL/EXEMPEL/SYD", role="police_coordination", member=b"p" * 16,
            signing_key=police.public.signing, hpke_key_hash=police.public.hpke_hash,
        )  # fmt: skip
        join = membership.join_statement(
            members=ctx.members(seat), lead=keys, acceptance=acceptance, hpke_key=police.public.hpke,
            not_before_us=since, not_after_us=until,
        )  # fmt: skip
        cases.add_statement(ctx, seat, join)
        return seat

    def act(self, kind: str, categories: tuple[str, ...], *, sign: bool = True) -> LedgerEvent:
        """The next ledger event: a grant to the police role or a withdrawal of everything, as the broker records it."""
        seq, head = self.ctx.spool.memory.head(self.seat.sid)
        now = self.ctx.now()
        terms = Terms(
            recipients=(RecipientRef(kind="ROLE", id="police_coordination", member=b"p" * 16, follows_role=False),),
            categories=categories, purposes=("THREAT_ASSESSMENT",), actions=("DISCLOSE",), valid_from_us=now - 1,
            valid_until_us=now + DAY_US, reservations=(), text_version="1", terms_version="1",
            processing_acknowledged=True, given_by="SELF", method="WRITTEN",
        )  # fmt: skip
        act = ConsentAct(
            case_tag=b"c" * 16, member=b"m" * 16, consent_id=bytes([seq + 1]) * 16, seq=0, prev=head, act=kind,
            terms=terms if kind == "GRANT" else None, actor_ref="a", assurance="ASSERTED", noted_at_us=now,
        ).to_bytes()  # fmt: skip
        return LedgerEvent(
            ledger_seq=seq + 1, act=act, signature=self.seat.keys.sign(act) if sign else None, holders=(),
            recorded_at_us=now, head=head_after(head, seq + 1, act, (), now),
        )  # fmt: skip

    def delivery(self, event_type: str, data: dict, *, delivery_id: bytes = b"d" * 16) -> Delivery:
        """What the broker would hand over of a police event that was released whole."""
        now, lead = self.ctx.now(), self.seat
        sections = projection.split(event_type, fields.from_json(event_type, data))
        plan = SealPlan(
            case_tag=lead.case_tag, seat_id=b"q" * 16, event_id=uuid7(now, delivery_id[:10]), event_type=event_type,
            occurred_at_us=now, sent_at_us=now, purpose="THREAT_ASSESSMENT", action="DISCLOSE", statement_kind="FACT",
            roles=(lead.role,), sections=sections, is_minor=False, protected_handling=False, regime="BDL",
        )  # fmt: skip
        sealed = sealing.seal_event(plan, self.police, os.urandom)
        given = {lead.role: Given(lead.keys.public, frozenset(sections))}
        submission = sealing.attempt(sealed, 1, b"r" * 32, None, given)
        [wrap] = Attempt.from_bytes(submission.attempt).wraps
        table = digest_table(submission.digests)
        items = {table.index(sha256(item)): item for item in submission.section_items}
        return Delivery(
            delivery_id=delivery_id, hand_number=1, seat_id=lead.sid, core=submission.core, digests=submission.digests,
            seat_signature=submission.seat_signature, recipient_item=submission.recipient_items[0],
            sections=tuple(
                DeliveredSection(item=items[key.index], index=key.index, wrapped=key.wrapped) for key in wrap.keys
            ),
            seat_key_id=wrap.seat_key_id, enc=wrap.enc, obligations=(), valid_until_us=now + DAY_US,
            entry_id=b"e" * 16, leaf_hash=sha256(delivery_id),
        )  # fmt: skip


def _certificate(folder: Path) -> dict[str, str]:
    """A certificate as the operator's authority would issue it from the request."""
    csr = x509.load_pem_x509_csr(json.loads((folder / "request.json").read_text())["csr_pem"].encode())
    key = Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "EXEMPEL")])
    now = dt.datetime.now(dt.UTC)

    def issued(public: object, extension: x509.ExtensionType) -> str:
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(public)
        builder = builder.serial_number(x509.random_serial_number()).add_extension(extension, critical=False)
        builder = builder.not_valid_before(now).not_valid_after(now + dt.timedelta(days=1))
        return builder.sign(key, None).public_bytes(Encoding.PEM).decode()

    names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    authority = issued(key.public_key(), x509.BasicConstraints(ca=True, path_length=None))
    return {"certificate_pem": issued(csr.public_key(), names), "ca_pem": authority}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    yield made
    made.ctx.spool.close()
