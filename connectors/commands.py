"""What an agency system can ask of its connector, as typed commands: the shapes of docs/folder-adapter.md.

Every command has `do`, and may have `id`, a correlation text of the agency's own that comes back in every answer.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from connectors import command_consents, fields
from connectors.command_consents import (
    Amend,
    Block,
    ConfirmConsent,
    Expire,
    Grant,
    Lapse,
    Lift,
    RefuseConsent,
    RequestConsent,
    Resume,
    Suspend,
    Unblock,
    Withdraw,
    WithdrawCase,
)
from connectors.command_types import CaseCommand, Code, Command, Moment, Name, Ref, Spelled
from connectors.lost_commands import Identify, Reaffirm, RekeyAsk, RekeyCompare, RekeySign
from schemas import codes, limits
from schemas.errors import HandslagError
from schemas.event_types import check_action, content_type
from schemas.identifiers import checked_unit, parsed


class OpenCase(CaseCommand):
    """Open a case and take the lead's seat in it."""

    do: Literal["open_case"]
    role: Code


class Person(BaseModel):
    """Who the invitation is about; sealed to the invited unit."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: Name | None = None
    personal_identity_number: Name | None = None
    local_reference: Name | None = None


class Invite(CaseCommand):
    """Invite a unit to take a role in the case."""

    do: Literal["invite"]
    unit: Name
    role: Code
    contact: Name
    person: Person


class Accept(CaseCommand):
    """Answer an invitation: the unit takes the role and names the case by `ref`."""

    do: Literal["accept"]
    invitation: Spelled


class Remove(CaseCommand):
    """The lead ends a role's membership."""

    do: Literal["remove"]
    role: Code


class Close(CaseCommand):
    """Close this unit's own seat."""

    do: Literal["close"]


class HandOver(CaseCommand):
    """The lead's case passes to the social services that was invited to take it over, in the next weekly slot."""

    do: Literal["hand_over"]
    undo: bool = False


class Discard(Command):
    """A named person decides that a waiting event is not sent."""

    do: Literal["discard"]
    event: Spelled


class Introduce(CaseCommand):
    """Send this seat's contact card to roles."""

    do: Literal["introduce"]
    to: list[Code] = Field(min_length=1)
    purpose: Code = "PLANNING"
    unit_name: Name
    function: Name
    phone: Name | None = None
    valid_until: Moment | None = None
    deadline_at: Moment | None = None


class Period(BaseModel):
    """When the data of a section are from; `until` is the first moment after."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    since: Moment | None = None
    until: Moment | None = None


class Send(CaseCommand):
    """Send a case event to roles. `persons`: whom a category's data concern, by number, where it is not 0 alone."""

    do: Literal["send"]
    event_type: Code
    to: list[Code] = Field(min_length=1)
    purpose: Code
    action: Code = "DISCLOSE"
    occurred_at: Moment | None = None
    valid_until: Moment | None = None
    deadline_at: Moment | None = None
    statement_kind: Literal["FACT", "ASSESSMENT"] = "FACT"
    reliability: Code | None = None
    in_reply_to: Spelled | None = None
    replaces: Spelled | None = None
    public_interest_released: list[Code] = Field(default=[])
    confirmed: bool = False
    persons: dict[Code, list[command_consents.Person]] = Field(default={})
    data_periods: dict[Code, Period] = Field(default={})
    data: dict[str, Any]


class Annul(CaseCommand):
    """A consent of this unit was never one: it is stopped, and everybody who was given something under it is told."""

    do: Literal["annul"]
    consent: Spelled
    ground: Code


class VoidCase(CaseCommand):
    """The lead declares that the case never was one: everything of every discloser stops, every recipient is told."""

    do: Literal["void_case"]
    ground: Code


class JoinCases(CaseCommand):
    """Two cases in which this unit has a seat are about one person: what is taken back in one is taken back in both."""

    do: Literal["join_cases"]
    other: Ref


class SeparateCases(CaseCommand):
    """They are about two persons: the join was wrong."""

    do: Literal["separate_cases"]
    join: Spelled


class AnswerAnnulment(Command):
    """What this unit did with what it was given under a consent that another unit annulled."""

    do: Literal["answer_annulment"]
    ref: Literal[""] = ""
    notice: Spelled
    verdict: Code
    reason: Code | None = None


class RecordDisclosure(CaseCommand):
    """Note what was said outside Handslag: at a meeting, by phone, in a letter.

    `note`, `persons` and `data_periods` (as in `Send`) never leave this connector.
    """

    do: Literal["record_disclosure"]
    to: list[Code] = Field(min_length=1, max_length=limits.RECIPIENTS)
    purpose: Code
    categories: list[Code] = Field(min_length=1, max_length=limits.SECTIONS)
    manner: Code
    said_at: Moment | None = None
    consents: list[Spelled] = Field(default=[], max_length=limits.SECTIONS)
    public_interest_released: list[Code] = Field(default=[])
    persons: dict[Code, list[command_consents.Person]] = Field(default={})
    data_periods: dict[Code, Period] = Field(default={})
    note: Annotated[str, Field(max_length=4000)] | None = None


NARROWING = (*command_consents.NARROWS, "annul", "void_case", "crossing")
AnyCommand = (
    OpenCase
    | Grant
    | Amend
    | Block
    | Unblock
    | Lift
    | Withdraw
    | WithdrawCase
    | Suspend
    | Resume
    | Expire
    | Lapse
    | RequestConsent
    | RefuseConsent
    | ConfirmConsent
    | Invite
    | Accept
    | Remove
    | Close
    | HandOver
    | Discard
    | Introduce
    | Send
    | RecordDisclosure
    | Annul
    | VoidCase
    | JoinCases
    | SeparateCases
    | AnswerAnnulment
    | RekeyAsk
    | RekeyCompare
    | RekeySign
    | Identify
    | Reaffirm
)
_ADAPTER: TypeAdapter[AnyCommand] = TypeAdapter(Annotated[AnyCommand, Field(discriminator="do")])
_WORDS = {
    "categories": "category",
    "public_interest_released": "category",
    "purposes": "purpose",
    "purpose": "purpose",
    "actions": "action",
    "action": "action",
    "role": "role",
    "to": "role",
    "manner": "manner",
    "ground": "annul_ground",
    "verdict": "annul_verdict",
    "reason": "kept_reason",
}


def read(data: bytes) -> AnyCommand:
    """The command in a JSON text.

    Raises `HS-INPUT-INVALID`, `HS-CODE-UNKNOWN`, `HS-ACTION-OTHER`, `HS-IDENTIFIER-INVALID`, `HS-NOT-YET` or
    PayloadRejected; the context
    names a field of the shape, never anything of the input.
    """
    try:
        command = _ADAPTER.validate_json(data)
    except ValidationError as error:
        raise HandslagError("HS-INPUT-INVALID", field=_field(error)) from None
    _check_codes(command)
    if isinstance(command, Annul | VoidCase) and not codes.table()["annul_ground"][command.ground]["act"]:
        raise HandslagError("HS-CODE-UNKNOWN", field="ground")  # a correction has an event of its own (`replaces`)
    _check_rest(command)
    if isinstance(command, JoinCases | SeparateCases):
        _check_joined(command)
    if isinstance(command, Send | RecordDisclosure):
        _check_stated(command)
    return command


def _field(error: ValidationError) -> str:
    """The field of the first complaint, unless the input itself drew the name."""
    first = error.errors(include_input=False, include_context=False)[0]
    if first["type"] == "extra_forbidden":
        return "unknown field"
    names = [part for part in first["loc"][1:] if isinstance(part, str)]
    return names[0] if names else "do"


def _check_codes(command: AnyCommand) -> None:
    for name, kind in _WORDS.items():
        given = getattr(command, name, None)
        for code in [given] if isinstance(given, str) else given or []:
            codes.known(kind, code, name)
    command_consents.check(command)


def _check_rest(command: AnyCommand) -> None:
    for name in ("valid_from", "valid_until", "effective_at", "occurred_at", "deadline_at", "said_at"):
        given = getattr(command, name, None)
        if given is not None:
            fields.moment(given, name)
    for name in ("consent", "invitation", "event", "in_reply_to", "replaces", "notice", "join", "consents"):
        given = getattr(command, name, None)
        for one in [given] if isinstance(given, str) else given or []:
            parsed(one)
    if isinstance(command, AnswerAnnulment) and (command.verdict == "KEPT") != (command.reason is not None):
        raise HandslagError("HS-INPUT-INVALID", field="reason")
    if isinstance(command, Invite):
        checked_unit(command.unit)
    if isinstance(command, Send):
        content_type(command.event_type)
        # INVARIANT: test_a_file_can_name_no_other_action_than_disclosing
        check_action(command.event_type, command.action)
        if command.event_type in {"seat_invited", "seat_introduced"}:
            # They have commands of their own, which fill in what must be right.
            raise HandslagError("HS-INPUT-INVALID", field="event_type")
        fields.from_json(command.event_type, command.data)


def _check_stated(command: Send | RecordDisclosure) -> None:
    for category in (*command.persons, *command.data_periods):
        codes.known("category", category, "persons")
    for persons in command.persons.values():
        if not persons or len(set(persons)) != len(persons):
            raise HandslagError("HS-INPUT-INVALID", field="persons")
    for period in command.data_periods.values():
        stated = [fields.moment(each, "data_periods") for each in (period.since, period.until) if each is not None]
        if stated != sorted(set(stated)):
            raise HandslagError("HS-INPUT-INVALID", field="data_periods")
    if isinstance(command, RecordDisclosure):  # of an event its data tell what is in it
        for name in ("persons", "data_periods"):
            if not set(getattr(command, name)) <= set(command.categories):
                raise HandslagError("HS-INPUT-INVALID", field=name)


def _check_joined(command: JoinCases | SeparateCases) -> None:
    if not command.actor_ref:
        raise HandslagError("HS-INPUT-INVALID", field="actor_ref")  # a named person decides, never a default
    if isinstance(command, JoinCases) and command.other == command.ref:
        raise HandslagError("HS-INPUT-INVALID", field="other")
