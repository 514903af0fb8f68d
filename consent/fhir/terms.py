"""One FHIR R4 Consent and one question about it, free of any model library: what is asked and what is answered.

Times are microseconds UTC; a span is half open. An element that was there and could not be read never disappears: a
coding without system or code is kept with an empty text, which equals nothing, and a provision that holds something
nobody here understands is marked `unclear`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

PERMIT, DENY, NO_CONSENT = "PERMIT", "DENY", "NO_CONSENT"


class Met(IntEnum):
    """Whether a criterion is met; UNKNOWN where nobody can tell."""

    NO = 0
    UNKNOWN = 1
    YES = 2


class Coding(NamedTuple):
    """A code in its system, or an identifier's value in its system; empty where the source has none."""

    system: str
    code: str

    @property
    def whole(self) -> bool:
        """Whether both are there: half a coding says nothing that could be compared."""
        return bool(self.system and self.code)


class Span(NamedTuple):
    """From `from_us` to before `until_us`; None: open."""

    from_us: int | None
    until_us: int | None

    def holds(self, at_us: int) -> bool:
        """Whether a moment lies in it."""
        return (self.from_us is None or at_us >= self.from_us) and (self.until_us is None or at_us < self.until_us)


class DataRef(NamedTuple):
    """`provision.data`: a resource, and how the controlled data relate to it (instance, related, ...).

    `reference`: literal, or an identifier as `system|value`; empty where it names nothing that content could show.
    """

    meaning: str
    reference: str

    @property
    def whole(self) -> bool:
        """Whether content can be compared with it."""
        return bool(self.reference)


class DataPeriod(NamedTuple):
    """`provision.dataPeriod` as it was written; what lies within is for whoever holds the data to see."""

    start: str
    end: str


Atom = Coding | DataRef | DataPeriod  # one thing by which content can be told apart


Name = str | Coding  # a literal reference, or an identifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A resource that was given or that the consent contains, as far as it says who is who, and who is in whom.

    `reference`: `Type/id`, `#id` of one that the consent contains, or empty. `identifiers`: all that it lists.
    `holds`: names of whom it has in it, at whatever time; `within`: of what it is a part; `closed`: both could be
    read whole. `members`: the list of a group that has just these members at all times, else None.
    """

    kind: str
    reference: str = ""
    identifiers: tuple[Coding, ...] = ()
    holds: frozenset[Name] = frozenset()
    within: frozenset[Name] = frozenset()
    members: frozenset[Name] | None = None
    closed: bool = True

    @property
    def names(self) -> frozenset[Name]:
        """Every name of it that can be compared."""
        whole = frozenset[Name](each for each in self.identifiers if each.whole)
        return whole | {self.reference} if self.reference else whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """One `provision.actor`: its role, its literal reference or logical identifier, and the resource behind it.

    `kind`: its resource type where the consent says it, else empty; `body`: None when the resource was not given.
    """

    roles: tuple[Coding, ...]
    reference: str = ""
    identifier: Coding | None = None
    kind: str = ""
    body: Body | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Provision:
    """One rule of the tree. An empty tuple or None: the rule says nothing about this, and holds whatever it is."""

    path: str
    type: str | None
    period: Span | None = None
    actors: tuple[Actor, ...] = ()
    actions: tuple[Coding, ...] = ()
    purposes: tuple[Coding, ...] = ()
    labels: tuple[Coding, ...] = ()
    classes: tuple[Coding, ...] = ()
    codes: tuple[Coding, ...] = ()
    data: tuple[DataRef, ...] = ()
    data_period: DataPeriod | None = None
    unclear: bool = False
    provisions: tuple[Provision, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FhirConsent:
    """What of a Consent bears on a decision. `unclear`: it holds a modifier that nobody here understands.

    `bodies`: every resource that was given beside it or that it contains.
    """

    status: str
    scope: tuple[Coding, ...]
    category: tuple[Coding, ...]
    patient: bool
    issued_us: int | None
    policy_rules: tuple[Coding, ...]
    verified: tuple[bool | None, ...]
    root: Provision | None
    unclear: bool = False
    bodies: tuple[Body, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One recipient, one purpose, one moment.

    `references` and `identifiers` are names of the same actor. `classes`: content classes asked for; none: any.
    `bodies`: what is known of that actor and of others (`FhirConsent.bodies`).
    """

    references: frozenset[str]
    identifiers: frozenset[Coding]
    purpose: Coding
    action: Coding
    category: Coding
    classes: tuple[Coding, ...]
    at_us: int
    bodies: tuple[Body, ...] = ()

    @property
    def names(self) -> frozenset[Name]:
        """Every name of the recipient that can be compared."""
        return frozenset[Name](self.references) | {each for each in self.identifiers if each.whole}


@dataclass(frozen=True, slots=True)
class Residual:
    """What may go: everything but what has one of `redact`, and only what has one of each clause of `keep`."""

    redact: tuple[Atom, ...] = ()
    keep: tuple[tuple[Atom, ...], ...] = ()

    @property
    def everything(self) -> bool:
        """Whether nothing is held back."""
        return not self.redact and not self.keep


class Answer(NamedTuple):
    """What is answered, and why.

    `decision`: PERMIT, DENY or NO_CONSENT; `residual`: what a PERMIT holds back; `reasons`: codes of list
    `fhir_reason`; `because`: paths of the provisions that decided.
    """

    decision: str
    residual: Residual
    reasons: tuple[str, ...]
    because: tuple[str, ...]
