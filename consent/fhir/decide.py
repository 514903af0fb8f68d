"""PERMIT, DENY or NO_CONSENT for one FHIR R4 Consent and one question. Never raises for what the consent says.

    1  the consent is active, about what is asked, and issued by then      else NO_CONSENT
    2  the root provision speaks about who, what for, what and when        certainly not: NO_CONSENT; in doubt: DENY
    3  the tree: an exception turns its rule round where it applies, and among exceptions a denial wins
    4  a PERMIT stands only if nothing in the consent is beyond understanding (`_faults`)

An exception of the same type as its rule changes nothing. A denial applies unless a permission within it takes all of
it back; one that takes back a part of the content only is not followed, so that obligations hold back too much rather
than too little.
"""

from __future__ import annotations

import dataclasses
from itertools import chain, product

from consent.fhir.match import content, context
from consent.fhir.systems import ACT_CODE, SCOPE
from consent.fhir.terms import (
    DENY,
    NO_CONSENT,
    PERMIT,
    Answer,
    Ask,
    Atom,
    Coding,
    FhirConsent,
    Met,
    Provision,
    Residual,
)

_OPT_OUT = frozenset({Coding(ACT_CODE, "OPTOUT"), Coding(ACT_CODE, "OPTOUTE")})
_CLAUSES = 64  # more alternatives than this are not multiplied out: one of them is enough to be right
_SILENT = {
    "proposed": "FHIR_PROPOSED",
    "draft": "FHIR_DRAFT",
    "rejected": "FHIR_REJECTED",
    "inactive": "FHIR_INACTIVE",
    "entered-in-error": "FHIR_IN_ERROR",
}


def decide(consent: FhirConsent, ask: Ask) -> Answer:
    """Answer one question. INVARIANT: test_another_denial_never_permits, test_what_nobody_knows_never_permits."""
    ask = dataclasses.replace(ask, bodies=consent.bodies)
    silent = _silent(consent, ask)
    if silent:
        return _refused(NO_CONSENT, silent)
    root = consent.root
    if root is None:
        return _refused(DENY, "FHIR_NO_PROVISION")
    if root.type is None or root.unclear:
        return _refused(DENY, "FHIR_NOT_UNDERSTOOD" if root.unclear else "FHIR_ROOT_TYPE_MISSING", root.path)
    met, reason = _root(root, ask)
    if met is Met.NO:
        return _refused(NO_CONSENT, reason, root.path)
    if met is Met.UNKNOWN:
        return _refused(DENY, reason, root.path)
    because: list[str] = []
    residual = _permitted(root, ask, because)
    if residual is None:
        unread = root.type == "permit" and not because
        reason = "FHIR_NOT_UNDERSTOOD" if unread else "FHIR_DENIED"
        return _refused(DENY, reason, *(dict.fromkeys(because) or [root.path]))
    if root.type == "deny":
        # An exception lies within its rule: of content the rule is not about, it permits nothing.
        own = [group.atoms for group in content(root, ask, narrow=False)[1]]
        if not all(own):
            return _refused(DENY, "FHIR_NOT_UNDERSTOOD", root.path)
        residual = _residual([*residual.redact], [*own, *residual.keep])
    faults = _faults(consent)
    if faults:
        return Answer(DENY, Residual(), faults, (root.path,))
    reason = "FHIR_PERMITTED" if residual.everything else "FHIR_PERMITTED_IN_PART"
    return Answer(PERMIT, residual, (reason,), tuple(dict.fromkeys([root.path, *because])))


def _refused(decision: str, reason: str, *because: str) -> Answer:
    return Answer(decision, Residual(), (reason,), because)


def _silent(consent: FhirConsent, ask: Ask) -> str:
    """Why the consent says nothing at all about the question, or nothing."""
    if consent.status != "active":
        return _SILENT.get(consent.status, "FHIR_INACTIVE")
    # A scope is the one thing a consent is about; naming another in `category` does not widen it.
    other_scope = ask.category.system == SCOPE and ask.category not in consent.scope
    if other_scope or ask.category not in (*consent.scope, *consent.category):
        return "FHIR_OTHER_CATEGORY"
    if consent.issued_us is not None and ask.at_us < consent.issued_us:
        return "FHIR_NOT_YET_VALID"
    return ""


def _root(root: Provision, ask: Ask) -> tuple[Met, str]:
    """Whether the base rule speaks about the question, and what is said when it does not for certain."""
    if root.period is not None and not root.period.holds(ask.at_us):
        early = root.period.from_us is not None and ask.at_us < root.period.from_us
        return Met.NO, "FHIR_NOT_YET_VALID" if early else "FHIR_EXPIRED"
    narrow = root.type == "deny"
    met = min(context(root, ask, narrow=narrow), content(root, ask, narrow=narrow)[0])
    if met is Met.NO:
        return met, "FHIR_NOT_COVERED"
    # Whoever opens an exception must know that its rule is about this; a denial stands without that.
    sure = min(context(root, ask, narrow=False), content(root, ask, narrow=False)[0])
    return (Met.YES if sure is Met.YES else Met.UNKNOWN), "FHIR_DENIED" if narrow else "FHIR_NOT_UNDERSTOOD"


def _faults(consent: FhirConsent) -> tuple[str, ...]:
    """What stands in the consent and keeps anybody from relying on it."""
    faults = []
    if consent.unclear:
        faults.append("FHIR_NOT_UNDERSTOOD")
    if not consent.patient:
        faults.append("FHIR_PATIENT_MISSING")
    if any(verified is not True for verified in consent.verified):
        faults.append("FHIR_NOT_VERIFIED")
    if not _OPT_OUT.isdisjoint(consent.policy_rules):
        faults.append("FHIR_POLICY_CONTRADICTS")
    return tuple(faults)


def _permitted(rule: Provision, ask: Ask, because: list[str]) -> Residual | None:
    """What goes under a rule that applies, or None: nothing. `because` gets the paths that decided."""
    redact: list[Atom] = []
    for each in rule.provisions:
        held = _denied(each, ask, because) if each.type != "permit" else ()
        if held is None:
            because[:] = [each.path]
            return None
        redact += held
    if rule.type == "permit":
        met, groups = content(rule, ask, narrow=False)
        # Of a criterion that is partly unreadable the readable codes still permit; with none left nothing does.
        if met is not Met.YES or not all(group.atoms for group in groups):
            return None
        return _residual(redact, [group.atoms for group in groups])
    found = [one for each in rule.provisions if (one := _exception(each, ask, because)) is not None]
    if not found:
        return None
    return _residual([*redact, *(atom for one in found for atom in one.redact)], _either(found))


def _exception(rule: Provision, ask: Ask, because: list[str]) -> Residual | None:
    """What a permission within a denial lets go."""
    if rule.type != "permit" or context(rule, ask, narrow=False) is not Met.YES:
        return None
    inner: list[str] = []
    residual = _permitted(rule, ask, inner)
    if residual is not None:
        because.append(rule.path)
    return residual


def _denied(rule: Provision, ask: Ask, because: list[str]) -> tuple[Atom, ...] | None:
    """What a denial within a rule holds back: atoms of the content, nothing (), or None: all of it."""
    if rule.unclear or rule.type is None:
        return None  # what is not understood may turn each of its criteria round
    met, groups = content(rule, ask, narrow=True)
    if Met.NO in {met, context(rule, ask, narrow=True)}:
        return ()
    back = _permitted(rule, ask, [])
    if back is not None and back.everything:
        return ()
    # Content is held back by any one criterion: more than is denied, and never less if one could be read whole.
    if not any(group.whole for group in groups):
        return None
    because.append(rule.path)
    return tuple(atom for group in groups for atom in group.atoms)


def _either(found: list[Residual]) -> list[tuple[Atom, ...]]:
    """Clauses that hold where one of several alternatives does: each clause takes one clause of every alternative."""
    if any(not one.keep for one in found):
        return []
    total = 1
    for one in found:
        total *= len(one.keep)
    if total > _CLAUSES:
        return list(found[0].keep)
    return [tuple(dict.fromkeys(chain(*clauses))) for clauses in product(*(one.keep for one in found))]


def _residual(redact: list[Atom], keep: list[tuple[Atom, ...]]) -> Residual:
    return Residual(tuple(dict.fromkeys(redact)), tuple(dict.fromkeys(keep)))
