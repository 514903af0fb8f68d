"""Who gave a consent, in a naive second decision: authority, a child's guardians and its own word, capacity.

Each function answers with a set of reasons for one set of terms, one section and one moment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from schemas import codes
from schemas.acts import ConsentAct

METHODS = {"WRITTEN", "EID", "ORAL_DOCUMENTED"}  # implied is none


class Noted(NamedTuple):
    """One act as recorded: when, and whether the discloser's seat signed it."""

    act: ConsentAct
    recorded_us: int
    signed: bool

    @property
    def since_us(self) -> int:
        """From when a narrowing act counts: the person's word, never later than the record."""
        said = self.act.effective_at_us
        return self.recorded_us if said is None else min(said, self.recorded_us)

    @property
    def widens_us(self) -> int:
        """From when a RESUME or UNBLOCK counts: never earlier than the record."""
        said = self.act.effective_at_us
        return self.recorded_us if said is None else max(said, self.recorded_us)


@dataclass(frozen=True)
class Asked:
    """One section's question with all that is needed to answer it."""

    rules: Any
    notes: tuple[Noted, ...]
    request: Any
    section: Any
    invitation: bool
    at_us: int


def code(kind, word):
    return codes.table()[kind].get(word)


def authority_reasons(asked, giver):
    """Authority in force when given and when asked about; a consent is in force no earlier than given."""
    row, until = code("giver", giver.capacity), giver.authority_until_us
    if row is None or not row["stands_for"]:
        return {"GUARDIAN_AUTHORITY_ENDED"} if until is not None and asked.at_us >= until else set()
    late = until is not None and max(giver.at_us, asked.at_us) >= until
    early = giver.authority_from_us is not None and giver.at_us < giver.authority_from_us
    unstated = row["authority"] and giver.authority_from_us is None
    return {"GUARDIAN_AUTHORITY_ENDED"} if late or early or unstated else set()


def giver_reasons(asked, given):
    about = (0,) if given.about is None else given.about
    if given.givers is None:
        # Unsaid, it is the person's own and nobody else's: nobody consents for another adult.
        return {"CAPACITY"} if given.given_by != "SELF" or any(one != 0 for one in about) else set()
    found = set()
    capacities = [one.capacity for one in given.givers]
    if given.given_by != "SELF" and given.given_by not in capacities:
        found.add("CAPACITY")
    if not given.givers:
        found.add("INVALIDATED")  # nobody gave it
    for one in given.givers:
        row = code("giver", one.capacity)
        found |= authority_reasons(asked, one)
        # Who speaks for himself is one of those it is about, who speaks for another is none of them, and for one only.
        if row is None or not row["power"] or (one.person in about) == row["stands_for"]:
            found.add("CAPACITY")
        if row is not None and row["stands_for"] and len(set(about)) > 1:
            found.add("CAPACITY")
        if one.method not in METHODS:
            found.add("INVALIDATED")
        if asked.at_us < one.at_us:
            found.add("NOT_YET_VALID")
    return found


def minor_reasons(asked, given):
    """A child: the row of its age and maturity says who must give it."""
    minor, givers = given.minor, given.givers or ()
    if minor is None:
        custody = ("GUARDIAN", "SPECIAL_GUARDIAN")
        return {"CAPACITY"} if any(one.capacity in custody for one in givers) else set()
    found = set()
    if asked.at_us >= minor.reassess_at_us:
        found.add("GUARDIAN_AUTHORITY_ENDED")
    child = any(one.capacity == "SELF" for one in givers) if given.givers is not None else given.given_by == "SELF"
    rows = [
        one for one in asked.rules.get("minors", ())
        if one["age_band"] == minor.age_band and one["maturity"] == minor.maturity
    ]  # fmt: skip
    if not rows or code("child_view", minor.child_view) is None:
        return found | {"CAPACITY"}
    if rows[0]["cosign"] and (not child or minor.child_view == "NOT_ASKED"):
        found.add("CHILD_COSIGN_MISSING")
    if minor.child_view == "OBJECTS" or (minor.child_view == "UNABLE" and child):
        found.add("CAPACITY")
    return found | custody_reasons(minor, givers) if rows[0]["guardians"] == "ALL" else found


def custody_reasons(minor, givers):
    """All who have custody and may be asked; what cannot be counted is not counted as missing."""
    gave = len({one.person for one in givers if one.capacity == "GUARDIAN"})
    wanted = max(minor.guardians - minor.guardians_excluded, 0)
    if minor.guardians < 0 or minor.guardians_excluded < 0 or gave > wanted:
        return {"CAPACITY"}
    if wanted == 0:
        return set() if any(one.capacity == "SPECIAL_GUARDIAN" for one in givers) else {"CAPACITY"}
    return {"GUARDIAN_MISSING"} if gave < wanted else set()


def human_reasons(asked, given):
    """What a human must look at: capacity as assessed, and what the person reserved."""
    found = set()
    if given.capacity is not None:
        until = given.capacity.valid_until_us
        if given.capacity.status != "HAS" or (until is not None and asked.at_us >= until):
            found.add("CAPACITY")
    rows = {one["code"]: one for one in asked.rules.get("reservations", ())}
    for one in given.reservations:
        row = rows.get(one.code)
        understood = row is not None and one.text_ref is None and not row.get("asks_human")
        if not understood or asked.request.action in row.get("denies", ()):
            found.add("RESERVATION")
    if given.reserved or any(code("obligation", one) is None for one in given.recipient_obligations or ()):
        found.add("RESERVATION")
    return found
