"""Submissions whose parts do not belong together are refused, one check at a time."""

from dataclasses import replace

import pytest

from connectors.sealing import attempt, seal_event
from schemas import checks, limits
from schemas.checks import sha256
from schemas.envelope import Attempt, RecipientItem, RoutingItem, SectionItem, Submission
from tests.seals.world import HEALTH, LEAD, POLICE, PRISON, RULES, flow, given, plan, refused, seat

SEALED = seal_event(plan(), seat(LEAD), flow("checks"))
HONEST = attempt(SEALED, 1, RULES, None, {PRISON: given(PRISON, "IC01", "IC12"), HEALTH: given(HEALTH, "IC12")})


def with_attempt(**changes):
    return replace(HONEST, attempt=replace(Attempt.from_bytes(HONEST.attempt), **changes).to_bytes())


def with_wrap(**changes):
    first, *rest = Attempt.from_bytes(HONEST.attempt).wraps
    return with_attempt(wraps=(replace(first, **changes), *rest))


def resigned(submission: Submission, **parts) -> Submission:
    """The submission with other items, their digests put in the place of the old ones."""
    old = [submission.routing_item, *submission.recipient_items, *submission.section_items]
    changed = replace(submission, **parts)
    new = [changed.routing_item, *changed.recipient_items, *changed.section_items]
    table = set(checks.digest_table(submission.digests)) - {sha256(item) for item in old}
    table |= {sha256(item) for item in new}
    extra = (sha256(bytes([n])) for n in range(64))
    while len(table) < 32:
        table.add(next(extra))
    digests = b"".join(sorted(table)[:32])
    moved = {sha256(a): sha256(b) for a, b in zip(submission.section_items, changed.section_items, strict=True)}
    before, after = checks.digest_table(submission.digests), checks.digest_table(digests)
    record = Attempt.from_bytes(submission.attempt)
    wraps = []
    for wrap in record.wraps:
        keys = [replace(key, index=after.index(moved[before[key.index]])) for key in wrap.keys]
        wraps.append(replace(wrap, keys=tuple(sorted(keys, key=lambda key: key.index))))
    return replace(changed, digests=digests, attempt=replace(record, wraps=tuple(wraps)).to_bytes())


def with_routing(**changes):
    routing = RoutingItem.from_bytes(HONEST.routing_item)
    return resigned(HONEST, routing_item=replace(routing, **changes).to_bytes())


def section_with(**changes):
    first, *rest = HONEST.section_items
    item = replace(SectionItem.from_bytes(first), **changes).to_bytes()
    routing = RoutingItem.from_bytes(HONEST.routing_item)
    routed = tuple(replace(s, digest=sha256(item)) if s.digest == sha256(first) else s for s in routing.sections)
    routing_item = replace(routing, sections=routed).to_bytes()
    return resigned(HONEST, routing_item=routing_item, section_items=(item, *rest))


def other_salt(item):
    return replace(SectionItem.from_bytes(item), salt=bytes(16)).to_bytes()


def recipient(**changes):
    item = RecipientItem.from_bytes(HONEST.recipient_items[0])
    return replace(item, **changes).to_bytes()


WRAPS = Attempt.from_bytes(HONEST.attempt).wraps
KEYS = WRAPS[0].keys
ROUTED = RoutingItem.from_bytes(HONEST.routing_item).sections
ABSENT = checks.digest_table(HONEST.digests).index(ROUTED[1].digest)

CASES = {
    "digests": lambda: replace(HONEST, digests=HONEST.digests[32:64] + HONEST.digests[:32] + HONEST.digests[64:]),
    "attempt": lambda: with_attempt(event_id=bytes(16)),
    "attempt ": lambda: with_attempt(attempt=0),
    "routing-digest": lambda: replace(HONEST, routing_item=HONEST.routing_item[:-1] + b"!"),
    "routed-sections": lambda: with_routing(sections=()),
    "routed-sections ": lambda: with_routing(sections=(*ROUTED, ROUTED[0])),
    "routed-digest": lambda: with_routing(sections=(replace(ROUTED[0], digest=bytes(32)), *ROUTED[1:])),
    "section-digest": lambda: replace(HONEST, section_items=(other_salt(HONEST.section_items[0]),)),
    "section-digest ": lambda: replace(HONEST, section_items=HONEST.section_items * 2),
    "section-digest  ": lambda: section_with(category="IC06"),
    "section-size": lambda: section_with(ciphertext=bytes(300)),
    "recipient-digest": lambda: replace(HONEST, recipient_items=(recipient(salt=bytes(16)), HONEST.recipient_items[1])),
    "recipients": lambda: replace(HONEST, recipient_items=HONEST.recipient_items[:1]),
    "recipients ": lambda: replace(HONEST, recipient_items=HONEST.recipient_items[:1] * 2),
    "recipients  ": lambda: with_attempt(recipients=(PRISON, POLICE)),
    "recipients   ": lambda: with_attempt(recipients=(PRISON, HEALTH, HEALTH)),
    "recipients    ": lambda: replace(
        with_attempt(recipients=(PRISON, PRISON), wraps=WRAPS[:1]), recipient_items=HONEST.recipient_items[:1] * 2
    ),
    "recipients     ": lambda: replace(with_attempt(recipients=(), wraps=()), recipient_items=(), section_items=()),
    "wraps": lambda: with_wrap(role=POLICE),
    "wraps ": lambda: with_wrap(role=HEALTH),
    "wraps  ": lambda: with_wrap(keys=()),
    "wraps   ": lambda: with_wrap(enc=WRAPS[0].enc[:-1]),
    "wrap-index": lambda: with_wrap(keys=KEYS[::-1]),
    "wrap-index ": lambda: with_wrap(keys=KEYS[:1] * 2),
    "wrap-index  ": lambda: with_wrap(keys=(replace(KEYS[0], index=-1),)),
    "wrap-index   ": lambda: with_wrap(keys=(replace(KEYS[0], index=32),)),
    "wrap-index    ": lambda: with_wrap(keys=(replace(KEYS[0], index=ABSENT),)),
    "section-without-wrap": lambda: with_attempt(wraps=WRAPS[1:]),
}


def test_the_honest_submission_passes():
    checked = checks.check_submission(HONEST)
    assert [item.category for item in checked.sections] == ["IC01", "IC12"]
    # The helpers of this file make a whole submission again when nothing is wrong with their change.
    assert len(checks.check_submission(section_with(salt=bytes(16))).sections) == 2
    assert checks.check_submission(with_routing(is_minor=True)).routing.is_minor


@pytest.mark.parametrize("name", CASES)
def test_parts_that_do_not_belong_together_are_refused(name):
    assert refused(checks.check_submission, CASES[name]()) == ("HS-SUBMISSION-INVALID", name.strip())


@pytest.mark.parametrize(
    "parts",
    [
        {"section_items": (bytes(1024 * 1024),)},
        {"section_items": (bytes(256 * 1024),) * 4},
        {"section_items": (b"",) * 20},
        {"recipient_items": (b"",) * 9},
    ],
)
def test_a_submission_over_a_bound_is_refused(parts):
    assert refused(checks.check_submission, replace(HONEST, **parts))[0] == "HS-TOO-LARGE"


def test_parts_that_do_not_decode_are_refused():
    for part in ("core", "attempt"):
        cut = replace(HONEST, **{part: getattr(HONEST, part)[:-1]})
        assert refused(checks.check_submission, cut)[0] == "HS-PAYLOAD-REJECTED"
    swapped = replace(HONEST, core=HONEST.attempt)
    assert refused(checks.check_submission, swapped)[0] == "HS-SCHEMA-UNKNOWN"
    assert checks.size_of(HONEST) < limits.SUBMISSION


def test_codes_outside_the_tables_are_refused():
    assert refused(checks.check_submission, with_routing(sections=(replace(ROUTED[0], category="IC99"),)))[0] == (
        "HS-CODE-UNKNOWN"
    )
    unknown = resigned(HONEST, recipient_items=(recipient(role="nobody"), HONEST.recipient_items[1]))
    assert refused(checks.check_submission, unknown)[0] == "HS-CODE-UNKNOWN"
