"""Sealing an event to the keys of its recipients, attempt after attempt, and bundling what goes up.

`seal_event` makes once what never changes (core, items, digests, seat signature) and the secrets behind it; `attempt`
makes a submission of it, complete in itself, for the keys and the consent of that moment (protocol, "An event on the
wire"). Randomness comes in by the `random` argument; only the HPKE encapsulation draws its own inside the library.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

from audit import merkle
from connectors.keys import PublicKeys, SeatKeyPair, UnitKeyPair
from connectors.padding import padded
from schemas import checks, codes, event_types, limits, projection
from schemas.calls import SubmitRequest
from schemas.checks import sha256
from schemas.envelope import (
    Attempt,
    BundleStatement,
    Core,
    EventStatement,
    KeyCommitment,
    RecipientItem,
    RoutedSection,
    RoutingItem,
    SectionAad,
    SectionItem,
    Submission,
    WCommitment,
    Wrap,
    WrapInfo,
    WrappedKey,
)
from schemas.errors import HandslagError, PayloadRejected
from schemas.event_types import check_action
from schemas.records import Record

Random = Callable[[int], bytes]
"""Gives that many unpredictable bytes."""

_NO_PERIOD = (None, None)
KEY_BYTES = 32
SALT_BYTES = 16
NONCE = bytes(12)  # every section key encrypts one text only


@dataclass(frozen=True, slots=True, kw_only=True)
class SealPlan:
    """One event before it is sealed; times in microseconds UTC, identifiers 16 bytes.

    `sections` are encoded projections by category (`schemas.projection.split`). `persons` gives the person numbers a
    section concerns, (0,) where silent; `periods` when its data are from, where stated; `public_interest_released`
    the categories for which the sender's own release decision of chapter 18 OSL exists.
    """

    case_tag: bytes
    seat_id: bytes
    event_id: bytes
    event_type: str
    occurred_at_us: int
    sent_at_us: int
    valid_until_us: int | None = None
    purpose: str
    action: str
    statement_kind: str
    reliability: str | None = None
    in_reply_to: bytes | None = None
    replaces: bytes | None = None
    roles: tuple[str, ...]
    sections: Mapping[str, bytes]
    persons: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    periods: Mapping[str, tuple[int | None, int | None]] = field(default_factory=dict)
    public_interest_released: frozenset[str] = frozenset()
    is_minor: bool
    protected_handling: bool
    regime: str
    basis: str = "CONSENT"


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedRole(Record):
    """One recipient role with its W (32 bytes), the same in every attempt."""

    SCHEMA: ClassVar[str] = "handslag.spool.SealedRole"

    role: str
    item: bytes
    w: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedSection(Record):
    """One sealed section with its key (32 bytes)."""

    SCHEMA: ClassVar[str] = "handslag.spool.SealedSection"

    category: str
    item: bytes
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedEvent(Record):
    """A sealed event with the secrets of its sender: kept encrypted until acknowledged, never sent.

    Decode with `SealedEvent.from_bytes(data, SEALED_BYTES)`. The random fill stands among the digests.
    """

    SCHEMA: ClassVar[str] = "handslag.spool.SealedEvent"
    LABEL: ClassVar[str] = "HS1 sealed event"

    case_tag: bytes
    core: bytes
    digests: bytes
    seat_signature: bytes
    routing_item: bytes
    roles: tuple[SealedRole, ...]
    sections: tuple[SealedSection, ...]

    def __repr__(self) -> str:
        return f"SealedEvent({len(self.roles)} roles, {len(self.sections)} sections)"


SEALED_BYTES = limits.SECTIONS * checks.ITEM_BYTES + 64 * 1024
"""Most bytes a stored SealedEvent has; its sections may be more than one attempt can carry."""


@dataclass(frozen=True, slots=True)
class Given:
    """What one role gets in one attempt: its present keys and the categories the sender's own `decide` releases.

    A role without a vouched key is addressed with `keys=None` and nothing given: the broker still decides and answers.
    """

    keys: PublicKeys | None
    categories: frozenset[str]


def seal_event(plan: SealPlan, seat: SeatKeyPair, random: Random) -> SealedEvent:
    """Seal and sign one event, once for ever; no key of a recipient is needed yet.

    Raises HandslagError `HS-CODE-UNKNOWN`, `HS-NOT-YET` or `HS-ACTION-OTHER` (type, code), `HS-TOO-LARGE`
    (a section, more than 8 roles), PayloadRejected (no sections, a role twice), `HS-SEAL-INVALID` when the random
    source repeats itself.
    """
    _check_plan(plan)
    core = _core_of(plan, seat.key_id).to_bytes()
    core_hash = sha256(core)
    sections = tuple(_sealed_section(plan, category, core_hash, random) for category in sorted(plan.sections))
    roles = tuple(_sealed_role(plan.event_id, role, random) for role in plan.roles)
    routing_item = _routing_of(plan, sections, random(SALT_BYTES)).to_bytes()
    items = (routing_item, *(role.item for role in roles), *(section.item for section in sections))
    digests = _filled([sha256(item) for item in items], random)
    statement = EventStatement(core_hash=core_hash, digests_hash=sha256(digests))
    return SealedEvent(
        case_tag=plan.case_tag,
        core=core,
        digests=digests,
        seat_signature=seat.sign(statement.to_bytes()),
        routing_item=routing_item,
        roles=roles,
        sections=sections,
    )


def attempt(
    sealed: SealedEvent, number: int, rules_hash: bytes, deadline_at_us: int | None, given: Mapping[str, Given]
) -> Submission:
    """Make attempt `number` (from 1) at sending a sealed event: new wraps of the same W, everything else as signed.

    `given` names the roles addressed now. Only the sections that some role is given go along: of the rest neither
    ciphertext nor key leaves the sender, only the digest. Raises `HS-SUBMISSION-INVALID` for a role or category the
    event was not sealed for, `HS-TOO-LARGE`, `HS-KEY-UNTRUSTED`.
    """
    # INVARIANT: test_a_withheld_section_leaves_only_its_digest
    _check_given(sealed, given)
    table = checks.digest_table(sealed.digests)
    indexes = {section.category: table.index(sha256(section.item)) for section in sealed.sections}
    addressed = [role for role in sealed.roles if role.role in given]
    record = Attempt(
        event_id=Core.from_bytes(sealed.core).event_id,
        attempt=number,
        rules_hash=rules_hash,
        deadline_at_us=deadline_at_us,
        recipients=tuple(role.role for role in addressed),
        wraps=tuple(
            _wrap(sealed, role, given[role.role], indexes) for role in addressed if given[role.role].categories
        ),
    )
    leaving = frozenset[str]().union(*(each.categories for each in given.values()))
    submission = Submission(
        core=sealed.core,
        digests=sealed.digests,
        seat_signature=sealed.seat_signature,
        attempt=record.to_bytes(),
        routing_item=sealed.routing_item,
        recipient_items=tuple(role.item for role in addressed),
        section_items=tuple(section.item for section in sealed.sections if section.category in leaving),
    )
    if checks.size_of(submission) > limits.SUBMISSION:
        raise HandslagError("HS-TOO-LARGE", limit=limits.SUBMISSION)
    return submission


def bundle(
    submissions: Sequence[Submission], *, origin: str, unit: str, bundle_id: bytes, keys: UnitKeyPair
) -> SubmitRequest:
    """Sign submissions as one bundle of the unit; raises `HS-BUNDLE-INVALID` when empty, `HS-TOO-LARGE`."""
    checks.check_bundle_bounds(submissions)
    statement = BundleStatement(
        origin=origin,
        unit=unit,
        bundle_id=bundle_id,
        count=len(submissions),
        root=merkle.root([merkle.leaf_hash(checks.bundle_leaf(submission)) for submission in submissions]),
    ).to_bytes()
    return SubmitRequest(bundle=statement, unit_signature=keys.sign(statement), submissions=tuple(submissions))


def section_aad(
    core_hash: bytes, case_tag: bytes, event_type: str, category: str, schema_hash: bytes | None = None
) -> bytes:
    """Associated data of a section: it can be neither moved nor re-attributed, and its schema not exchanged.

    `schema_hash` names the version of the event's schema, None today's; raises as `projection.projected`.
    """
    projected = projection.projected(event_type, category, schema_hash)
    aad = SectionAad(core_hash=core_hash, case_tag=case_tag, category=category, projection_hash=projected.project_hash)
    return aad.to_bytes()


def key_commitment(core_hash: bytes, category: str, key: bytes) -> bytes:
    """Commitment to a section key, 32 bytes: GCM alone would let one ciphertext open to two texts under two keys."""
    return sha256(KeyCommitment(core_hash=core_hash, category=category, key=key).to_bytes())


def w_commitment(event_id: bytes, role: str, w: bytes) -> bytes:
    """Commitment to a role's W, 32 bytes: only the sender and that role's holder can wrap under it."""
    return sha256(WCommitment(event_id=event_id, role=role, w=w).to_bytes())


def wrap_info(core_hash: bytes, case_tag: bytes, key_id: bytes) -> bytes:
    """HPKE info of a wrap: it opens for this event, this case and this key only."""
    return WrapInfo(core_hash=core_hash, case_tag=case_tag, seat_key_id=key_id).to_bytes()


def _check_plan(plan: SealPlan) -> None:
    check_action(plan.event_type, plan.action)
    codes.known("purpose", plan.purpose, "purpose")
    for role in plan.roles:
        codes.known("role", role, "role")
    for category in plan.sections:
        codes.known("category", category, "category")
    stated = plan.persons.keys() | plan.periods.keys() | plan.public_interest_released
    if not plan.sections or not stated <= plan.sections.keys():
        raise PayloadRejected(field="sections")
    if not plan.roles or len(set(plan.roles)) != len(plan.roles):
        raise PayloadRejected(field="roles")
    if len(plan.roles) > limits.RECIPIENTS:
        raise HandslagError("HS-TOO-LARGE", limit=limits.RECIPIENTS)


def _core_of(plan: SealPlan, key_id: bytes) -> Core:
    return Core(
        event_id=plan.event_id,
        event_type=plan.event_type,
        schema_hash=event_types.schema_of(plan.event_type).project_hash,
        occurred_at_us=plan.occurred_at_us,
        sent_at_us=plan.sent_at_us,
        valid_until_us=plan.valid_until_us,
        purpose=plan.purpose,
        action=plan.action,
        statement_kind=plan.statement_kind,
        reliability=plan.reliability,
        in_reply_to=plan.in_reply_to,
        replaces=plan.replaces,
        seat_key_id=key_id,
    )


def _sealed_section(plan: SealPlan, category: str, core_hash: bytes, random: Random) -> SealedSection:
    key = random(KEY_BYTES)
    aad = section_aad(core_hash, plan.case_tag, plan.event_type, category)
    item = SectionItem(
        salt=random(SALT_BYTES),
        category=category,
        ciphertext=AESGCM(key).encrypt(NONCE, padded(plan.sections[category]), aad),
        key_commitment=key_commitment(core_hash, category, key),
    )
    return SealedSection(category=category, item=item.to_bytes(), key=key)


def _sealed_role(event_id: bytes, role: str, random: Random) -> SealedRole:
    w = random(KEY_BYTES)
    item = RecipientItem(salt=random(SALT_BYTES), role=role, w_commitment=w_commitment(event_id, role, w))
    return SealedRole(role=role, item=item.to_bytes(), w=w)


def _routing_of(plan: SealPlan, sections: Sequence[SealedSection], salt: bytes) -> RoutingItem:
    return RoutingItem(
        salt=salt,
        seat_id=plan.seat_id,
        sections=tuple(
            RoutedSection(
                category=section.category,
                digest=sha256(section.item),
                persons=plan.persons.get(section.category, (0,)),
                public_interest_released=section.category in plan.public_interest_released,
                data_from_us=plan.periods.get(section.category, _NO_PERIOD)[0],
                data_until_us=plan.periods.get(section.category, _NO_PERIOD)[1],
            )
            for section in sections
        ),
        is_minor=plan.is_minor,
        protected_handling=plan.protected_handling,
        regime=plan.regime,
        basis=plan.basis,
    )


def _filled(digests: list[bytes], random: Random) -> bytes:
    """The digests with random fill to 32, ascending: nobody learns how many items there are."""
    fill = [random(checks.HASH) for _ in range(limits.DIGESTS - len(digests))]
    filled = b"".join(sorted(digests + fill))
    if not checks.ascending(filled):
        raise HandslagError("HS-SEAL-INVALID", check="randomness")
    return filled


def _check_given(sealed: SealedEvent, given: Mapping[str, Given]) -> None:
    roles = {role.role for role in sealed.roles}
    categories = {section.category for section in sealed.sections}
    if not given or not given.keys() <= roles:
        raise HandslagError("HS-SUBMISSION-INVALID", check="recipients")
    for each in given.values():
        if not each.categories <= categories:
            raise HandslagError("HS-SUBMISSION-INVALID", check="categories")


def _wrap(sealed: SealedEvent, role: SealedRole, given: Given, indexes: Mapping[str, int]) -> Wrap:
    if given.keys is None:
        raise HandslagError("HS-KEY-UNTRUSTED", check="no-key")
    keys = [
        WrappedKey(index=indexes[section.category], wrapped=aes_key_wrap(role.w, section.key))
        for section in sealed.sections
        if section.category in given.categories
    ]
    key_id = given.keys.key_id
    info = wrap_info(sha256(sealed.core), sealed.case_tag, key_id)
    return Wrap(
        role=role.role,
        seat_key_id=key_id,
        enc=given.keys.seal(role.w, info),
        keys=tuple(sorted(keys, key=lambda key: key.index)),
    )
