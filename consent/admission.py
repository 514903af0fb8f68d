"""Which consent acts may enter a ledger; the same checks at the connector, before signing, and at the broker."""

from __future__ import annotations

from schemas.acts import ConsentAct, Terms
from schemas.codes import known
from schemas.errors import HandslagError
from schemas.identifiers import checked_unit
from schemas.limits import SENT_AHEAD_US

WIDENING = frozenset({"GRANT", "UNBLOCK"})
ANNULLING = frozenset({"ANNUL", "ANNUL_WRONG_PERSON"})
NARROWING = frozenset({"WITHDRAW", "BLOCK"}) | ANNULLING
_NOT_YET = frozenset({"AMEND", "SUSPEND", "RESUME"})
_METHODS = frozenset({"WRITTEN", "EID", "ORAL_DOCUMENTED"})


def check_act(act: ConsentAct, head: bytes, recorded_at_us: int) -> None:
    """Raise unless `act` may be recorded at `recorded_at_us` on a ledger whose head is `head` (32 bytes).

    `HS-NOT-YET` for acts and givers that do not exist yet, `HS-HEAD-STALE` for a widening act on an older head,
    `HS-GRANT-INCOMPLETE` (field named), `HS-GRANT-BACKDATED`, `HS-CODE-UNKNOWN`, `HS-IDENTIFIER-INVALID`.
    A narrowing act is taken whatever its head: a withdrawal never waits.
    """
    if act.act in _NOT_YET:
        raise HandslagError("HS-NOT-YET", field="act")
    if act.act not in WIDENING | NARROWING:  # WITHDRAW_ALL is the broker's own, never a call
        raise HandslagError("HS-CODE-UNKNOWN", field="act")
    if act.act in WIDENING and act.prev != head:
        raise HandslagError("HS-HEAD-STALE")
    if act.effective_at_us is not None and (act.act in WIDENING or act.effective_at_us > recorded_at_us):
        code = "HS-GRANT-BACKDATED" if act.act in WIDENING else "HS-GRANT-INCOMPLETE"
        raise HandslagError(code, field="effective_at")
    if act.act in ANNULLING and (act.scope is not None or act.effective_at_us is not None):
        raise _incomplete("scope")  # what was never valid has no part and no beginning
    if act.act in {"GRANT", "BLOCK"}:
        if act.terms is None:
            raise _incomplete("terms")
        _codes(act.terms)
        if act.act == "GRANT":
            _grant(act.terms, recorded_at_us)
    elif act.terms is not None:
        raise _incomplete("terms")


def _incomplete(field: str) -> HandslagError:
    return HandslagError("HS-GRANT-INCOMPLETE", field=field)


def _codes(terms: Terms) -> None:
    for recipient in terms.recipients:
        if recipient.kind == "UNIT":
            checked_unit(recipient.id)
        elif recipient.kind == "ROLE":
            known("role", recipient.id, "recipients")
        else:
            raise HandslagError("HS-CODE-UNKNOWN", field="recipients")
    for kind, codes in (("category", terms.categories), ("purpose", terms.purposes), ("action", terms.actions)):
        for code in codes:
            known(kind, code, kind)


def _grant(terms: Terms, recorded_at_us: int) -> None:
    """What no grant may lack: no doubt may remain whom, what, what for, how long (consent ledger, L2)."""
    for field in ("recipients", "categories", "purposes", "actions", "text_version", "terms_version"):
        if not getattr(terms, field):
            raise _incomplete(field)
    if terms.valid_until_us is None or terms.valid_until_us <= max(terms.valid_from_us, recorded_at_us):
        raise _incomplete("valid_until")
    if terms.valid_from_us < recorded_at_us - SENT_AHEAD_US:
        raise HandslagError("HS-GRANT-BACKDATED", field="valid_from")
    if any(recipient.follows_role and recipient.kind != "ROLE" for recipient in terms.recipients):
        raise HandslagError("HS-GRANT-INCOMPLETE", field="follows_role")
    if terms.given_by != "SELF":
        raise HandslagError("HS-NOT-YET", field="given_by")
    if terms.method not in _METHODS:
        raise HandslagError("HS-CODE-UNKNOWN", field="method")
