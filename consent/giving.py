"""What a consent must say of who gave it and how: checked before it is recorded, each refusal with its field.

The decision finds the same faults again from the recorded terms (`conditions.py`): what slips in opens nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from consent import texts as wordings
from consent.conditions import CUSTODIANS, METHODS
from consent.terms import THE_PERSON
from consent.texts import Text
from schemas.acts import Giver, InformationGiven, MinorGround, RecipientRef, Terms
from schemas.codes import known, table
from schemas.errors import HandslagError
from schemas.limits import SENT_AHEAD_US

_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")  # BCP 47 (RFC 5646 section 2.1), its shape only
_PERSONS = 64  # persons of one case: far more than any case has
_NEW = (
    *("kind", "givers", "minor", "capacity", "data_from_us", "data_until_us", "until_event", "review_by_us"),
    *("information", "withdrawal_method", "all_agencies_required", "recipient_obligations", "retention_until_us"),
    *("supersedes", "reserved", "evidence"),
)


def check(terms: Terms, recorded_at_us: int, texts: frozenset[Text] | None = None) -> None:
    """Raise for terms of a grant that no consent can have.

    `HS-GRANT-INCOMPLETE` (field named), `HS-CODE-UNKNOWN`, `HS-GIVER-INVALID`, `HS-KIND-OTHER`, `HS-TEXT-UNKNOWN`,
    `HS-NOT-YET` (another giver than the person, without `givers`; a date until which the recipient may keep it).
    """
    _check_kind(terms)
    _check_about(terms.about)
    _check_givers(terms, recorded_at_us)
    if terms.minor is not None:
        _check_minor(terms.minor, recorded_at_us)
    if terms.capacity is not None:
        known("capacity_status", terms.capacity.status, "capacity")
    since, until = terms.data_from_us, terms.data_until_us
    if since is not None and until is not None and since >= until:
        raise _incomplete("data_until")
    if terms.until_event is not None:
        known("ending_event", terms.until_event, "until_event")
    if terms.review_by_us is not None and terms.review_by_us <= recorded_at_us:
        raise _incomplete("review_by")
    if terms.information is not None:
        _check_information(terms, terms.information, recorded_at_us, texts)
    elif wordings.out_of_use(terms.text_version, texts, at_us=recorded_at_us):
        raise HandslagError("HS-TEXT-UNKNOWN", field="text_version")
    if terms.withdrawal_method is not None:
        known("withdrawal_method", terms.withdrawal_method, "withdrawal_method")
    _check_limits(terms)


def check_block(terms: Terms) -> None:
    """Raise `HS-GRANT-INCOMPLETE` for a block that says what only a grant can say."""
    _check_about(terms.about)
    for field in _NEW:
        if getattr(terms, field) is not None:
            raise _incomplete(field.removesuffix("_us"))


def widens(before: Terms, after: Terms) -> bool:
    """Whether new terms permit anything, to anybody, at any time, that the old ones did not; in doubt, yes."""
    more = (
        _refs(after.recipients) - _refs(before.recipients)
        or set(after.categories) - set(before.categories)
        or set(after.purposes) - set(before.purposes)
        or set(after.actions) - set(before.actions)
        or set(after.about or (0,)) - set(before.about or (0,))
    )
    if more or after.valid_from_us < before.valid_from_us or _later(after.valid_until_us, before.valid_until_us):
        return True
    if _earlier(after.data_from_us, before.data_from_us) or _later(after.data_until_us, before.data_until_us):
        return True
    # What they were told: on a wording out of use it opens nothing, and another telling needs a person who was told.
    if before.information is not None and _telling(before) != _telling(after):
        return True
    # What the person reserved, who gave it, how it ends, of what kind it is: any change there may permit more.
    return any(
        getattr(before, name) not in (None, (), getattr(after, name))
        for name in ("until_event", "reserved", "recipient_obligations", "reservations", "capacity", "minor")
    ) or (before.kind or "SECRECY_WAIVER", before.givers, before.given_by) != (
        after.kind or "SECRECY_WAIVER", after.givers, after.given_by,
    )  # fmt: skip


def _telling(terms: Terms) -> tuple[str, InformationGiven | None]:
    return terms.text_version, terms.information


def _refs(refs: tuple[RecipientRef, ...]) -> set[tuple[str, str, bytes | None, bool]]:
    return {(ref.kind, ref.id, ref.member, ref.follows_role) for ref in refs}


def _later(new: int | None, old: int | None) -> bool:
    return old is not None and (new is None or new > old)


def _earlier(new: int | None, old: int | None) -> bool:
    return old is not None and (new is None or new < old)


def _incomplete(field: str) -> HandslagError:
    return HandslagError("HS-GRANT-INCOMPLETE", field=field)


def _check_kind(terms: Terms) -> None:
    rows = table()["consent_kind"]
    own = rows[known("consent_kind", terms.kind or "SECRECY_WAIVER", "kind")]
    _check_holds(terms, own)
    for row in rows.values():
        # INVARIANT: test_a_threat_warning_is_asked_about_by_itself. What a kind has for its purpose goes in no other.
        alone = "categories" in row and own["opens"] and _share(terms.categories, row["categories"])
        if alone and _share(terms.purposes, row["purposes"]):
            _check_holds(terms, row)


def _share(some: tuple[str, ...], others: list[str]) -> bool:
    return not set(some).isdisjoint(others)


def _check_holds(terms: Terms, row: Mapping[str, Any]) -> None:
    for field in ("categories", "purposes"):
        if field in row and not set(getattr(terms, field)) <= set(row[field]):
            raise HandslagError("HS-KIND-OTHER", field=field)


def _check_about(about: tuple[int, ...] | None) -> None:
    if about is not None and (not about or len(set(about)) != len(about) or not _persons(about)):
        raise _incomplete("about")


def _persons(numbers: tuple[int, ...]) -> bool:
    return all(0 <= number < _PERSONS for number in numbers)


def _check_givers(terms: Terms, recorded_at_us: int) -> None:
    if terms.givers is None:
        if terms.given_by != "SELF":
            raise HandslagError("HS-NOT-YET", field="given_by")
        if any(person != THE_PERSON for person in terms.about or ()):
            # INVARIANT: test_nobody_consents_for_another_adult
            raise _incomplete("givers")
        return
    if not terms.givers or not _persons(tuple(one.person for one in terms.givers)):
        raise _incomplete("givers")
    about = frozenset(terms.about or (0,))
    for one in terms.givers:
        _check_giver(one, about, recorded_at_us)
    if terms.given_by not in {"SELF", *(one.capacity for one in terms.givers)}:
        raise _incomplete("given_by")
    represented = any(one.capacity != "SELF" for one in terms.givers)
    if len(about) > 1 if represented else {one.person for one in terms.givers} != about:
        raise HandslagError("HS-GIVER-INVALID", field="about")
    if any(one.capacity in CUSTODIANS for one in terms.givers) and terms.minor is None:
        raise _incomplete("minor")


def _check_giver(one: Giver, about: frozenset[int], recorded_at_us: int) -> None:
    row = table()["giver"][known("giver", one.capacity, "givers")]
    if one.method not in METHODS:
        raise HandslagError("HS-CODE-UNKNOWN", field="method")
    if not row["power"]:
        raise HandslagError("HS-GIVER-INVALID", field="capacity")
    if (one.person in about) == row["stands_for"]:
        raise HandslagError("HS-GIVER-INVALID", field="person")
    since, until = one.authority_from_us, one.authority_until_us
    if one.at_us > recorded_at_us + SENT_AHEAD_US:
        raise HandslagError("HS-GIVER-INVALID", field="at")
    if row["stands_for"]:
        if (since is None and row["authority"]) or (since is not None and since > one.at_us):
            raise HandslagError("HS-GIVER-INVALID", field="authority_from")
        if (until is None and one.capacity == "GUARDIAN") or (until is not None and until <= recorded_at_us):
            raise HandslagError("HS-GIVER-INVALID", field="authority_until")


def _check_minor(minor: MinorGround, recorded_at_us: int) -> None:
    known("age_band", minor.age_band, "age_band")
    known("maturity", minor.maturity, "maturity")
    known("child_view", minor.child_view, "child_view")
    if not minor.rule_id:
        raise _incomplete("rule_id")
    if not 0 <= minor.guardians_excluded <= minor.guardians:
        raise _incomplete("guardians")
    if minor.reassess_at_us <= recorded_at_us:
        raise _incomplete("reassess_at")


def _check_information(
    terms: Terms, told: InformationGiven, recorded_at_us: int, texts: frozenset[Text] | None
) -> None:
    known("text_form", told.form, "form")
    known("explained", told.how, "how")
    if not _LANGUAGE.fullmatch(told.language):
        raise _incomplete("language")
    if not wordings.known(terms.text_version, told, texts, kind=terms.kind, at_us=recorded_at_us):
        raise HandslagError("HS-TEXT-UNKNOWN", field="text_version")


def _check_limits(terms: Terms) -> None:
    for code in terms.recipient_obligations or ():
        known("obligation", code, "recipient_obligations")
    if terms.retention_until_us is not None:
        # The recipient is told codes; until a delivery can carry the date, nobody could keep to it.
        raise HandslagError("HS-NOT-YET", field="retention_until")
    for code in terms.reserved or ():
        known("reserved_limit", code, "reserved")
    for one in terms.evidence or ():
        known("evidence_kind", one.kind, "evidence")
