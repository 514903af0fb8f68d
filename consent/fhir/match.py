"""Does a provision speak about what is asked? Three answers, and who asks decides what a doubt means.

A rule that permits must be met in every part, and every part must be understood. A rule that denies is met as soon as
it may mean this: `UNKNOWN` counts for it, and a listed code also meets what it comprises.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

from consent.fhir.systems import ACT_REASON, ACTION, PARTICIPATION, RESOURCE_TYPES, ours
from consent.fhir.terms import Actor, Ask, Atom, Coding, Provision

# Roles in which an actor of a provision receives; any other (custodian, author, ...) narrows something else.
_RECIPIENTS = frozenset({Coding(PARTICIPATION, "IRCP"), Coding(PARTICIPATION, "PRCP")})
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


class Met(IntEnum):
    """Whether a criterion is met; UNKNOWN where nobody can tell."""

    NO = 0
    UNKNOWN = 1
    YES = 2


class Group(NamedTuple):
    """One criterion that the question leaves to the content: content meets it by having any one of `atoms`.

    `whole`: every atom of the criterion could be read.
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
        _actors(rule.actors, ask, narrow=narrow),
        _listed(rule.purposes, ask.purpose, _same_purpose if narrow else None),
        _listed(rule.actions, ask.action, _same_action if narrow else None),
    )


def content(rule: Provision, ask: Ask, *, narrow: bool) -> tuple[Met, tuple[Group, ...]]:
    """Whether the content classes asked for are what the rule is about, and what is left to see on the content.

    Of several classes asked for a denial (`narrow`) needs to list one, a permission all.
    """
    met = Met.YES
    left: list[tuple[Atom, ...]] = [rule.labels]
    if rule.classes and ask.classes:
        each = [_listed(rule.classes, wanted, None) for wanted in ask.classes]
        met = max(each) if narrow else min(each)
    else:
        left.append(rule.classes)
    left += [rule.codes, rule.data, () if rule.data_period is None else (rule.data_period,)]
    return met, tuple(_group(criterion) for criterion in left if criterion)


def _group(criterion: tuple[Atom, ...]) -> Group:
    readable = tuple(atom for atom in criterion if not isinstance(atom, Coding) or atom.whole)
    return Group(readable, len(readable) == len(criterion))


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
    return ours(coding) or (coding.system == RESOURCE_TYPES and coding.code.isalpha())


def _same_purpose(denied: Coding, asked: Coding) -> bool:
    """What is denied in general is denied for each of its kinds."""
    if denied.system != ACT_REASON or asked.system != ACT_REASON or denied.code not in _FAMILIES:
        return False
    return denied.code in {_FAMILY.get(asked.code), _EITHER.get(asked.code)}


def _same_action(denied: Coding, asked: Coding) -> bool:
    """Whoever may not use, collect or read it cannot be given it either."""
    return denied in _REACH and asked in _REACH


def _actors(actors: tuple[Actor, ...], ask: Ask, *, narrow: bool) -> Met:
    """Whether the recipient is one of the actors; one in another role narrows a permission in a way unknown here."""
    met = max((_actor(actor, ask) for actor in actors), default=Met.YES)
    return met if narrow or all(map(_receives, actors)) else min(met, Met.UNKNOWN)


def _receives(actor: Actor) -> bool:
    return not _RECIPIENTS.isdisjoint(actor.roles)


def _actor(actor: Actor, ask: Ask) -> Met:
    if not _receives(actor):
        return Met.UNKNOWN
    names: set[str | Coding] = {*(actor.identifiers or ()), *(actor.members or ())}
    names |= {actor.reference} if actor.reference else set()
    names |= {actor.identifier} if actor.identifier and actor.identifier.whole else set()
    asked: set[str | Coding] = {*ask.references, *(each for each in ask.identifiers if each.whole)}
    if names & asked:
        return Met.YES
    return Met.NO if _another(actor, ask) else Met.UNKNOWN


def _another(actor: Actor, ask: Ask) -> bool:
    """Whether it is certain that the asked actor is not this one, nor one of its members."""
    if actor.members is not None:
        # Members of another kind may be, or stand for, the one who asks.
        kinds = {name.split("/")[0] if isinstance(name, str) and _literal(name) else "" for name in actor.members}
        return bool(ask.references) and kinds == {name.split("/")[0] for name in ask.references if _literal(name)}
    if actor.identifiers and ask.identifiers and all(each.whole for each in actor.identifiers):
        return True  # a resource that was given is believed to list all identifiers of its own, if it lists any
    if _literal(actor.reference) and any(_literal(name) for name in ask.references):
        kind = actor.reference.split("/")[0]
        return kind != "Group" and all(name.split("/")[0] == kind for name in ask.references)
    own = actor.identifier
    return own is not None and own.whole and any(each.system == own.system for each in ask.identifiers)


def _literal(reference: str) -> bool:
    """`Type/id`, relative to one server; an absolute address may be another name of the same."""
    return reference.count("/") == 1 and not reference.startswith("#")
