"""What an agency system can have recorded of consents, as typed commands: the shapes of docs/folder-adapter.md.

A birth date goes in by `minor.born` and is gone before the command is kept: only the age band and a moment remain.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from connectors import fields
from connectors.command_types import CaseCommand, Code, Method, Moment, Name, Spelled
from consent import majority
from schemas import codes
from schemas.errors import HandslagError
from schemas.identifiers import checked_unit, parsed

Day = Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
Hash = Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$")]
Person = Annotated[int, Field(ge=0, lt=64)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Recipient(_Part):
    """Whom a consent names: a unit, or a role as it is held now or, with `follows_role`, by whoever holds it later."""

    unit: Name | None = None
    role: Code | None = None
    follows_role: bool = False


class ReservationInput(_Part):
    """A condition the person set; without a code a human must read it before anything goes."""

    code: Code | None = None


class GiverInput(_Part):
    """One who gave it; `person` is the number in the case (0: the case's own person)."""

    person: Person
    capacity: Code
    method: Method
    at: Moment
    authority_from: Moment | None = None
    authority_until: Moment | None = None


class MinorInput(_Part):
    """What was assessed of a person under 18. `born`: a date, or a twelve-digit number that carries it; never kept."""

    rule_id: Code
    born: Annotated[str, Field(min_length=10, max_length=13)] = Field(repr=False)
    maturity: Code
    child_view: Code
    guardians: Annotated[int, Field(ge=0, lt=16)]
    guardians_excluded: Annotated[int, Field(ge=0, lt=16)] = 0
    reassess_on: Day


class CapacityInput(_Part):
    """What was assessed of the person's capacity to decide."""

    status: Code
    assessed_at: Moment
    valid_until: Moment | None = None


class InformationInput(_Part):
    """How the wording was told."""

    language: Annotated[str, Field(min_length=2, max_length=35)]
    form: Code
    interpreter: bool
    how: Code
    consequences_told: bool
    voluntary_told: bool
    refusal_told: bool
    text_hash: Hash


class EvidenceInput(_Part):
    """One piece of evidence kept at the agency."""

    kind: Code
    sha256: Hash


class GivenTerms(CaseCommand):
    """Everything a consent can say; what is left out is as if it did not exist."""

    recipients: list[Recipient] = Field(default=[])
    categories: list[Code] = Field(default=[])
    purposes: list[Code] = Field(default=[])
    actions: list[Code] = Field(default=["DISCLOSE"], min_length=1)
    valid_from: Moment | None = None
    valid_until: Moment
    reservations: list[ReservationInput] = Field(default=[])
    text_version: Name
    terms_version: Name
    processing_acknowledged: bool
    given_by: Code = "SELF"
    method: Method
    evidence_hash: Hash | None = None
    kind: Code | None = None
    about: list[Person] | None = None
    givers: list[GiverInput] | None = None
    minor: MinorInput | None = None
    capacity: CapacityInput | None = None
    data_from: Moment | None = None
    data_until: Moment | None = None
    until_event: Code | None = None
    review_by: Moment | None = None
    information: InformationInput | None = None
    withdrawal_method: Code | None = None
    all_agencies_required: bool | None = None
    recipient_obligations: list[Code] | None = None
    supersedes: Spelled | None = None
    reserved: list[Code] | None = None
    evidence: list[EvidenceInput] | None = None


class Grant(GivenTerms):
    """Record a consent of the person to this unit's disclosure."""

    do: Literal["grant"]


class Amend(GivenTerms):
    """The person changes a consent: whole new terms in place of the old."""

    do: Literal["amend"]
    consent: Spelled


class Block(CaseCommand):
    """Record that the person forbids something; an empty list means all."""

    do: Literal["block"]
    recipients: list[Recipient] = Field(default=[])
    categories: list[Code] = Field(default=[])
    purposes: list[Code] = Field(default=[])
    actions: list[Code] = Field(default=[])
    about: list[Person] | None = None
    effective_at: Moment | None = None
    method: Method


class Unblock(CaseCommand):
    """End a block."""

    do: Literal["unblock"]
    consent: Spelled


class ScopeInput(_Part):
    """A part of a consent or a block; an empty list means all."""

    recipients: list[Recipient] = Field(default=[])
    categories: list[Code] = Field(default=[])
    purposes: list[Code] = Field(default=[])


class Lift(CaseCommand):
    """Lift a block, or a part of it, until a moment."""

    do: Literal["lift"]
    consent: Spelled
    lift_until: Moment
    scope: ScopeInput | None = None


class Withdraw(CaseCommand):
    """The person takes one consent of this unit back, or a part of it."""

    do: Literal["withdraw"]
    consent: Spelled
    scope: ScopeInput | None = None
    effective_at: Moment | None = None


class WithdrawCase(CaseCommand):
    """The person takes everything back, of every discloser."""

    do: Literal["withdraw_case"]
    method: Method
    effective_at: Moment | None = None


class Suspend(CaseCommand):
    """The person suspends a consent."""

    do: Literal["suspend"]
    consent: Spelled
    effective_at: Moment | None = None


class Resume(CaseCommand):
    """The person ends the suspension of a consent."""

    do: Literal["resume"]
    consent: Spelled


class Expire(CaseCommand):
    """Something happened with which consents of this unit end."""

    do: Literal["expire"]
    ended_event: Code
    effective_at: Moment | None = None


class Lapse(CaseCommand):
    """Who represents the person does so no more. `givers`: whose authority, by number; an empty list means all."""

    do: Literal["lapse"]
    givers: list[Person] = Field(default=[])
    effective_at: Moment | None = None


class RequestConsent(CaseCommand):
    """The person was asked."""

    do: Literal["request_consent"]


class RefuseConsent(CaseCommand):
    """The person was asked and said no. `consent`: the request's, where there was one."""

    do: Literal["refuse_consent"]
    consent: Spelled | None = None
    all_agencies_required: bool = False


class ConfirmConsent(CaseCommand):
    """The person said it again; `review_by`: when to ask next."""

    do: Literal["confirm_consent"]
    consent: Spelled
    review_by: Moment | None = None


ON_KNOWN = (Amend, Unblock, Lift, Withdraw, Suspend, Resume, ConfirmConsent)  # name an act of this unit's own ledger
WIDENS = ("grant", "amend", "unblock", "resume", "lift")
NARROWS = ("block", "withdraw", "withdraw_case", "suspend", "expire", "lapse")
_WORDS = (("kind", "consent_kind"), ("until_event", "ending_event"), ("ended_event", "ending_event"))
_MOMENTS = ("lift_until", "review_by", "data_from", "data_until")


def check(command: object) -> None:
    """Check codes and moments of what a consent command holds; raises `HS-CODE-UNKNOWN`, `HS-INPUT-INVALID`.

    What the whole terms may not be the broker refuses when it records them (`consent.admission`).
    """
    for name, kind in _WORDS:
        if (given := getattr(command, name, None)) is not None:
            codes.known(kind, given, name)
    for name in _MOMENTS:
        if (given := getattr(command, name, None)) is not None:
            fields.moment(given, name)
    scope = getattr(command, "scope", None)
    recipients = [*getattr(command, "recipients", []), *(scope.recipients if scope else [])]
    for recipient in recipients:
        _check_recipient(recipient, follows=isinstance(command, GivenTerms))
    if isinstance(command, GivenTerms):
        _check_given(command)


def _check_recipient(recipient: Recipient, *, follows: bool) -> None:
    if (recipient.unit is None) == (recipient.role is None):
        raise HandslagError("HS-INPUT-INVALID", field="recipients")
    if recipient.follows_role and (recipient.role is None or not follows):
        # Only a consent follows; what forbids or takes back meets whoever holds the role anyway.
        raise HandslagError("HS-INPUT-INVALID", field="follows_role")
    if recipient.unit is not None:
        checked_unit(recipient.unit)
    else:
        codes.known("role", recipient.role or "", "recipients")


def _check_given(command: GivenTerms) -> None:
    row = codes.table()["consent_kind"][command.kind or "SECRECY_WAIVER"]
    if row["opens"] and not (command.recipients and command.categories and command.purposes):
        raise HandslagError("HS-INPUT-INVALID", field="recipients")
    if command.given_by != "SELF" and command.givers is None:
        raise HandslagError("HS-NOT-YET", field="given_by")
    if command.supersedes is not None:
        parsed(command.supersedes)
    if command.minor is not None:
        _born(command.minor.born)


def _born(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text) if len(text) == 10 else majority.birth_date(text)
    except ValueError:
        raise HandslagError("HS-INPUT-INVALID", field="born") from None


def kept(value: dict[str, Any], now_us: int) -> dict[str, Any]:
    """The command as it is kept: of a child no birth date, only the age band and the moment to ask anew.

    That moment is the earlier of the day agreed on and the birthday with which the next age band begins, the last being
    majority. It stands everywhere alike, so that nobody can tell which of the two it is; the consent's own end is a
    Stockholm midnight too. Nobody but this connector can see to it: no other is told the birth date. Raises
    `HS-GIVER-INVALID` for an adult.
    INVARIANT: test_a_birth_date_goes_in_and_never_out, test_an_assessment_does_not_outlive_the_age_it_was_made_for.
    """
    if value.get("minor") is None:
        return value
    minor = dict(value["minor"])
    born = _born(minor.pop("born"))
    age_band = majority.band(born, now_us)
    if age_band is None:
        raise HandslagError("HS-GIVER-INVALID", field="born")
    try:
        until_us = majority.authority_until_us(born, dt.date.fromisoformat(minor.pop("reassess_on")), now_us)
    except ValueError:
        raise HandslagError("HS-INPUT-INVALID", field="reassess_on") from None
    givers = [one if one["capacity"] == "SELF" else _until(one, until_us) for one in value["givers"] or []]
    ends_us = majority.to_midnight_us(fields.moment(value["valid_until"], "valid_until"))
    return {
        **value,
        "minor": {**minor, "age_band": age_band, "reassess_at": fields.shown_moment(until_us)},
        "givers": givers or None,
        "valid_until": fields.shown_moment(ends_us),
    }


def _until(giver: dict[str, Any], until_us: int) -> dict[str, Any]:
    stated = giver["authority_until"]
    sooner_us = until_us if stated is None else min(until_us, fields.moment(stated, "authority_until"))
    return {**giver, "authority_until": fields.shown_moment(majority.to_midnight_us(sooner_us))}
