"""Events of which each party gets its own part: one event for each recipient role, holding that role's part only.

A section goes whole to whoever its category is released to, so two parties of one event would see the same. Where the
catalogue says "each its own view", the view is an event of its own. The sender's connector seals no other, and the
recipient's gives no other to its agency's system.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from schemas.errors import HandslagError


class _View(NamedTuple):
    """Fields of a view: whose it is, its list of parts, and in each part who that is about."""

    party: str
    parts: str
    owner: str


_VIEWS = {"joint_plan_adopted": _View("view_of", "actions", "responsible")}


def check_view(event_type: str, data: Mapping[str, Any], roles: Sequence[str]) -> None:
    """Raise `HS-VIEW-OTHER` unless `data` is the own view of the one role that it goes to.

    `data` are an event's fields as Avro has them; what was not released has no key. Other types have no views.
    """
    # INVARIANT: test_a_party_is_sent_its_own_view_only, test_a_view_of_another_party_is_not_given_out
    view = _VIEWS.get(event_type)
    if view is None or view.party not in data:
        return
    party = str(data[view.party])
    if [role.upper() for role in roles] != [party]:
        raise HandslagError("HS-VIEW-OTHER", check="party")
    if any(part[view.owner] != party for part in data.get(view.parts, ())):
        raise HandslagError("HS-VIEW-OTHER", check="parts")


def has_views(event_type: str) -> bool:
    """Whether each party gets an event of its own: such an event is for one role, which whoever relays it can see."""
    return event_type in _VIEWS
