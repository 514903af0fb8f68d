"""A second reader of what travels: events, deliveries, bundles, membership, consent ledgers, audit entries.

Written from docs/protocol.md. A failed check raises AssertionError or ValueError; what a library refuses, its own.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap

from tests.second import hpke, log
from tests.second.avro import event_schema, projection, read, write
from tests.second.log import sha256

CLASSES = (256, 1024, 4096, 16384, 65536, 262144)


@dataclass(frozen=True)
class Keys:
    """128 private bytes: Ed25519 (32), ML-KEM seed (64), X25519 (32)."""

    private: bytes

    def open(self, sealed: bytes, info: bytes) -> bytes:
        return hpke.opened(self.private[32:96], self.private[96:], sealed, info)


@dataclass(frozen=True)
class Member:
    member: bytes
    role: str
    signing: bytes
    key_id: bytes


def verify(key: bytes, signature: bytes, message: bytes) -> None:
    Ed25519PublicKey.from_public_bytes(key).verify(signature, message)


def key_id(signing: bytes, hpke_key: bytes) -> bytes:
    return sha256(write("wire.SeatKey", "HS1 seat key", signing_key=signing, hpke_key=hpke_key))


def members(chain: list[bytes], pin: bytes) -> dict[bytes, Member]:
    """The members of a case by key id: the pinned OPEN first, then the JOINs its key signed."""
    found: dict[bytes, Member] = {}
    lead = None
    for signed in (read("member.SignedStatement", each) for each in chain):
        said = read("member.MemberStatement", signed["statement"])
        assert (said["label"], said["version"]) == ("HS1 member", 1)
        if lead is None:
            assert (said["kind"], said["signer"], sha256(signed["statement"])) == ("OPEN", said["member"], pin)
            lead = said
        assert said["kind"] == ("OPEN" if said is lead else "JOIN")
        assert (said["signer"], said["case_tag"]) == (lead["member"], lead["case_tag"])
        assert sha256(signed["hpke_key"]) == said["hpke_key_hash"]
        verify(lead["signing_key"], signed["signature"], signed["statement"])
        identity = key_id(said["signing_key"], signed["hpke_key"])
        found[identity] = Member(said["member"], said["role"], said["signing_key"], identity)
    return found


def digests_of(table: bytes) -> list[bytes]:
    found = [table[at : at + 32] for at in range(0, 1024, 32)]
    assert len(table) == 1024
    assert found == sorted(set(found))
    return found


def check_signature(core: bytes, digests: bytes, signature: bytes, sender: Member) -> None:
    signed = write("wire.EventStatement", "HS1 event", core_hash=sha256(core), digests_hash=sha256(digests))
    verify(sender.signing, signature, signed)


def section_aad(core: bytes, case_tag: bytes, event_type: str, category: str) -> bytes:
    return write(
        "wire.SectionAad", "HS1 section", core_hash=sha256(core), case_tag=case_tag, category=category,
        projection_hash=projection(event_type, category).project_hash,
    )  # fmt: skip


def unpadded(plaintext: bytes) -> bytes:
    end = 4 + int.from_bytes(plaintext[:4], "big")
    assert len(plaintext) == min(size for size in CLASSES if size >= end)
    assert not any(plaintext[end:])
    return plaintext[4:end]


@dataclass(frozen=True)
class Opened:
    core: dict[str, Any]
    sender: Member
    keys: dict[str, bytes]  # section key by category
    projections: dict[str, bytes]
    fields: dict[str, Any]


def opened_delivery(data: bytes, *, keys: Keys, case_tag: bytes, role: str, vouched: dict[bytes, Member]) -> Opened:
    """Open one delivery with the recipient's private keys and the members its pin vouches for."""
    delivery = read("wire.Delivery", data)
    core = read("wire.Core", delivery["core"])
    assert core["schema_hash"] == event_schema(core["event_type"]).project_hash
    table = digests_of(delivery["digests"])
    sender = vouched[core["seat_key_id"]]
    check_signature(delivery["core"], delivery["digests"], delivery["seat_signature"], sender)
    assert sha256(delivery["recipient_item"]) in table
    own = read("wire.RecipientItem", delivery["recipient_item"])
    assert own["role"] == role
    core_hash = sha256(delivery["core"])
    info = write(
        "wire.WrapInfo", "HS1 wrap", core_hash=core_hash, case_tag=case_tag, seat_key_id=delivery["seat_key_id"]
    )
    w = keys.open(delivery["enc"], info)
    assert own["w_commitment"] == sha256(write("wire.WCommitment", "HS1 W", event_id=core["event_id"], role=role, w=w))
    found, projections = {}, {}
    for section in delivery["sections"]:
        assert table[section["index"]] == sha256(section["item"])
        item = read("wire.SectionItem", section["item"])
        category = item["category"]
        assert category not in found
        found[category] = key = aes_key_unwrap(w, section["wrapped"])
        committed = write("wire.KeyCommitment", "HS1 section key", core_hash=core_hash, category=category, key=key)
        assert item["key_commitment"] == sha256(committed)
        aad = section_aad(delivery["core"], case_tag, core["event_type"], category)
        projections[category] = unpadded(AESGCM(key).decrypt(bytes(12), item["ciphertext"], aad))
    fields: dict[str, Any] = {}
    for category in sorted(projections):
        fields |= projection(core["event_type"], category).read_body(projections[category])
    return Opened(core, sender, found, projections, fields)


def bundle_leaf(submission: dict[str, Any]) -> bytes:
    return write(
        "wire.BundleLeaf", "HS1 leaf", core_hash=sha256(submission["core"]),
        digests_hash=sha256(submission["digests"]), seat_signature=submission["seat_signature"],
        attempt_hash=sha256(submission["attempt"]),
    )  # fmt: skip


def check_bundle(data: bytes, unit_key: bytes) -> dict[str, Any]:
    """A signed bundle: count, root and the unit's signature; returns its statement."""
    request = read("api.SubmitRequest", data)
    said = read("wire.BundleStatement", request["bundle"])
    leaves = [log.leaf(bundle_leaf(each)) for each in request["submissions"]]
    assert (said["count"], said["root"]) == (len(leaves), log.root(leaves))
    verify(unit_key, request["unit_signature"], request["bundle"])
    return said


def head_after(prev: bytes, event: dict[str, Any]) -> bytes:
    return sha256(
        write(
            "ledger.HeadLink", "HS1 head", prev=prev, ledger_seq=event["ledger_seq"], act_hash=sha256(event["act"]),
            holders=event["holders"], recorded_at_us=event["recorded_at_us"],
        )
    )  # fmt: skip


def check_ledger(events: list[dict[str, Any]], signing: bytes) -> bytes:
    """A seat's ledger from its first act: numbers, heads, signatures; widening acts were signed on the head before.

    Returns the last head.
    """
    head = bytes(32)
    for number, event in enumerate(events, 1):
        assert event["ledger_seq"] == number
        act = read("ledger.ConsentAct", event["act"])
        if event["signature"] is not None:
            verify(signing, event["signature"], event["act"])
        if act["act"] in ("GRANT", "UNBLOCK"):
            assert event["signature"] is not None
            assert act["prev"] == head
        assert event["head"] == head_after(head, event)
        head = event["head"]
    return head


def derived(secret: bytes, info: bytes) -> bytes:
    """HKDF-SHA256 (RFC 5869) without salt, 32 bytes."""
    return hmac.digest(hmac.digest(bytes(32), secret, "sha256"), info + b"\x01", "sha256")


def entry_key(secret: bytes, entry_id: bytes) -> bytes:
    return derived(secret, b"HS1 entry key" + entry_id)


def handle(secret: bytes, segment: int) -> bytes:
    return hmac.digest(derived(secret, b"HS1 handle key" + segment.to_bytes(4, "big")), b"HS1 handle", "sha256")[:16]


def opened_entry(data: bytes, payload: bytes, key: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """An audit entry with the payload it commits to."""
    entry = read("audit.AuditEntry", data)
    assert entry["payload_commit"] == sha256(payload)
    plain = AESGCM(key).decrypt(bytes(12), payload, entry["entry_id"])
    return entry, read("audit.Beat" if entry["operation"] == "BEAT" else "audit.Payload", plain)
