"""What an act that ended something did, and when each recipient knew: read from the seat's own trail. Pure.

Four moments: the person said it; it was noted, and everything stopped here; it was recorded, and was in force
everywhere; a recipient's connector knew of it. Roles and counts only: the trail names no unit to the discloser.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from audit.search import Found
from connectors.fields import shown_moment
from consent.admission import ANNULLING
from schemas import codes
from schemas.acts import CaseWithdrawal, ConsentAct, LedgerEvent
from schemas.codes import DeliveryState
from schemas.errors import HandslagError
from schemas.identifiers import ZERO16, shown
from schemas.trail import Payload

_TOLD = frozenset({"HS-RECALLED", "HS-CONSENT-ENDED"})
_ANNULLED = frozenset({"HS-DO-NOT-RELY", "HS-WRONG-PERSON"})
_KNOWN = "HS-END-KNOWN"


class Reached(NamedTuple):
    """One recipient role: deliveries stopped before hand-over, told about, acknowledged; the last of these moments."""

    role: str
    stopped: int
    told: int
    acknowledged: int
    last_us: int | None


class Effect(NamedTuple):
    """One act by its number on the ledger. Moments in microseconds UTC; `said_us` is what the act says of it.

    When a withdrawal of everything was noted is told to the seat that noted it alone, in its own entry; to others None.
    """

    ledger_seq: int
    act: str
    consent_id: bytes
    said_us: int | None
    noted_us: int | None
    recorded_us: int
    roles: tuple[Reached, ...]

    @property
    def known_us(self) -> int | None:
        """When the last recipient knew; None while somebody has not said so, or where nobody had to be told."""
        if any(one.told > one.acknowledged for one in self.roles):
            return None
        return max((one.last_us for one in self.roles if one.last_us is not None), default=None)

    @property
    def force_s(self) -> float | None:
        """Seconds from when it was noted to in force everywhere; None where the first is not told here."""
        return None if self.noted_us is None else (self.recorded_us - self.noted_us) / 1e6


def effects(found: Iterable[Found], consent_id: bytes | None = None) -> list[Effect]:
    """Every act that ended, blocked or rested something, oldest first; with an id those that could reach that consent.

    Of entries in any order: within a beat the log does not keep it.
    """
    entries = [one for one in found if one.payload is not None]
    events = sorted(
        (one for one in entries if one.entry.operation == "CONSENT_EVENT" and one.act is not None),
        key=lambda one: one.payload.ledger_seq or 0 if one.payload else 0,
    )
    known = _known(entries)
    granted = frozenset(one.act.consent_id for one in events if one.act is not None and one.act.act == "GRANT")
    return [
        _effect(event, entries, known)
        for event in events
        if event.act is not None
        and _ends(event.act)
        and (consent_id is None or _reaches(event.act, consent_id, granted))
    ]


def names(found: Iterable[Found], consent_id: bytes) -> bool:
    """Whether any act in the trail is about this consent or block."""
    return any(one.act is not None and one.act.consent_id == consent_id for one in found)


def _ends(act: ConsentAct) -> bool:
    supersedes = act.terms is not None and act.terms.supersedes is not None
    return act.act in codes.consent_acts("NARROWS") or act.act == "AMEND" or supersedes


def _reaches(act: ConsentAct, consent_id: bytes, granted: frozenset[bytes]) -> bool:
    """Whether an act is about this consent, or about no single one; `granted`: ids of all that were ever granted."""
    superseded = act.terms.supersedes if act.terms is not None else None
    return consent_id in {act.consent_id, superseded} or act.consent_id not in granted


def _known(entries: Sequence[Found]) -> dict[tuple[bytes, int], int]:
    """By (delivery, entry number) of a word that went out, when its recipient knew.

    Words wait in one inbox in their order, and so do their acknowledgements.
    """
    words: dict[bytes, list[tuple[int, int]]] = defaultdict(list)
    answers: dict[bytes, list[int]] = defaultdict(list)
    for one in entries:
        if one.payload is None or one.payload.delivery_id is None or one.entry.operation != "ACK":
            continue
        if one.payload.code in _TOLD:
            words[one.payload.delivery_id].append((one.entry.at_us, one.number))
        elif one.payload.code == _KNOWN:
            answers[one.payload.delivery_id].append(one.entry.at_us)
    return {
        (delivery_id, number): at_us
        for delivery_id, told in words.items()
        for (_told_us, number), at_us in zip(sorted(told), sorted(answers[delivery_id]), strict=False)
    }


def _effect(event: Found, entries: Sequence[Found], known: dict[tuple[bytes, int], int]) -> Effect:
    act, payload = event.act, event.payload
    assert act is not None
    assert payload is not None
    recorded = LedgerEvent.from_bytes(payload.act or b"").recorded_at_us
    noted = _noted(act, payload)
    told: dict[str, dict[bytes, int | None]] = defaultdict(dict)
    for one in entries:
        word = _word(one, act, payload.ledger_seq, recorded)
        if word is not None:
            role, delivery_id = word
            told[role][delivery_id] = known.get((delivery_id, one.number)) or _answered(entries, act, delivery_id)
    stopped = [one.role for one in payload.affected if one.state_before == DeliveryState.PENDING]
    return Effect(
        ledger_seq=payload.ledger_seq or 0,
        act=act.act,
        consent_id=act.consent_id,
        said_us=noted if act.effective_at_us is None else act.effective_at_us,
        noted_us=noted,
        recorded_us=recorded,
        roles=tuple(_reached(role, stopped.count(role), told[role]) for role in sorted({*stopped, *told})),
    )


def _noted(act: ConsentAct, payload: Payload) -> int | None:
    """When an act was noted: as it says; of everything taken back, which the broker writes, as its recorder signed."""
    # INVARIANT: test_time_to_effect_counts_from_the_note_also_of_everything
    if act.act != "WITHDRAW_ALL":
        return act.noted_at_us
    if payload.case_withdrawal is None:
        return None
    try:
        return CaseWithdrawal.from_bytes(payload.case_withdrawal).noted_at_us
    except HandslagError:
        return None


def _word(one: Found, act: ConsentAct, ledger_seq: int | None, recorded_us: int) -> tuple[str, bytes] | None:
    """Role and delivery of a word that went out because of this act."""
    payload = one.payload
    if payload is None or one.entry.operation != "ACK" or payload.delivery_id is None or payload.counter_role is None:
        return None
    annulled = act.act in ANNULLING and payload.code in _ANNULLED and one.entry.at_us == recorded_us
    if annulled or (payload.code in _TOLD and payload.ledger_seq == ledger_seq):
        return payload.counter_role, payload.delivery_id
    return None


def _answered(entries: Sequence[Found], act: ConsentAct, delivery_id: bytes) -> int | None:
    """When the recipient of a release under an annulled consent answered what it did with it."""
    if act.act not in ANNULLING:
        return None
    verdicts = {*codes.table()["annul_verdict"], *codes.table()["kept_reason"]}
    answers = [
        one.entry.at_us
        for one in entries
        if one.payload is not None and one.payload.delivery_id == delivery_id and one.payload.code in verdicts
    ]
    return min(answers, default=None)


def _reached(role: str, stopped: int, told: dict[bytes, int | None]) -> Reached:
    heard = [at_us for at_us in told.values() if at_us is not None]
    return Reached(role, stopped, len(told), len(heard), max(heard, default=None))


def as_data(one: Effect) -> dict[str, Any]:
    """One effect as JSON, null for what this seat is not told.

    Seconds from when it was noted to in force everywhere, and from then to the last word.
    """
    known = one.known_us
    return {
        "ledger_seq": one.ledger_seq,
        "act": one.act,
        "consent": None if one.consent_id == ZERO16 else shown(one.consent_id),
        "said_at": None if one.said_us is None else shown_moment(one.said_us),
        "noted_at": None if one.noted_us is None else shown_moment(one.noted_us),
        "in_force_everywhere_at": shown_moment(one.recorded_us),
        "seconds_to_force": None if one.force_s is None else round(one.force_s, 3),
        "roles": [
            {
                "role": each.role,
                "stopped": each.stopped,
                "told": each.told,
                "acknowledged": each.acknowledged,
                "last_acknowledged_at": None if each.last_us is None else shown_moment(each.last_us),
            }
            for each in one.roles
        ],
        "all_know_at": None if known is None else shown_moment(known),
        "seconds_until_all_knew": None if known is None else round((known - one.recorded_us) / 1e6, 3),
    }
