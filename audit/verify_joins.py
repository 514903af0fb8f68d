"""Joined cases in a trail: the unit's own seat signed the word that joins them, and the one that separates them."""

from __future__ import annotations

from collections.abc import Sequence

from audit.report import Report
from audit.verify_keys import Opened, Speaker
from schemas import codec
from schemas.errors import HandslagError
from schemas.joins import CaseJoin, CaseSeparation


def check_joins(ones: Sequence[Opened], speaker: Speaker, report: Report) -> None:
    """Check that the seat an entry is about signed what it says; what is wrong is a finding `join`.

    The entry about a separation lies with both seats of the unit, and one of them signed it.
    """
    # INVARIANT: test_a_join_that_the_seat_did_not_sign_is_named
    for one in ones:
        try:
            part = _wrong(one, speaker)
        except HandslagError:
            part = "form"
        if part is not None:
            report.add(one.finding("join", part))
        report.signatures += 1


def _wrong(one: Opened, speaker: Speaker) -> str | None:
    act = one.payload.act or b""
    if codec.name_of(act) == CaseSeparation.SCHEMA:
        own = CaseSeparation.from_bytes(act)
        if own.member != speaker.member:
            return None  # the unit's other seat signed it; its own entry shows that
        named = own.actor_ref, own.case_tag
    else:
        join = CaseJoin.from_bytes(act)
        tags = {join.member: join.case_tag, join.other_member: join.other_case_tag}
        if speaker.member not in tags:
            return "member"
        named = join.actor_ref, tags[speaker.member]
    if named != (one.payload.actor_ref, speaker.case_tag or named[1]):
        return "content"
    return None if speaker.signed(one.payload.act_signature or b"", act, one.number) else "signature"
