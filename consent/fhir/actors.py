"""Is the recipient asked about one of a provision's actors? A permission needs the name, a denial the possibility.

A denial meets whoever may be in what it denies: a part of an organisation, somebody of a team, the holder of a role. It
spares a recipient only where one of these is certain:

    an individual   is another individual
    an organisation was given, is another and not above it, and so is everything that it is a part of, up to the last
    a group's list  is whole and of individuals of one kind, and the recipient is another of that kind
    a name          is of a system in which a body has exactly one (`systems.SINGLE`), and the recipient has another
"""

from __future__ import annotations

from collections import defaultdict

from consent.fhir.systems import PARTICIPATION, SINGLE
from consent.fhir.terms import Actor, Ask, Body, Coding, Met, Name

# Roles in which an actor of a provision receives; any other (custodian, author, ...) narrows something else.
_RECIPIENTS = frozenset({Coding(PARTICIPATION, "IRCP"), Coding(PARTICIPATION, "PRCP")})
_INDIVIDUALS = frozenset({"Device", "Patient", "Practitioner", "RelatedPerson"})  # nobody else is in one
_ORGANIZATION = "Organization"
_LISTS = frozenset({"CareTeam", "Group", "PractitionerRole"})


def met_by(actors: tuple[Actor, ...], ask: Ask, *, narrow: bool) -> Met:
    """Whether the recipient is one of the actors; one in another role narrows a permission in a way unknown here.

    `narrow`: of a denial, which is met by whoever may be meant. INVARIANT: test_who_may_be_in_what_is_denied_is_denied.
    """
    met = max((_denied(actor, ask) if narrow else _named(actor, ask) for actor in actors), default=Met.YES)
    return met if narrow or all(map(_receives, actors)) else min(met, Met.UNKNOWN)


def _receives(actor: Actor) -> bool:
    return not _RECIPIENTS.isdisjoint(actor.roles)


def _named(actor: Actor, ask: Ask) -> Met:
    """Of a permission: to the very one, or to a member of the group's list."""
    if not _receives(actor):
        return Met.UNKNOWN
    members = actor.body.members if actor.body is not None else None
    if (_names(actor) | (members or frozenset())) & ask.names:
        return Met.YES
    if members is not None:
        return Met.NO if _none_of(members, ask) else Met.UNKNOWN
    return Met.NO if _kind(actor) not in _LISTS and _another(actor, ask) else Met.UNKNOWN


def _denied(actor: Actor, ask: Ask) -> Met:
    if not _receives(actor):
        return Met.UNKNOWN
    if _reached(_names(actor), ask.bodies) & _own_names(ask):
        return Met.YES
    return Met.NO if _apart(actor, ask) else Met.UNKNOWN


def _apart(actor: Actor, ask: Ask) -> bool:
    """Whether it is certain that the recipient is neither what is denied nor anything in it."""
    if _other_value(_names(actor), ask.names, SINGLE):
        return True
    kind, body = _kind(actor), actor.body
    if kind in _INDIVIDUALS:
        return _another(actor, ask)
    if kind == _ORGANIZATION:
        if _reached(ask.names, ask.bodies) & _names(actor):
            return False  # what is denied is a part of whoever asks
        return any(_outside(own, actor, ask) for own in _given(ask) if own.names >= ask.names)
    return kind in _LISTS and body is not None and body.closed and bool(body.holds) and _none_of(body.holds, ask)


def _names(actor: Actor) -> frozenset[Name]:
    names = frozenset() if actor.body is None else actor.body.names
    names |= {actor.reference} if actor.reference else set()
    return names | ({actor.identifier} if actor.identifier is not None and actor.identifier.whole else set())


def _kind(actor: Actor) -> str:
    """What kind of resource it is: by its reference, by itself, by its word; empty where these differ."""
    said = {_type(actor.reference), actor.kind, actor.body.kind if actor.body is not None else ""} - {""}
    return said.pop() if len(said) == 1 else ""


def _given(ask: Ask) -> list[Body]:
    """What was given of the recipient; what the consent contains tells nothing about who asks."""
    return [each for each in ask.bodies if each.names & ask.names and not each.reference.startswith("#")]


def _own_names(ask: Ask) -> frozenset[Name]:
    return ask.names.union(*(each.names for each in _given(ask)))


def _reached(names: frozenset[Name], bodies: tuple[Body, ...]) -> frozenset[Name]:
    """The names of all that is known to be in what bears one of `names`, however deep."""
    touched: defaultdict[Name, list[Body]] = defaultdict(list)
    for body in bodies:
        for name in body.names | body.within:
            touched[name].append(body)
    grown, edge = set(names), list(names)
    while edge:
        for body in touched.pop(edge.pop(), ()):
            new = (body.names | body.holds) - grown
            grown |= new
            edge += new
    return frozenset(grown)


def _none_of(members: frozenset[Name], ask: Ask) -> bool:
    """Whether the recipient is certainly none of them: individuals of one kind, and so is every name of theirs."""
    kinds = {_type(name) if isinstance(name, str) else "" for name in members}
    return len(kinds) == 1 and kinds <= _INDIVIDUALS and kinds == {_type(name) for name in ask.references}


def _another(actor: Actor, ask: Ask) -> bool:
    """Whether the recipient certainly is another body than the actor, which is an individual or named as it is."""
    kind = _type(actor.reference)
    if kind and ask.references:
        return all(_type(name) == kind for name in ask.references)
    return _other_identifier(actor, ask.names, _given(ask))


def _other_identifier(actor: Actor, names: frozenset[Name], own: list[Body]) -> bool:
    """Whether two bodies differ by their identifiers.

    A resource that was given is believed to list all its identifiers of a system of which it lists one.
    """
    resources = own if actor.body is None else [*own, actor.body]
    whole = [each.identifiers for each in resources if all(one.whole for one in each.identifiers)]
    listed = frozenset(one.system for identifiers in whole for one in identifiers)
    return _other_value(_names(actor), names.union(*(each.names for each in own)), listed | SINGLE)


def _other_value(one: frozenset[Name], other: frozenset[Name], systems: frozenset[str]) -> bool:
    """Whether each of two has a value of one of these systems; that they have none in common was seen before."""
    mine, yours = ({each.system for each in names if isinstance(each, Coding)} for names in (one, other))
    return not systems.isdisjoint(mine & yours)


def _outside(own: Body, actor: Actor, ask: Ask) -> bool:
    """Whether an organisation that was given, and all that it is a part of, are certainly not the actor."""
    given: defaultdict[Name, list[Body]] = defaultdict(list)
    for body in ask.bodies:
        for name in body.names if not body.reference.startswith("#") else ():
            given[name].append(body)
    for _step in ask.bodies:  # a chain that is longer goes round
        if own.kind != _ORGANIZATION or not own.closed or not _distinct(own, actor):
            return False
        if not own.within:
            return True
        above = [body for name in own.within for body in given[name]]
        if not above or any(body is not above[0] for body in above):
            return False
        own = above[0]
    return False


def _distinct(own: Body, actor: Actor) -> bool:
    if _type(own.reference) and _type(own.reference) == _type(actor.reference):
        return True
    return _other_identifier(actor, own.names, [own])


def _type(reference: str) -> str:
    """The resource type of `Type/id`, relative to one server; an absolute address may be another name of the same."""
    return reference.partition("/")[0] if reference.count("/") == 1 and not reference.startswith("#") else ""
