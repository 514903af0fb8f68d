"""What a resource says of who is who, and who is in whom: for the references of a consent's actors.

What FHIR R4 has for it: `Organization.partOf`, members of a Group, participants of a CareTeam, the practitioner and
the organisation of a PractitionerRole, a HealthcareService's provider, an OrganizationAffiliation, the links of a
Person.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from consent.fhir.terms import Body, Coding, Name

_Links = tuple[list[Any], list[Any]]  # references to whom it has in it, and to what it is a part of


def _group(one: Any) -> _Links:
    return [each.entity for each in one.member or [] if not each.inactive], []


def _care_team(one: Any) -> _Links:
    return [each.member for each in one.participant or []], []


def _practitioner_role(one: Any) -> _Links:
    # Who holds a role is in it; and the role is the practitioner's, so that whoever denies one denies the other.
    held = [one.practitioner] if one.practitioner else []
    return held, held + ([one.organization] if one.organization else [])


def _affiliation(one: Any) -> _Links:
    return [one.participatingOrganization], [one.organization]


def _person(one: Any) -> _Links:
    same = [each.target for each in one.link or []]
    return same, same


_LINKS: Mapping[str, Callable[[Any], _Links]] = {
    "Organization": lambda one: ([], [one.partOf] if one.partOf else []),
    "Group": _group,
    "CareTeam": _care_team,
    "PractitionerRole": _practitioner_role,
    "HealthcareService": lambda one: ([], [one.providedBy] if one.providedBy else []),
    "OrganizationAffiliation": _affiliation,
    "Person": _person,
}


def body_of(resource: Any, reference: str) -> Body:
    """One resource, read by the model library, under the name by which the consent's references may call it."""
    kind = resource.get_resource_type()
    found = getattr(resource, "identifier", None) or []
    holds, within = _LINKS.get(kind, lambda _one: ([], []))(resource)
    links = [_link(each, contained=reference.startswith("#")) for each in (*holds, *within)]
    return Body(
        kind=kind,
        reference=reference,
        identifiers=tuple(identifier_of(each) for each in (found if isinstance(found, list) else [found])),
        holds=frozenset(name for each in links[: len(holds)] for name in each),
        within=frozenset(name for each in links[len(holds) :] for name in each),
        members=_members(resource) if kind == "Group" else None,
        # A group that only describes whom it means has no list of them.
        closed=all(links) and (kind != "Group" or bool(resource.actual)),
    )


def names_of(reference: Any) -> list[Name]:
    """The literal reference and the identifier of a Reference, as far as it has them."""
    names: list[Name] = [reference.reference] if reference.reference else []
    return names if reference.identifier is None else [*names, identifier_of(reference.identifier)]


def identifier_of(identifier: Any) -> Coding:
    """An Identifier as system and value."""
    return Coding(identifier.system or "", identifier.value or "")


def _members(group: Any) -> frozenset[Name] | None:
    """Who is in a group at all times: of one with times it is said at some only."""
    if not group.actual or not group.member or any(each.period for each in group.member):
        return None
    return frozenset(name for each in group.member if not each.inactive for name in names_of(each.entity))


def _link(reference: Any, *, contained: bool) -> list[Name]:
    """The names in a link; nothing where it has none that could be compared, or one of a resource within the other."""
    names = [] if reference is None else [name for name in names_of(reference) if _is_whole(name)]
    return [name for name in names if contained or isinstance(name, Coding) or not name.startswith("#")]


def _is_whole(name: Name) -> bool:
    return name.whole if isinstance(name, Coding) else bool(name)


def directory(given: Iterable[Any], contained: Iterable[Any]) -> list[Body]:
    """Bodies by the name that a reference calls them: `Type/id` of what was given, `#id` of what the consent contains.

    Never across: a consent that contains an organisation of its own making tells nothing about one that it refers to.
    Raises ValueError where two were given under one name.
    """
    found = [body_of(each, f"#{each.id}") for each in contained if each.id]
    found += [body_of(each, f"{each.get_resource_type()}/{each.id}" if each.id else "") for each in given]
    named = [each.reference for each in found if each.reference]
    if len(set(named)) < len(named):
        raise ValueError("two resources under one name")
    return found
