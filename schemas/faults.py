"""The one table of faults that the two doctors know, and how what they found is told.

The table lies in `tables/faults.toml`: code, who acts, the sentence and the remedy in Swedish and English, commands.
A finding is a code and the name of a setting; nothing that was read (a name, an address, a key) is ever repeated.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

EXITS = "Exit codes: 0 sound, 1 a fault was found, 2 could not look, or wrong usage."
_WHO = {
    "self": ("du som kör detta", "you who run this"),
    "operator": ("mäklarens operatör", "the broker's operator"),
    "another_agency": ("en annan myndighet", "another agency"),
    "network": ("den som sköter nätet", "whoever runs the network"),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One row of the table. `explains` are codes that follow from this one where both are found."""

    code: str
    side: str
    who: str
    grade: str
    sv: str
    en: str
    next_sv: str
    next_en: str
    commands: tuple[str, ...]
    explains: tuple[str, ...]

    @property
    def counts(self) -> bool:
        """Whether it makes a set-up unsound; a notice does not."""
        return self.grade == "fault"

    def acts(self, language: str) -> str:
        """Who acts, in words."""
        return _WHO[self.who][0 if language == "sv" else 1]


@dataclass(frozen=True, slots=True, order=True)
class Found:
    """A fault that is there. `field` names the setting or part concerned, in the product's own words."""

    code: str
    field: str = ""


@cache
def faults() -> dict[str, Fault]:
    """Every fault by its code, in the table's order."""
    text = resources.files("schemas").joinpath("tables/faults.toml").read_text(encoding="utf-8")
    rows = tomllib.loads(text).items()
    return {
        code: Fault(code=code, **{**row, "commands": tuple(row["commands"]), "explains": tuple(row["explains"])})
        for code, row in rows
    }


@dataclass(frozen=True, slots=True)
class Told:
    """A finding with the code that it follows from, or None when it stands for itself."""

    found: Found
    follows: str | None

    @property
    def fault(self) -> Fault:
        """Its row."""
        return faults()[self.found.code]


def diagnosis(found: Iterable[Found]) -> list[Told]:
    """What was found in the table's order, causes before what follows from them."""
    # INVARIANT: test_what_follows_from_a_fault_is_not_told_as_one_of_its_own
    there = sorted(set(found), key=lambda each: (list(faults()).index(each.code), each.field))
    codes = {each.code for each in there}
    causes = {each.code: _cause(each.code, codes) for each in there}
    told = [Told(each, causes[each.code]) for each in there]
    return sorted(told, key=lambda each: (not each.fault.counts, each.follows is not None))


def _cause(code: str, there: set[str]) -> str | None:
    return next(
        (other for other in faults() if other in there and other != code and code in faults()[other].explains), None
    )


def exit_code(told: Iterable[Told]) -> int:
    """0 when nothing counts as a fault, else 1; that nothing could be looked at (2) is the caller's to say."""
    return int(any(each.fault.counts for each in told))


def as_json(told: Iterable[Told], looked: bool, config: str) -> dict[str, Any]:
    """The report as one object, both languages. `looked` says whether the network was looked at."""
    rows = [
        {
            "code": each.found.code,
            "field": each.found.field,
            "follows_from": each.follows,
            "who": each.fault.who,
            "sv": each.fault.sv,
            "en": each.fault.en,
            "next_sv": each.fault.next_sv,
            "next_en": each.fault.next_en,
            "commands": [command.replace("{config}", config) for command in each.fault.commands],
            "grade": each.fault.grade,
        }
        for each in told
    ]
    return {
        "sound": not any(row["grade"] == "fault" for row in rows),
        "network": looked,
        "faults": [row for row in rows if row["grade"] == "fault"],
        "notices": [row for row in rows if row["grade"] == "notice"],
    }


_WORDS = {
    "sv": ("I ordning.", "Åtgärd", "Gör", "följer av", "Nätet undersöktes inte."),
    "en": ("Sound.", "Acts", "Do", "follows from", "The network was not looked at."),
}


def lines(told: Iterable[Told], looked: bool, config: str, language: str) -> list[str]:
    """The report for a person, in `sv` or `en`."""
    sound, acts, do, follows, not_looked = _WORDS[language]
    out: list[str] = []
    several = list(told)
    for each in several:
        fault = each.fault
        sentence, step = (fault.sv, fault.next_sv) if language == "sv" else (fault.en, fault.next_en)
        where = f" ({each.found.field})" if each.found.field else ""
        cause = f"  [{follows} {each.follows}]" if each.follows else ""
        out.append(f"{fault.code}{where}: {sentence}.{cause}")
        if each.follows is None:
            out.append(f"    {acts}: {fault.acts(language)}. {step}")
            out += [f"    {do}: {command.replace('{config}', config)}" for command in fault.commands]
    if not any(each.fault.counts for each in several):
        out.append(sound)
    return out if looked else [*out, not_looked]
