"""Does a provision speak about what is asked? Three answers, and who asks decides what a doubt means.

A rule that permits must be met in every part, and every part must be understood. A rule that denies is met as soon as
it may mean this: `UNKNOWN` counts for it, and a listed code also meets what it comprises.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from consent.fhir import resource_types
from consent.fhir.actors import met_by
from consent.fhir.systems import ACT_REASON, ACTION, RESOURCE_TYPES, ours
from consent.fhir.terms import Ask, Atom, Coding, DataRef, Met, Provision

_CORRECT = Coding(ACTION, "correct")
_REACH = frozenset(Coding(ACTION, code) for code in ("access", "collect", "disclose", "use"))

# Purposes of use of v3-ActReason, by the general one they belong to. Only a denial reads the families.
_FAMILIES = {
    family: frozenset(codes.split())
    for family, codes in {
        "HMARKT": "",
        "HOPERAT": "DONAT FRAUD GOV HACCRED HCOMPL HDECD HDIRECT HDM HLEGAL HOUTCOMS HPRGRP HQUALIMP HSYSADMIN LABELING"
        " METAMGT MEMADMIN MILCDM PATADMIN PATSFTY PERFMSR RECORDMGT SYSDEV HTEST TRAIN",
        "HPAYMT": "CLMATTCH COVAUTH COVERAGE ELIGDTRM ELIGVER ENROLLM MILDCRG REMITADV",
        "HRESCH": "BIORCH CLINTRCH CLINTRCHNPC CLINTRCHPC PRECLINTRCH DSRCH POARCH TRANSRCH",
        "PATRQT": "FAMRQT PWATRNY SUPNWK",
        "PUBHLTH": "DISASTER THREAT",
        "TREAT": "CAREMGT CLINTRL COC ETREAT BTG ERTREAT POPHLTH TREATDS",
    }.items()
}
_FAMILY = {code: family for family, codes in _FAMILIES.items() for code in (family, *codes)}
# Of one version a child of operations, of another of treatment: a denial of either may mean it.
_EITHER = {"CAREMGT": "HOPERAT"}


class Group(NamedTuple):
    """One criterion that the question leaves to the content: content meets it by having any one of `atoms`.

    `whole`: every atom of the criterion could be read, and means what it says.
    """

    atoms: tuple[Atom, ...]
    whole: bool


def context(rule: Provision, ask: Ask, *, narrow: bool) -> Met:
    """Whether who, what for, what is done and when are what the rule is about; NO only when that is certain.

    `narrow`: a listed code also stands for what a denial means by it.
    """
    if rule.unclear or rule.type is None:
        return Met.UNKNOWN
    if rule.period is not None and not rule.period.holds(ask.at_us):
        return Met.NO
    return min(
        met_by(rule.actors, ask, narrow=narrow),
        _listed(rule.purposes, ask.purpose, _same_purpose if narrow else None),
        _listed(rule.actions, ask.action, _same_action if narrow else None),
    )


def content(rule: Provision, ask: Ask, *, narrow: bool) -> tuple[Met, tuple[Group, ...]]:
    """Whether the content classes asked for are what the rule is about, and what is left to see on the content.

    Of several classes asked for a denial (`narrow`) needs to list one, a permission all.
    """
    met, left = Met.YES, [_group(rule.labels)]
    if rule.classes and ask.classes:
        each = [_class(rule.classes, wanted) for wanted in ask.classes]
        met = max(each) if narrow else min(each)
    elif not (narrow and any(map(_is_abstract, rule.classes))):  # a denial of every resource leaves nothing to see
        left.append(_classes(rule.classes, narrow=narrow))
    left += [_group(rule.codes), _group(rule.data)]
    left.append(_group(() if rule.data_period is None else (rule.data_period,)))
    return met, tuple(group for group in left if group is not None)


def _group(criterion: tuple[Atom, ...]) -> Group | None:
    readable = tuple(atom for atom in criterion if not isinstance(atom, Coding | DataRef) or atom.whole)
    return Group(readable, len(readable) == len(criterion)) if criterion else None


def _classes(listed: tuple[Coding, ...], *, narrow: bool) -> Group | None:
    """The classes as content shows them. One that is unknown here may mean any content: it makes a denial of all.

    INVARIANT: test_any_class_lets_nothing_go_that_the_class_itself_would_not.
    """
    if not listed:
        return None
    readable = tuple(coding for coding in listed if coding.whole and not _is_misread(coding))
    sure = all(map(_known, listed)) if narrow else len(readable) == len(listed)
    return Group(readable, sure)


def _class(listed: tuple[Coding, ...], asked: Coding) -> Met:
    """Whether one class asked for is on a list; of a type that does not exist nobody can tell.

    INVARIANT: test_a_class_that_is_none_is_denied_by_all_and_permitted_by_none.
    """
    met = _listed(listed, asked, None)
    return Met.UNKNOWN if met is Met.YES and _is_misread(asked) else met


def _is_abstract(coding: Coding) -> bool:
    return coding.system == RESOURCE_TYPES and coding.code in resource_types.ABSTRACT


def _is_misread(coding: Coding) -> bool:
    """Whether it claims to be a resource type and is none of R4."""
    return coding.system == RESOURCE_TYPES and not _is_abstract(coding) and not _known(coding)


def _listed(listed: tuple[Coding, ...], asked: Coding, kin: Callable[[Coding, Coding], bool] | None) -> Met:
    """Whether one asked code is on a list; `kin`: what else a denial means by a code of it."""
    if not listed or (asked.whole and asked in listed):
        return Met.YES
    if kin is not None and any(kin(coding, asked) for coding in listed):
        return Met.YES
    return Met.NO if _known(asked) and all(map(_known, listed)) else Met.UNKNOWN


def _known(coding: Coding) -> bool:
    """Whether the code is one whose meaning is known here, so that another one is certainly another."""
    if coding.system == ACT_REASON:
        return coding.code in _FAMILY
    if coding.system == ACTION:
        return coding == _CORRECT or coding in _REACH
    if coding.system == RESOURCE_TYPES:
        return coding.code in resource_types.CONCRETE
    return ours(coding)


def _same_purpose(denied: Coding, asked: Coding) -> bool:
    """What is denied in general is denied for each of its kinds."""
    if denied.system != ACT_REASON or asked.system != ACT_REASON or denied.code not in _FAMILIES:
        return False
    return denied.code in {_FAMILY.get(asked.code), _EITHER.get(asked.code)}


def _same_action(denied: Coding, asked: Coding) -> bool:
    """Whoever may not use, collect or read it cannot be given it either."""
    return denied in _REACH and asked in _REACH
