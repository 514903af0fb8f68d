"""Opening what the broker hands over: every check of protocol.md, "delivery", in its order.

The first check that fails rejects the whole delivery with one code; nothing of it is used. Pure: the view of the case,
what was seen before and the time are passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap

from connectors.keys import RetiredKey, SeatKeyPair, UnitKeyPair
from connectors.membership import CaseMembers
from connectors.padding import unpadded
from connectors.sealing import NONCE, key_commitment, section_aad, w_commitment, wrap_info
from connectors.standing import Member
from schemas import catalogue, checks, event_types, limits, projection
from schemas.checks import sha256
from schemas.envelope import Core, DeliveredSection, Delivery, EventStatement, RecipientItem, SectionItem
from schemas.errors import HandslagError

MaySend = Callable[[str, str], bool]
"""Whether a role (first) may send an event type (second); from the rules in force."""

_PART = 64 * 1024  # core and recipient item


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyring:
    """The recipient's own seat: id, role, case and every key pair it still holds, by key id."""

    seat_id: bytes
    role: str
    case_tag: bytes
    keys: Mapping[bytes, SeatKeyPair | RetiredKey] | Mapping[bytes, UnitKeyPair] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a connector keeps of an event id for the life of the seat: both hashes, and section digests by category."""

    core_hash: bytes
    digests_hash: bytes
    sections: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class OpenedSection:
    """One opened section: its category, the digest that names it for ever, its fields."""

    category: str
    digest: bytes
    fields: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedEvent:
    """What a recipient was given, every check passed. `remembered` replaces what was kept of `core.event_id`."""

    core: Core
    sender: Member
    sections: tuple[OpenedSection, ...]
    remembered: Remembered

    @property
    def categories(self) -> tuple[str, ...]:
        """Categories present, ascending."""
        return tuple(sorted(section.category for section in self.sections))

    @property
    def merged(self) -> dict[str, Any]:
        """Fields of all categories present; a field of an absent category has no key."""
        return projection.merge({section.category: section.fields for section in self.sections})


def open_delivery(
    delivery: Delivery,
    *,
    keyring: Keyring,
    members: CaseMembers,
    may_send: MaySend,
    now_us: int,
    remembered: Mapping[bytes, Remembered],
) -> OpenedEvent:
    """Check and open one delivery; `remembered` is what was kept by event id (`core_of` tells which).

    Raises HandslagError, in this order: `HS-TOO-LARGE` or `HS-SEAL-INVALID` (sizes); PayloadRejected,
    `HS-SCHEMA-UNKNOWN`, `HS-CODE-UNKNOWN`, `HS-NOT-YET`, `HS-ACTION-OTHER` (core); `HS-SENT-AT-INVALID`;
    `HS-KEY-UNTRUSTED`, `HS-KEY-EXPIRED`, `HS-SENDER-NOT-ALLOWED` (sender's key); `HS-SEAL-INVALID` (digests);
    `HS-SIGNATURE-INVALID`; `HS-EQUIVOCATION` (another event under a known id); `HS-SEAL-INVALID` (recipient item, HPKE,
    W, sections); PayloadRejected (a section's own bytes). `context["check"]` names the step of a `HS-SEAL-INVALID`.
    """
    # INVARIANT: test_of_two_faults_the_earlier_check_answers
    _require(members.case_tag == keyring.case_tag, "case")
    check_sizes(delivery)
    core = core_of(delivery)
    check_sent_at(core, now_us)
    sender = members.sender(core.seat_key_id, core.sent_at_us)
    if not may_send(sender.role, core.event_type):
        raise HandslagError("HS-SENDER-NOT-ALLOWED")
    check_signature(delivery, sender)
    before = _seen_before(delivery, remembered.get(core.event_id))
    w = open_w(delivery, core, keyring)
    sections = open_sections(delivery, core, keyring.case_tag, w, before)
    return OpenedEvent(
        core=core, sender=sender, sections=sections, remembered=remembered_of(delivery, sections, before)
    )


def core_of(delivery: Delivery) -> Core:
    """Decode the core of a delivery whose event type and schema are known here; raises as `open_delivery`."""
    core = Core.from_bytes(delivery.core, _PART)
    catalogue.version_of(event_types.schema_of(core.event_type).name, core.schema_hash)
    # INVARIANT: test_what_was_sent_under_another_action_is_not_opened
    event_types.check_action(core.event_type, core.action)
    return core


def check_sizes(delivery: Delivery) -> None:
    """Check every size before anything is decoded; raises `HS-TOO-LARGE`, `HS-SEAL-INVALID` (`sizes`)."""
    parts = [(delivery.core, _PART), (delivery.recipient_item, _PART)]
    parts += [(section.item, checks.ITEM_BYTES) for section in delivery.sections]
    for data, limit in parts:
        if len(data) > limit:
            raise HandslagError("HS-TOO-LARGE", limit=limit)
    if sum(len(data) for data, _ in parts) > limits.SUBMISSION:
        raise HandslagError("HS-TOO-LARGE", limit=limits.SUBMISSION)
    if len(delivery.sections) > limits.SECTIONS:
        raise HandslagError("HS-TOO-LARGE", limit=limits.SECTIONS)
    whole = len(delivery.enc) == checks.ENC_BYTES and len(delivery.digests) == limits.DIGESTS * checks.HASH
    _require(whole and bool(delivery.sections), "sizes")


def check_sent_at(core: Core, now_us: int) -> None:
    """Raise `HS-SENT-AT-INVALID` unless sent within 30 days back and 5 minutes ahead, without exception."""
    if not now_us - limits.SENT_BACK_US <= core.sent_at_us <= now_us + limits.SENT_AHEAD_US:
        raise HandslagError("HS-SENT-AT-INVALID")


def check_signature(delivery: Delivery, sender: Member) -> None:
    """Check digests and the seat's signature over core and digests; `HS-SEAL-INVALID`, `HS-SIGNATURE-INVALID`."""
    _require(checks.ascending(delivery.digests), "digests")
    statement = EventStatement(core_hash=sha256(delivery.core), digests_hash=sha256(delivery.digests))
    sender.keys.verify(delivery.seat_signature, statement.to_bytes())


def open_w(delivery: Delivery, core: Core, keyring: Keyring) -> bytes:
    """The W (32 bytes) of this recipient; raises `HS-SEAL-INVALID` (`recipient-item`, `recipient`, `hpke`, `w`)."""
    # INVARIANT: test_a_co_recipient_cannot_pass_a_section_on
    _require(sha256(delivery.recipient_item) in checks.digest_table(delivery.digests), "recipient-item")
    item = RecipientItem.from_bytes(delivery.recipient_item, _PART)
    _require(item.role == keyring.role and delivery.seat_id == keyring.seat_id, "recipient")
    keys = keyring.keys.get(delivery.seat_key_id)
    if keys is None:
        raise HandslagError("HS-SEAL-INVALID", check="hpke")
    w = keys.open(delivery.enc, wrap_info(sha256(delivery.core), keyring.case_tag, delivery.seat_key_id))
    _require(w_commitment(core.event_id, item.role, w) == item.w_commitment, "w")
    return w


def open_sections(
    delivery: Delivery, core: Core, case_tag: bytes, w: bytes, before: Remembered | None
) -> tuple[OpenedSection, ...]:
    """Open every section under W; raises `HS-SEAL-INVALID`, `HS-EQUIVOCATION` (a second text), PayloadRejected."""
    table = checks.digest_table(delivery.digests)
    core_hash = sha256(delivery.core)
    known = dict(before.sections) if before else {}
    opened: list[OpenedSection] = []
    for section in delivery.sections:
        digest = sha256(section.item)
        in_place = 0 <= section.index < len(table) and table[section.index] == digest
        _require(in_place, "section-digest")
        item = SectionItem.from_bytes(section.item, checks.ITEM_BYTES)
        _require(all(other.category != item.category for other in opened), "category")
        # One category of one event is one text, whatever else the sender signed digests of.
        if known.setdefault(item.category, digest) != digest:
            raise HandslagError("HS-EQUIVOCATION", check="section")
        fields = _open_section(section, item, core, core_hash, case_tag, w)
        opened.append(OpenedSection(item.category, digest, fields))
    return tuple(opened)


def remembered_of(delivery: Delivery, sections: tuple[OpenedSection, ...], before: Remembered | None) -> Remembered:
    """What to keep of an opened event from now on: the hashes, and every section digest ever given."""
    known = dict(before.sections) if before else {}
    known.update({section.category: section.digest for section in sections})
    return Remembered(sha256(delivery.core), sha256(delivery.digests), MappingProxyType(known))


def _seen_before(delivery: Delivery, before: Remembered | None) -> Remembered | None:
    # INVARIANT: test_one_event_id_cannot_carry_two_texts
    hashes = (sha256(delivery.core), sha256(delivery.digests))
    if before is not None and (before.core_hash, before.digests_hash) != hashes:
        raise HandslagError("HS-EQUIVOCATION", check="event")
    return before


def _open_section(
    section: DeliveredSection, item: SectionItem, core: Core, core_hash: bytes, case_tag: bytes, w: bytes
) -> Mapping[str, Any]:
    _require(item.category in projection.categories_of(core.event_type), "projection")
    aad = section_aad(core_hash, case_tag, core.event_type, item.category, core.schema_hash)
    try:
        key = aes_key_unwrap(w, section.wrapped)
    except InvalidUnwrap:
        raise HandslagError("HS-SEAL-INVALID", check="unwrap") from None
    _require(key_commitment(core_hash, item.category, key) == item.key_commitment, "key-commitment")
    try:
        plaintext = AESGCM(key).decrypt(NONCE, item.ciphertext, aad)
    except InvalidTag:
        raise HandslagError("HS-SEAL-INVALID", check="gcm") from None
    return projection.open_section(core.event_type, item.category, unpadded(plaintext), core.schema_hash)


def _require(holds: bool, check: str) -> None:
    if not holds:
        raise HandslagError("HS-SEAL-INVALID", check=check)
