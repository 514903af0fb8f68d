"""Housing that the law forbids: a child alone in protected housing (SoL 22:5).

The sender's connector accepts no such event and the recipient's gives none out, whoever made it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from schemas.errors import HandslagError

_TYPE, _PROTECTED = "housing_placement_changed", "SKYDDAT_BOENDE"


def check_placement(event_type: str, data: Mapping[str, Any]) -> None:
    """Raise `HS-CHILD-ALONE` for a child in protected housing without an adult guardian who is placed there too.

    `data` are an event's fields as Avro has them; what was not released has no key, and then nothing can be said. In
    doubt it is refused: a child and protected housing need a stated guardian, and protected housing a stated age.
    """
    # INVARIANT: test_a_child_is_not_placed_in_protected_housing_alone
    if event_type != _TYPE or data.get("housing_type") != _PROTECTED or "with_guardian" not in data:
        return
    if data.get("child_placed") is not False and data["with_guardian"] is not True:
        raise HandslagError("HS-CHILD-ALONE", field="with_guardian")
