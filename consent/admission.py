"""Which consent acts may enter a ledger; the same checks at the connector, before signing, and at the broker."""

from __future__ import annotations

from collections.abc import Iterable

from consent import giving
from consent.conditions import METHODS, opens
from consent.ledger import LedgerView, ends
from consent.records import FOREVER
from consent.texts import Text
from schemas.acts import ConsentAct, Holder, Scope, Terms
from schemas.codes import consent_acts, known
from schemas.errors import HandslagError
from schemas.identifiers import checked_unit
from schemas.limits import SENT_AHEAD_US

WIDENING = consent_acts("WIDENS")
NARROWING = consent_acts("NARROWS") - {"WITHDRAW_ALL"}  # that one is the broker's own, never a call
NEITHER = consent_acts("NEITHER")
ANNULLING = frozenset({"ANNUL", "ANNUL_WRONG_PERSON"})
_GIVEN = frozenset({"GRANT", "AMEND"})
_TERMS = _GIVEN | {"BLOCK"}
_ASKED = frozenset({"REQUEST", "REFUSE"})
# What narrows is taken with a word nobody knows: it means all. Of the end of a block no part is read.
_UNCHECKED = frozenset({"WITHDRAW", "UNBLOCK"})
_PARTS = frozenset({"LIFT", "LAPSE"})


def check_act(
    act: ConsentAct,
    head: bytes,
    recorded_at_us: int,
    view: LedgerView | None = None,
    texts: frozenset[Text] | None = None,
) -> None:
    """Raise unless `act` may be recorded at `recorded_at_us` on a ledger whose head is `head` (32 bytes).

    `view` is that ledger, for what depends on it: without it an AMEND counts as one that widens, and a LAPSE is taken
    whomever it names. `texts`: wordings that exist, by default the shipped ones. `HS-NOT-YET` for what does not exist
    yet, `HS-HEAD-STALE` for a widening act on an older head, `HS-GRANT-INCOMPLETE` (field named), `HS-GRANT-BACKDATED`,
    `HS-CODE-UNKNOWN`, `HS-GIVER-INVALID`, `HS-KIND-OTHER`, `HS-TEXT-UNKNOWN`, `HS-IDENTIFIER-INVALID`,
    `HS-LAPSE-EMPTY` for a LAPSE that would end nothing.
    A narrowing act is taken whatever its head: a withdrawal never waits.
    """
    if act.act not in WIDENING | NARROWING | NEITHER:
        raise HandslagError("HS-CODE-UNKNOWN", field="act")
    if act.act in WIDENING and act.prev != head:
        raise HandslagError("HS-HEAD-STALE")
    if act.effective_at_us is not None and (act.act in WIDENING or act.effective_at_us > recorded_at_us):
        code = "HS-GRANT-BACKDATED" if act.act in WIDENING else "HS-GRANT-INCOMPLETE"
        raise HandslagError(code, field="effective_at")
    if act.act in ANNULLING and (act.scope is not None or act.effective_at_us is not None):
        raise _incomplete("scope")  # what was never valid has no part and no beginning
    _check_fields(act, recorded_at_us)
    if act.act == "LAPSE" and view is not None and not _rests_on_one(act, view):
        # INVARIANT: test_a_lapse_that_would_end_nothing_is_said_to
        raise HandslagError("HS-LAPSE-EMPTY")
    if (act.terms is None) == (act.act in _TERMS) and act.act not in _ASKED:
        raise _incomplete("terms")
    if act.terms is not None:
        _check_terms(act, act.terms, recorded_at_us, view, texts)


def _rests_on_one(act: ConsentAct, view: LedgerView) -> bool:
    """Whether any consent was given by whom a LAPSE means; of a ledger that cannot be followed nobody knows."""
    return view.broken or any(ends(act, grant) for grant in view.grants)


def _check_terms(
    act: ConsentAct, terms: Terms, recorded_at_us: int, view: LedgerView | None, texts: frozenset[Text] | None
) -> None:
    _codes(terms)
    if act.act == "BLOCK":
        giving.check_block(terms)
    if act.act in _GIVEN:
        _grant(act, terms, recorded_at_us, texts)
    if act.act == "AMEND":
        _amendment(act, terms, view)


def _incomplete(field: str) -> HandslagError:
    return HandslagError("HS-GRANT-INCOMPLETE", field=field)


def _check_fields(act: ConsentAct, recorded_at_us: int) -> None:
    """What each act must say and what no other may."""
    if (act.lift_until_us is not None) != (act.act == "LIFT") or (act.lift_until_us or FOREVER) <= recorded_at_us:
        raise _incomplete("lift_until")
    if (act.ended_event is not None) != (act.act == "EXPIRE"):
        raise _incomplete("ended_event")
    if act.ended_event is not None:
        known("ending_event", act.ended_event, "ended_event")
    if act.review_by_us is not None and (act.act != "CONFIRM" or act.review_by_us <= recorded_at_us):
        raise _incomplete("review_by")
    if act.scope is None:
        return
    if act.act in _UNCHECKED:
        return
    if act.act not in _PARTS:
        raise _incomplete("scope")
    if act.act == "LIFT":
        _scope(act.scope)
    if (act.scope.givers is not None) != (act.act == "LAPSE"):
        raise _incomplete("scope")


def _scope(scope: Scope) -> None:
    for recipient in scope.recipients:
        if recipient.kind == "UNIT":
            checked_unit(recipient.id)
        else:
            known("role", recipient.id, "recipients")
    for kind, codes in (("category", scope.categories), ("purpose", scope.purposes)):
        for code in codes:
            known(kind, code, kind)


def _codes(terms: Terms) -> None:
    for recipient in terms.recipients:
        if recipient.kind == "UNIT":
            checked_unit(recipient.id)
        elif recipient.kind == "ROLE":
            known("role", recipient.id, "recipients")
        elif recipient.kind == "NAMED_OFFICER":
            raise HandslagError("HS-NOT-YET", field="recipients")  # a name would reach the operator: `reserved` says it
        else:
            raise HandslagError("HS-CODE-UNKNOWN", field="recipients")
    for kind, codes in (("category", terms.categories), ("purpose", terms.purposes), ("action", terms.actions)):
        for code in codes:
            known(kind, code, kind)


def _grant(act: ConsentAct, terms: Terms, recorded_at_us: int, texts: frozenset[Text] | None) -> None:
    """What no grant may lack: no doubt may remain whom, what, what for, how long (consent ledger, L2)."""
    opening = ("recipients", "categories", "purposes", "actions") if opens(terms) else ()
    for field in (*opening, "text_version", "terms_version"):
        if not getattr(terms, field):
            raise _incomplete(field)
    if terms.valid_until_us is None or terms.valid_until_us <= max(terms.valid_from_us, recorded_at_us):
        raise _incomplete("valid_until")
    if terms.valid_from_us < recorded_at_us - SENT_AHEAD_US:
        raise HandslagError("HS-GRANT-BACKDATED", field="valid_from")
    if any(recipient.follows_role and recipient.kind != "ROLE" for recipient in terms.recipients):
        raise HandslagError("HS-GRANT-INCOMPLETE", field="follows_role")
    if terms.method not in METHODS:
        raise HandslagError("HS-CODE-UNKNOWN", field="method")
    if terms.supersedes == act.consent_id:
        raise _incomplete("supersedes")
    giving.check(terms, recorded_at_us, texts)


def _amendment(act: ConsentAct, terms: Terms, view: LedgerView | None) -> None:
    """An amendment that widens anything needs the person's word anew: other givers or other evidence.

    INVARIANT: test_an_amendment_that_widens_needs_a_new_word.
    """
    before = None if view is None else terms_of(view, act.consent_id)
    if view is not None and before is None:
        raise _incomplete("consent")
    if before is not None and not giving.widens(before, terms):
        return
    if not _new_word(before, terms):
        raise _incomplete("evidence")


def _new_word(before: Terms | None, after: Terms) -> bool:
    old = (None, None) if before is None else (before.evidence_hash, before.evidence)
    new = (after.evidence_hash, after.evidence)
    if any(has and has != had for had, has in zip(old, new, strict=True)):
        return True
    return bool(_words(after) - (frozenset() if before is None else _words(before)))


def _words(terms: Terms) -> frozenset[tuple[int, str, str, int]]:
    """Who said it, as whom, how and when; that somebody's authority lasts longer is no word of theirs."""
    return frozenset((one.person, one.capacity, one.method, one.at_us) for one in terms.givers or ())


def check_holders(act: ConsentAct, view: LedgerView, holders: Iterable[Holder]) -> None:
    """Raise `HS-GRANT-INCOMPLETE` for an amendment that reaches another holder of a role without the person's new word.

    `view`: the ledger before it; `holders`: who would be noted to hold each role that it names. The terms can be the
    same to a letter: whom they reach has changed with the role.
    """
    # INVARIANT: test_an_amendment_does_not_follow_a_role_by_itself
    old = next((one for one in reversed(view.grants) if one.consent_id == act.consent_id), None)
    if act.act != "AMEND" or act.terms is None or old is None:
        return
    another = any(one.role not in old.followed and (one.role, one.member) not in old.holders for one in holders)
    if another and not _new_word(terms_of(view, act.consent_id), act.terms):
        raise _incomplete("evidence")


def terms_of(view: LedgerView, consent_id: bytes) -> Terms | None:
    """The newest terms of a consent on a ledger; None when it was never given there."""
    for event in reversed(view.events):
        act = ConsentAct.from_bytes(event.act)
        if act.consent_id == consent_id and act.act in _GIVEN:
            return act.terms
    return None
