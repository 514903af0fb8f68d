"""Acts of two administrators and approvals of units, for tests that put rule sets in force."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select

from audit.administration import Acts, signature, together
from broker import administration, ruling
from broker.store.tables import delivery
from consent.rules import Rules, parse, shipped
from consent.rules_change import effective
from schemas.admin import ACTIVATE, ADMINISTRATORS, PROPOSE, RULES, AdminAct, Administrator, SignedAdminAct
from schemas.rules import RulesApproval, RulesStateAnswer, RulesStateRequest, SignedApproval
from tests.site import ORIGIN, Site, Unit


class Office:
    """Two administrators of one broker and the acts they signed."""

    def __init__(self, origin: str = ORIGIN) -> None:
        self.keys = {name: Ed25519PrivateKey.generate() for name in ("duty", "deputy")}
        self.chain = Acts.none(origin)
        self.signed: list[SignedAdminAct] = []
        named = tuple(
            Administrator(name=name, signing_key=key.public_key().public_bytes_raw()) for name, key in self.keys.items()
        )
        self.act(ADMINISTRATORS, administrators=named)
        self.act(RULES, subject=shipped()[1].hash32)

    def act(self, kind: str, **fields: Any) -> SignedAdminAct:
        """The next act, signed by both; raises as the chain does."""
        raw = AdminAct(
            origin=self.chain.origin, number=self.chain.count + 1, previous=self.chain.head, kind=kind, made_at_us=1,
            **fields,
        ).to_bytes()  # fmt: skip
        signed = together(raw, *(signature(raw, name, key) for name, key in self.keys.items()))
        self.chain = self.chain.applied(signed)
        self.signed.append(signed)
        return signed

    def propose(self, text: str) -> Rules:
        rules = parse(text.encode())
        self.act(PROPOSE, subject=rules.hash32, rules=text.encode())
        return rules

    def activate(self, rules: Rules) -> None:
        self.act(ACTIVATE, subject=rules.hash32)

    async def record(self, site: Site, context: Any = None) -> int:
        return await administration.recorded(context or site.context, self.signed)


async def in_force(site: Site, office: Office, text: str) -> Rules:
    """Propose a file, put it in force, and let the senders of the site decide by what it is for nobody's approval."""
    rules = office.propose(text)
    office.activate(rules)
    await office.record(site)
    site.rules = effective((site.rules, rules), ())
    return rules


def approval(of: Unit, rules: Rules, **changes: Any) -> SignedApproval:
    fields = {"origin": ORIGIN, "unit": of.code, "rules_hash": rules.hash32, "actor_ref": "jurist 1",
              "assurance": "ASSERTED", "approved_at_us": 1, **changes}  # fmt: skip
    raw = RulesApproval(**fields).to_bytes()
    return SignedApproval(approval=raw, signature=of.keys.sign(raw))


async def state(site: Site, unit: Unit, *given: SignedApproval) -> RulesStateAnswer:
    return await ruling.state(site.context, unit.code, RulesStateRequest(approvals=given))


async def rows_of(site: Site) -> list[Any]:
    """The police's deliveries, oldest first."""
    query = select(delivery).where(delivery.c.sender_seat == site.police.seat_id).order_by(delivery.c.delivery_id)
    return list(await site.store.read(lambda rows: rows.gate._c.execute(query).all()))
