"""A question about one FHIR Consent as it is spelled on the command line.

A code is `system|code`, or a bare code of the list that FHIR gives for its place; an actor is `system|value` or a
literal reference such as `Organization/54`.
"""

from __future__ import annotations

import re

from connectors.fields import moment
from consent.fhir.systems import ACT_CODE, ACT_REASON, ACTION, CATEGORY, RESOURCE_TYPES, SCOPE
from consent.fhir.terms import Ask, Coding
from schemas.errors import HandslagError

DISCLOSE = "disclose"
_SCOPES = frozenset({"patient-privacy", "research", "treatment", "adr"})
_CATEGORIES = frozenset({"acd", "dnr", "emrgonly", "hcd", "npp", "polst", "rsdid", "rsreid"})
_CODE = re.compile(r"[A-Za-z0-9-]{1,64}")
_REFERENCE = re.compile(r"[A-Za-z][^\s|#]{1,512}")
_LONG = 512


def asked(
    *, actors: tuple[str, ...], purpose: str, category: str, classes: tuple[str, ...], at: str, action: str = DISCLOSE
) -> Ask:
    """The question; raises `HS-INPUT-INVALID` naming the option."""
    if not actors:
        raise _wrong("actor")
    return Ask(
        references=frozenset(_reference(each) for each in actors if "|" not in each),
        identifiers=frozenset(_pair(each, "actor") for each in actors if "|" in each),
        purpose=_coding(purpose, ACT_REASON, "purpose"),
        action=_coding(action, ACTION, "action"),
        category=_category(category),
        classes=tuple(_coding(each, RESOURCE_TYPES, "class") for each in classes),
        at_us=moment(at, "at"),
    )


def _category(text: str) -> Coding:
    if text in _SCOPES:
        return Coding(SCOPE, text)
    return _coding(text, CATEGORY if text in _CATEGORIES else ACT_CODE, "category")


def _coding(text: str, system: str, field: str) -> Coding:
    if "|" in text:
        return _pair(text, field)
    if not _CODE.fullmatch(text):
        raise _wrong(field)
    return Coding(system, text)


def _pair(text: str, field: str) -> Coding:
    system, _, code = text.partition("|")
    if not system or not code or len(text) > _LONG or "|" in code:
        raise _wrong(field)
    return Coding(system, code)


def _reference(text: str) -> str:
    if not _REFERENCE.fullmatch(text):
        raise _wrong("actor")
    return text


def _wrong(field: str) -> HandslagError:
    return HandslagError("HS-INPUT-INVALID", field=field)
