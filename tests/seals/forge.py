"""A sender who writes every byte by hand: the same event as an honest one, with any set of faults in it.

Second implementation of the seal, from the protocol's page and not from `connectors.sealing`, so that an honest
delivery of it that opens is evidence for both.
"""

from dataclasses import replace

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

from connectors.opening import Remembered
from schemas import event_types, projection
from schemas.checks import sha256
from schemas.envelope import (
    Core,
    DeliveredSection,
    Delivery,
    EventStatement,
    KeyCommitment,
    RecipientItem,
    SectionAad,
    SectionItem,
    WCommitment,
    WrapInfo,
)
from tests.seals.world import CASE, DAY, EVENT, FIELDS, HEALTH, LEAD, NOW, POLICE, PRISON, flow, opened, seat, seat_id

EVENT_ID = sha256(b"forged")[:16]

# Every fault with its answer, in the order of the checks.
FAULTS = {
    "too large": ("HS-TOO-LARGE", None),
    "sizes": ("HS-SEAL-INVALID", "sizes"),
    "core does not decode": ("HS-PAYLOAD-REJECTED", None),
    "type unknown": ("HS-CODE-UNKNOWN", None),
    "schema other": ("HS-SCHEMA-UNKNOWN", None),
    "sent too long ago": ("HS-SENT-AT-INVALID", None),
    "sent in the future": ("HS-SENT-AT-INVALID", None),
    "key of nobody": ("HS-KEY-UNTRUSTED", "seat-key"),
    "key expired": ("HS-KEY-EXPIRED", None),
    "role may not send": ("HS-SENDER-NOT-ALLOWED", None),
    "digests not ascending": ("HS-SEAL-INVALID", "digests"),
    "signature": ("HS-SIGNATURE-INVALID", None),
    "another event before": ("HS-EQUIVOCATION", "event"),
    "recipient item not signed": ("HS-SEAL-INVALID", "recipient-item"),
    "recipient item of another": ("HS-SEAL-INVALID", "recipient"),
    "sealed to another key": ("HS-SEAL-INVALID", "hpke"),
    "another W": ("HS-SEAL-INVALID", "w"),
    "section not signed": ("HS-SEAL-INVALID", "section-digest"),
    "another section before": ("HS-EQUIVOCATION", "section"),
    "category not of the event": ("HS-SEAL-INVALID", "projection"),
    "wrapped key": ("HS-SEAL-INVALID", "unwrap"),
    "key commitment": ("HS-SEAL-INVALID", "key-commitment"),
    "associated data": ("HS-SEAL-INVALID", "gcm"),
    "padding not zero": ("HS-SEAL-INVALID", "padding"),
    "rest after the section": ("HS-PAYLOAD-REJECTED", None),
}
# Pairs of which one hides the other: a section under another category is not the one that was seen before.
EXCLUSIVE = {
    frozenset({"sent too long ago", "sent in the future"}),
    frozenset({"another section before", "category not of the event"}),
}


def flipped(data: bytes, at: int = -1) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


def forged_core(faults: frozenset[str]) -> bytes:
    schema_hash = event_types.schema_of(EVENT).project_hash
    sent_at = NOW
    if "sent too long ago" in faults:
        sent_at = NOW - 30 * DAY - 1
    if "sent in the future" in faults:
        sent_at = NOW + 5 * 60 * 1_000_000 + 1
    core = Core(
        event_id=EVENT_ID,
        event_type="no_such_event" if "type unknown" in faults else EVENT,
        schema_hash=flipped(schema_hash) if "schema other" in faults else schema_hash,
        occurred_at_us=NOW - DAY,
        sent_at_us=sent_at,
        purpose="INTAKE",
        action="DISCLOSE",
        statement_kind="FACT",
        seat_key_id=sha256(b"nobody") if "key of nobody" in faults else seat(LEAD).key_id,
    ).to_bytes()
    return core[:-1] if "core does not decode" in faults else core


def forged_section(category: str, core_hash: bytes, w: bytes, faults: frozenset[str]) -> tuple[bytes, bytes]:
    """Item and wrapped key of one section."""
    take = flow(f"section {category}")
    key = take(32)
    body = projection.split(EVENT, FIELDS)[category]
    if "rest after the section" in faults:
        body += b"\0"
    plaintext = (len(body).to_bytes(4, "big") + body).ljust(256, b"\0")
    if "padding not zero" in faults:
        plaintext = flipped(plaintext)
    aad = SectionAad(
        core_hash=core_hash,
        case_tag=flipped(CASE) if "associated data" in faults else CASE,
        category=category,
        projection_hash=projection.projected(EVENT, category).project_hash,
    ).to_bytes()
    named = "IC07" if "category not of the event" in faults else category
    committed = KeyCommitment(core_hash=core_hash, category=named, key=key).to_bytes()
    item = SectionItem(
        salt=take(16),
        category=named,
        ciphertext=AESGCM(key).encrypt(bytes(12), plaintext, aad),
        key_commitment=sha256(committed + b"!" if "key commitment" in faults else committed),
    ).to_bytes()
    wrapped = aes_key_wrap(w, key)
    return item, flipped(wrapped) if "wrapped key" in faults else wrapped


def forged_recipient(w: bytes, faults: frozenset[str]) -> bytes:
    role = HEALTH if "recipient item of another" in faults else PRISON
    committed = sha256(b"another W") if "another W" in faults else w
    commitment = sha256(WCommitment(event_id=EVENT_ID, role=role, w=committed).to_bytes())
    return RecipientItem(salt=bytes(16), role=role, w_commitment=commitment).to_bytes()


def forge(*names: str) -> Delivery:
    """A delivery of the lead to the prison's seat, sections IC02 (faulty where a section is) and IC12."""
    faults = frozenset(names)
    take, core = flow("forge"), forged_core(faults)
    core_hash, w = sha256(core), take(32)
    sections = [forged_section("IC02", core_hash, w, faults), forged_section("IC12", core_hash, w, frozenset())]
    recipient = forged_recipient(w, faults)
    table = sorted([sha256(recipient), *(sha256(item) for item, _ in sections), *(take(32) for _ in range(29))])
    if "digests not ascending" in faults:
        table[0], table[1] = table[1], table[0]
    digests = b"".join(table)
    statement = EventStatement(core_hash=core_hash, digests_hash=sha256(digests)).to_bytes()
    info = WrapInfo(core_hash=core_hash, case_tag=CASE, seat_key_id=seat(PRISON).key_id).to_bytes()
    target = seat(POLICE if "sealed to another key" in faults else PRISON)
    delivered = [
        DeliveredSection(item=item, index=table.index(sha256(item)), wrapped=wrapped) for item, wrapped in sections
    ]
    if "section not signed" in faults:
        delivered[0] = replace(delivered[0], item=flipped(delivered[0].item))
    if "too large" in faults:
        delivered.append(replace(delivered[0], item=bytes(300 * 1024)))
    return Delivery(
        delivery_id=bytes(16),
        hand_number=1,
        seat_id=seat_id(PRISON),
        core=core,
        digests=digests,
        seat_signature=seat(POLICE if "signature" in faults else LEAD).sign(statement),
        recipient_item=flipped(recipient) if "recipient item not signed" in faults else recipient,
        sections=tuple(delivered),
        seat_key_id=seat(PRISON).key_id,
        enc=target.public.seal(w, info) + (b"!" if "sizes" in faults else b""),
        obligations=(),
        valid_until_us=NOW + DAY,
        entry_id=bytes(16),
        leaf_hash=bytes(32),
    )


def open_forged(delivery: Delivery, *names: str, expired):
    """Open as the prison's connector, whose own state carries the faults that no byte of a delivery can."""
    known = {}
    if "another event before" in names:
        known[EVENT_ID] = Remembered(sha256(b"other core"), sha256(delivery.digests), {})
    elif "another section before" in names:
        known[EVENT_ID] = Remembered(sha256(delivery.core), sha256(delivery.digests), {"IC02": sha256(b"other")})
    changes = {"members": expired} if "key expired" in names else {}
    may_send = (lambda role, kind: False) if "role may not send" in names else (lambda role, kind: True)
    return opened(delivery, PRISON, remembered=known, may_send=may_send, **changes)
