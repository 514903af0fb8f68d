"""A FHIR Consent as the command that an officer may give of it: nothing is recorded here, and nothing silently lost.

Everything that says who, what, what for, how long or under which condition is either carried into the command or
refused by its element's name (`HS-FHIR-UNMAPPED`, all of them at once). What only describes the document is listed
as not carried. The mapping is docs/fhir-consent.md.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from connectors.fhir import moments
from connectors.fhir.model import Loaded
from connectors.fields import shown_moment
from consent.fhir import systems
from consent.fhir.terms import Actor, Coding, Provision
from consent.records import FOREVER
from schemas import codes
from schemas.errors import HandslagError
from schemas.identifiers import checked_unit

_LISTS = {"class": "category", "purpose": "purpose", "action": "action"}
_ROLES = frozenset({Coding(systems.PARTICIPATION, "IRCP"), Coding(systems.PARTICIPATION, "PRCP")})
_HERE = {systems.OUR_ROLE: False, systems.OUR_ROLE_FOLLOWED: True}
# Elements that decide nothing and go along nowhere; the officer reads them, or the agency keeps the document.
_DESCRIBING = (
    "id",
    "meta",
    "language",
    "text",
    "contained",
    "extension",
    "identifier",
    "dateTime",
    "category",
    "policy",
    "policyRule",
    "sourceAttachment",
    "sourceReference",
    "verification",
)
_OPT_OUT = frozenset({Coding(systems.ACT_CODE, "OPTOUT"), Coding(systems.ACT_CODE, "OPTOUTE")})
MAP_LIMIT = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What the officer says, or the agency decided: none of it stands in a FHIR Consent of somebody else's.

    `codes`: by list (`category`, `purpose`, `action`, `recipient`, `organization`) and `system|code` or literal
    reference, what the agency takes another's code for.
    """

    ref: str
    unit: str
    now_us: int
    method: str | None = None
    text_version: str | None = None
    terms_version: str | None = None
    processing_acknowledged: bool = False
    valid_until_us: int | None = None
    codes: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """The command, what of the consent does not go along, and where it became narrower than the document."""

    command: dict[str, Any]
    not_carried: tuple[str, ...]
    narrowed: tuple[str, ...]


def code_map(data: bytes) -> Mapping[str, Mapping[str, Any]]:
    """An agency's own map of codes; raises `HS-INPUT-INVALID` naming the list."""
    try:
        table = json.loads(data[: MAP_LIMIT + 1].decode("utf-8")) if len(data) <= MAP_LIMIT else None
    except (ValueError, RecursionError):
        table = None
    if not isinstance(table, dict) or not set(table) <= {*_LISTS.values(), "recipient", "organization"}:
        raise HandslagError("HS-INPUT-INVALID", field="map")
    for name, rows in table.items():
        kind = {"recipient": dict, "organization": str}.get(name, str)
        if not isinstance(rows, dict) or not all(isinstance(value, kind) for value in rows.values()):
            raise HandslagError("HS-INPUT-INVALID", field="map")
    return table


def command_of(loaded: Loaded, given: Given) -> Taken:
    """The command of docs/folder-adapter.md that says what the consent says: a `grant`, or a `block` of a refusal.

    Raises `HS-FHIR-UNMAPPED` naming every element that cannot be said, `HS-FHIR-INVALID`.
    """
    return _Taking(loaded, given).command()


class _Taking:
    def __init__(self, loaded: Loaded, given: Given) -> None:
        self._loaded, self._given = loaded, given
        self._unmapped: list[str] = []
        self._narrowed: list[str] = []

    def command(self) -> Taken:
        root = self._loaded.consent.root
        self._document()
        if root is None or root.type is None:
            self._unmapped.append("provision" if root is None else "provision.type")
            raise self._refused()
        command: dict[str, Any] = {"do": "grant" if root.type == "permit" else "block", "ref": self._given.ref}
        command |= self._rule(root)
        command |= self._given_facts() if root.type == "permit" else {}
        command["method"] = self._given.method or self._category(systems.OUR_METHOD)
        if command["method"] is None:
            self._unmapped.append("method")
        if self._unmapped:
            raise self._refused()
        described = [name for name in _DESCRIBING if name in self._loaded.present]
        return Taken(command=command, not_carried=tuple(described), narrowed=tuple(self._narrowed))

    def _refused(self) -> HandslagError:
        field = ", ".join(sorted(set(self._unmapped)))
        return HandslagError("HS-FHIR-UNMAPPED", field=field)

    def _document(self) -> None:
        """What the document as a whole says: in force, about privacy, this unit's, the person's own word."""
        consent, model = self._loaded.consent, self._loaded.model
        wrong = {
            "status": consent.status != "active",
            "scope": consent.scope != (systems.PATIENT_PRIVACY,),
            "patient": not consent.patient,
            "organization": not self._own_unit(model.organization or []),
            "performer": consent.patient and not _own_word(model),
            "policyRule": not _OPT_OUT.isdisjoint(consent.policy_rules),
            "verification": any(verified is not True for verified in consent.verified),
            "dateTime": consent.issued_us is not None and consent.issued_us > self._given.now_us,
            "modifierExtension": bool(model.modifierExtension),
            "implicitRules": consent.unclear and not model.modifierExtension,
        }
        self._unmapped += [name for name, is_wrong in wrong.items() if is_wrong]

    def _own_unit(self, organizations: Iterable[Any]) -> bool:
        """Whether the consent is to this unit's disclosure: each authority obtains its own."""
        taken_for = self._given.codes.get("organization", {})
        names = [_reference_names(each) for each in organizations]
        own = f"{systems.OUR_UNIT}|{self._given.unit}"
        return bool(names) and all(
            own in each or any(taken_for.get(name) == self._given.unit for name in each) for each in names
        )

    def _rule(self, root: Provision) -> dict[str, Any]:
        """What the one rule says, list by list; a criterion that a command does not have is refused."""
        model = self._loaded.model.provision
        assert model is not None
        beyond = {
            "provision.securityLabel": root.labels,
            "provision.code": root.codes,
            "provision.data": root.data,
            "provision.dataPeriod": root.data_period if root.type == "deny" else None,
            "provision.provision": root.provisions,
            "provision.modifierExtension": root.unclear,
            # Two codings of one concept are one thing said twice; two codes of ours would be two things.
            "provision.action": any(len(each.coding or []) != 1 for each in model.action or []),
            "provision.period": root.period is not None and root.type == "deny",
            "provision.extension": self._loaded.extended,
        }
        self._unmapped += [name for name, there in beyond.items() if there]
        rule = {
            "recipients": [self._recipient(actor) for actor in root.actors],
            "categories": self._codes("class", root.classes),
            "purposes": self._codes("purpose", root.purposes),
            "actions": self._codes("action", root.actions),
        }
        if root.type == "deny":
            return rule  # an empty list of a block means all, as an absent criterion of a rule does
        if not rule["actions"]:
            rule["actions"] = ["DISCLOSE"]
            self._narrowed.append("provision.action")
        absent = {"recipients": "actor", "categories": "class", "purposes": "purpose"}
        self._unmapped += [f"provision.{there}" for here, there in absent.items() if not rule[here]]
        return {**rule, **self._period(root), **_data_period(model.dataPeriod)}

    def _period(self, root: Provision) -> dict[str, Any]:
        since, until = root.period if root.period is not None else (None, None)
        # The last day there is (9999-12-31) is none.
        ends = [each for each in (until, self._given.valid_until_us) if each is not None and each < FOREVER]
        if not ends or min(ends) <= self._given.now_us:
            self._unmapped.append("provision.period.end")
            return {}
        if self._given.valid_until_us is not None and min(ends) != until:
            self._narrowed.append("provision.period.end")
        if since is None or since <= self._given.now_us:
            # A grant holds from its recording at the earliest.
            self._narrowed += ["provision.period.start"]
            return {"valid_from": None, "valid_until": shown_moment(min(ends))}
        return {"valid_from": shown_moment(since), "valid_until": shown_moment(min(ends))}

    def _codes(self, element: str, found: tuple[Coding, ...]) -> list[str]:
        named = _LISTS[element]
        taken = [self._code(named, coding) for coding in found]
        if None in taken:
            self._unmapped.append(f"provision.{element}")
        return list(dict.fromkeys(code for code in taken if code is not None))

    def _code(self, named: str, coding: Coding) -> str | None:
        code = self._given.codes.get(named, {}).get(f"{coding.system}|{coding.code}")
        if code is None and coding.system == systems.OURS + named:
            code = coding.code
        if code is None and named == "action" and coding.system == systems.ACTION:
            code = systems.FROM_HL7.get(coding.code)
        return str(code) if code in codes.table()[named] else None

    def _recipient(self, actor: Actor) -> dict[str, Any]:
        own = actor.identifier
        names = [actor.reference] if actor.reference else []
        names += [f"{own.system}|{own.code}"] if own is not None else []
        taken = [row for name in names if (row := self._given.codes.get("recipient", {}).get(name)) is not None]
        if not taken and own is not None and not actor.reference:
            taken = [_our_recipient(own)]
        wrong = not actor.roles or not set(actor.roles) <= _ROLES or len(taken) != 1 or not _is_recipient(taken[0])
        if wrong:
            self._unmapped.append("provision.actor")
        return {} if wrong else {"unit": None, "role": None, "follows_role": False, **taken[0]}

    def _given_facts(self) -> dict[str, Any]:
        """The wording read to the person: as the officer says, else as our own export names it."""
        facts = {
            "text_version": self._given.text_version or self._policy(systems.OUR_TEXT),
            "terms_version": self._given.terms_version or self._policy(systems.OUR_TERMS),
        }
        self._unmapped += [name for name, value in facts.items() if not value]
        acknowledged = self._given.processing_acknowledged or self._category(systems.OUR_PROCESSING) == "acknowledged"
        return {**facts, "processing_acknowledged": acknowledged, "given_by": "SELF", "reservations": []}

    def _policy(self, prefix: str) -> str | None:
        found = [str(each.uri) for each in self._loaded.model.policy or [] if each.uri]
        return next((unquote(uri.removeprefix(prefix)) for uri in found if uri.startswith(prefix)), None)

    def _category(self, system: str) -> str | None:
        return next((coding.code for coding in self._loaded.consent.category if coding.system == system), None)


def _data_period(period: Any) -> dict[str, str]:
    """From when to when the data are, as a command spells it: `data_until` is the first moment after."""
    if period is None:
        return {}
    since, until = moments.span(period.start, period.end)
    named = {"data_from": since, "data_until": until if until is None or until < FOREVER else None}
    return {name: shown_moment(at_us) for name, at_us in named.items() if at_us is not None}


def _our_recipient(own: Coding) -> dict[str, Any]:
    if own.system == systems.OUR_UNIT:
        return {"unit": own.code}
    follows = _HERE.get(own.system)
    return {} if follows is None else {"role": own.code, "follows_role": follows}


def _is_recipient(row: Mapping[str, Any]) -> bool:
    unit, role = row.get("unit"), row.get("role")
    if not set(row) <= {"unit", "role", "follows_role"} or (unit is None) == (role is None):
        return False
    if type(row.get("follows_role", False)) is not bool or (unit is not None and row.get("follows_role")):
        return False
    try:
        return role in codes.table()["role"] if unit is None else bool(checked_unit(unit))
    except HandslagError:
        return False


def _reference_names(reference: Any) -> set[str]:
    own = reference.identifier
    names = {reference.reference} if reference.reference else set()
    return names | ({f"{own.system}|{own.value}"} if own is not None else set())


def _own_word(model: Any) -> bool:
    """Whether the person gave it, and nobody for them: every performer is the patient."""
    performers = model.performer or []
    if model.patient is None or not performers:
        return False
    patient = _reference_names(model.patient)
    if not patient:  # masked: our own export, which says so of the performer too
        return all(not _reference_names(each) and each.type == "Patient" for each in performers)
    return all(_reference_names(each) & patient for each in performers)
