"""Whether the parts of a submission and of a bundle belong together; what both sides of the gateway check alike.

Pure and without keys: signatures are verified where the keys are. A submission is refused with
`HS-SUBMISSION-INVALID` and the name of the check, a bundle with `HS-BUNDLE-INVALID`, either with `HS-TOO-LARGE` when
a bound of `schemas.limits` is passed, and with the codec's own codes when a part does not decode.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from schemas import codes, limits
from schemas.calls import SubmitRequest
from schemas.envelope import (
    Attempt,
    BundleLeaf,
    BundleStatement,
    Core,
    RecipientItem,
    RoutingItem,
    SectionItem,
    Submission,
    Wrap,
)
from schemas.errors import HandslagError

HASH = 32
ENC_BYTES = 1120 + 32 + 16  # encapsulated key, W, tag
TAG_BYTES = 16
ITEM_BYTES = limits.SECTION + 1024  # a section item: the largest ciphertext and what stands beside it
_CIPHERTEXTS = frozenset(size + TAG_BYTES for size in limits.PADDING_CLASSES)
_REQUEST_FRAME = 128 * 1024  # bundle statement, seat signatures and lengths around 500 submissions


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedSubmission:
    """A submission whose parts belong together, decoded once; hashes are 32 bytes, over bytes as received."""

    submission: Submission
    core: Core
    attempt: Attempt
    routing: RoutingItem
    recipients: tuple[RecipientItem, ...]
    sections: tuple[SectionItem, ...]
    section_digests: tuple[bytes, ...]
    core_hash: bytes
    digests_hash: bytes

    def given(self, role: str) -> dict[bytes, bytes]:
        """Wrapped section keys (40 bytes) of one role by section digest; empty when its sender gave it nothing.

        A section of the routing item that is missing here was withheld from the role by the sender.
        """
        wrap = next((wrap for wrap in self.attempt.wraps if wrap.role == role), None)
        table = digest_table(self.submission.digests)
        return {table[key.index]: key.wrapped for key in wrap.keys} if wrap else {}


def sha256(data: bytes) -> bytes:
    """SHA-256, 32 bytes."""
    return hashlib.sha256(data).digest()


def digest_table(digests: bytes) -> tuple[bytes, ...]:
    """The 32 digests of an event in their order; a digest's place is the index that wraps name."""
    return tuple(digests[at : at + HASH] for at in range(0, len(digests), HASH))


def ascending(digests: bytes) -> bool:
    """Whether it is 32 digests, strictly ascending."""
    table = digest_table(digests)
    in_order = all(a < b for a, b in pairwise(table))
    return len(digests) == limits.DIGESTS * HASH and in_order


def size_of(submission: Submission) -> int:
    """Bytes of all parts of a submission; what `limits.SUBMISSION` bounds."""
    parts = (submission.core, submission.digests, submission.attempt, submission.routing_item)
    return sum(map(len, (*parts, *submission.recipient_items, *submission.section_items)))


def check_submission(submission: Submission) -> CheckedSubmission:
    """Decode a submission and check that its parts belong together.

    Sizes, then digests, every item among the digests, sections as routed, recipients as attempted, wraps that name
    sections which are there. Raises HandslagError as the module says.
    """
    _check_sizes(submission)
    _require(ascending(submission.digests), "digests")
    table = digest_table(submission.digests)
    core = Core.from_bytes(submission.core)
    attempt = Attempt.from_bytes(submission.attempt)
    _require(attempt.event_id == core.event_id and attempt.attempt >= 1, "attempt")
    _require(sha256(submission.routing_item) in table, "routing-digest")
    routing = RoutingItem.from_bytes(submission.routing_item)
    section_digests = tuple(sha256(item) for item in submission.section_items)
    sections = tuple(SectionItem.from_bytes(item, ITEM_BYTES) for item in submission.section_items)
    _check_sections(routing, sections, section_digests, table)
    recipients = tuple(RecipientItem.from_bytes(item) for item in submission.recipient_items)
    _require(all(sha256(item) in table for item in submission.recipient_items), "recipient-digest")
    _check_recipients(attempt, recipients)
    _check_wraps(attempt, section_digests, table)
    return CheckedSubmission(
        submission=submission,
        core=core,
        attempt=attempt,
        routing=routing,
        recipients=recipients,
        sections=sections,
        section_digests=section_digests,
        core_hash=sha256(submission.core),
        digests_hash=sha256(submission.digests),
    )


def bundle_leaf(submission: Submission) -> bytes:
    """What the unit signs of one submission: encoded BundleLeaf, the leaf of the bundle's RFC 6962 tree."""
    leaf = BundleLeaf(
        core_hash=sha256(submission.core),
        digests_hash=sha256(submission.digests),
        seat_signature=submission.seat_signature,
        attempt_hash=sha256(submission.attempt),
    )
    return leaf.to_bytes()


def check_bundle_bounds(submissions: Sequence[Submission]) -> None:
    """Raise `HS-BUNDLE-INVALID` for an empty bundle, `HS-TOO-LARGE` above 500 submissions or 8 MiB."""
    if not submissions:
        raise HandslagError("HS-BUNDLE-INVALID", check="empty")
    if len(submissions) > limits.BUNDLE_COUNT:
        raise HandslagError("HS-TOO-LARGE", limit=limits.BUNDLE_COUNT)
    if sum(map(size_of, submissions)) > limits.BUNDLE_BYTES - _REQUEST_FRAME:
        raise HandslagError("HS-TOO-LARGE", limit=limits.BUNDLE_BYTES)


def check_bundle(
    request: SubmitRequest, *, origin: str, unit: str, root: Callable[[Sequence[bytes]], bytes]
) -> tuple[BundleStatement, tuple[bytes, ...]]:
    """The bundle's statement and its leaves, when they are this unit's, for this broker, over these submissions.

    `root` gives the RFC 6962 root over leaf bytes in order. The unit's signature over `request.bundle` is the
    caller's to verify, and each submission's own consistency too (one bad item does not refuse the others). Raises
    `HS-BUNDLE-INVALID` or `HS-TOO-LARGE`.
    """
    check_bundle_bounds(request.submissions)
    statement = BundleStatement.from_bytes(request.bundle)
    for holds, check in (
        (statement.origin == origin, "origin"),
        (statement.unit == unit, "unit"),
        (statement.count == len(request.submissions), "count"),
    ):
        if not holds:
            raise HandslagError("HS-BUNDLE-INVALID", check=check)
    leaves = tuple(bundle_leaf(submission) for submission in request.submissions)
    if root(leaves) != statement.root:
        raise HandslagError("HS-BUNDLE-INVALID", check="root")
    return statement, leaves


def _require(holds: bool, check: str) -> None:
    if not holds:
        raise HandslagError("HS-SUBMISSION-INVALID", check=check)


def _check_sizes(submission: Submission) -> None:
    if size_of(submission) > limits.SUBMISSION:
        raise HandslagError("HS-TOO-LARGE", limit=limits.SUBMISSION)
    if len(submission.section_items) > limits.SECTIONS:
        raise HandslagError("HS-TOO-LARGE", limit=limits.SECTIONS)
    if len(submission.recipient_items) > limits.RECIPIENTS:
        raise HandslagError("HS-TOO-LARGE", limit=limits.RECIPIENTS)


def _check_sections(
    routing: RoutingItem, sections: Sequence[SectionItem], section_digests: Sequence[bytes], table: Sequence[bytes]
) -> None:
    routed = {section.digest: section.category for section in routing.sections}
    categories = [section.category for section in routing.sections]
    for category in categories:
        codes.known("category", category, "category")
    # One category, one section, one text: the recipient merges by category.
    _require(0 < len(set(categories)) == len(categories) == len(routed), "routed-sections")
    _require(all(digest in table for digest in routed), "routed-digest")
    _require(len(set(section_digests)) == len(section_digests), "section-digest")
    for item, digest in zip(sections, section_digests, strict=True):
        _require(routed.get(digest) == item.category, "section-digest")
        # A size between the classes would tell more of the text than its class.
        _require(len(item.ciphertext) in _CIPHERTEXTS, "section-size")


def _check_recipients(attempt: Attempt, recipients: Sequence[RecipientItem]) -> None:
    roles = [item.role for item in recipients]
    for role in roles:
        codes.known("role", role, "role")
    _require(0 < len(set(roles)) == len(roles), "recipients")
    _require(len(attempt.recipients) == len(roles) and set(attempt.recipients) == set(roles), "recipients")


def _check_wraps(attempt: Attempt, section_digests: Sequence[bytes], table: Sequence[bytes]) -> None:
    roles = [wrap.role for wrap in attempt.wraps]
    _require(len(set(roles)) == len(roles) and set(roles) <= set(attempt.recipients), "wraps")
    named: set[bytes] = set()
    for wrap in attempt.wraps:
        named |= _named_sections(wrap, section_digests, table)
    _require(named == set(section_digests), "section-without-wrap")


def _named_sections(wrap: Wrap, section_digests: Sequence[bytes], table: Sequence[bytes]) -> set[bytes]:
    _require(len(wrap.enc) == ENC_BYTES and bool(wrap.keys), "wraps")
    indexes = [key.index for key in wrap.keys]
    _require(all(a < b for a, b in pairwise(indexes)), "wrap-index")
    _require(indexes[0] >= 0 and indexes[-1] < len(table), "wrap-index")
    named = {table[index] for index in indexes}
    _require(named <= set(section_digests), "wrap-index")
    return named
