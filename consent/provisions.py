"""The registry of provisions that let an authority disclose without consent: dated data, each off until approved.

A provision is approved by the agency that uses it and by nobody else: its lawyer's signed act names the agency, the
provision and `Provision.hash32`, the text as read here. This file format has no field for a review, so that nothing in
the product can turn a provision on. Reading is strict: whatever is unknown refuses the whole file.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from schemas import codes
from schemas.errors import HandslagError

LIMIT = 64 * 1024
SHIPPED = "2026-11-23.toml"
UNCARRIED = frozenset({"IC10", "IC11"})  # where somebody is: answered outside Handslag, by a human
_TOP = {"version", "in_force_from", "never", "provisions"}
_MUST = {
    "id", "row", "sfs", "section", "kind", "balancing", "requires_request", "acute", "excluded_secrecy", "exclusions",
    "text_source", "lanes",
}  # fmt: skip
_MAY = {"valid_from", "valid_until", "age_below"}
_LANE = {"row", "sender", "recipient", "categories"}
_AGES = frozenset({18, 21})
_DAY = datetime.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Provision:
    """One provision: who to whom and what (`lanes`: roles -> category -> row of the domain page), and what it asks.

    `hash32` is the SHA-256 of the entry as read, which an approval names. `balancing` is the test that must have come
    out for disclosing; `exclusions` what must be stated not to be the case; `age_below` None, 18 or 21. `acute`: an
    agency may approve it for acute danger.
    """

    provision_id: str
    row: str
    sfs: str
    section: str
    kind: str
    hash32: bytes
    valid_from: datetime.date | None
    valid_until: datetime.date | None
    age_below: int | None
    balancing: str
    requires_request: bool
    acute: bool
    excluded_secrecy: frozenset[str]
    exclusions: frozenset[str]
    text_source: str
    lanes: Mapping[tuple[str, str], Mapping[str, str]]

    def in_force(self, at_us: int) -> bool:
        """Whether the law's own dates hold at a moment (microseconds UTC).

        A legal day is Stockholm's, at most two hours before UTC's: it begins here up to two hours late and ends up to
        a day early, never the other way round.
        """
        today = datetime.datetime.fromtimestamp(at_us // 1_000_000, tz=datetime.UTC).date()
        if self.valid_from is not None and today < self.valid_from:
            return False
        return self.valid_until is None or today < self.valid_until - _DAY


@dataclass(frozen=True, slots=True)
class Registry:
    """One dated list: its version, the SHA-256 (32 bytes) of the file, its provisions, secrecy that none breaks."""

    version: str
    in_force_from: datetime.date
    hash32: bytes
    never_secrecy: frozenset[str]
    provisions: Mapping[str, Provision]

    def provision(self, provision_id: str) -> Provision:
        """One provision; raises `HS-PROVISION-UNKNOWN`."""
        found = self.provisions.get(provision_id)
        if found is None:
            raise HandslagError("HS-PROVISION-UNKNOWN")
        return found


@cache
def shipped() -> Registry:
    """The list that comes with this version."""
    return parse(resources.files("consent").joinpath("provisions").joinpath(SHIPPED).read_bytes())


@cache
def released() -> Mapping[bytes, Registry]:
    """Every list that was ever in force, by its hash: a disclosure is examined again on the list it was made by."""
    folder = resources.files("consent").joinpath("provisions")
    every = [parse(file.read_bytes()) for file in folder.iterdir() if file.name.endswith(".toml")]
    return {one.hash32: one for one in every}


def parse(data: bytes) -> Registry:
    """Read a list; raises HandslagError `HS-PROVISIONS-INVALID` whose context names the place, `HS-TOO-LARGE`."""
    if len(data) > LIMIT:
        raise HandslagError("HS-TOO-LARGE", limit=LIMIT)
    try:
        text = tomllib.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError):
        raise _invalid("toml") from None
    _keys(text, _TOP, frozenset(), "file")
    never = text["never"]
    _keys(never, {"rows", "secrecy"}, frozenset(), "never")
    rows = text["provisions"]
    if not isinstance(rows, list):
        raise _invalid("provisions")
    found = [_provision(row) for row in rows]
    if len({one.provision_id for one in found}) != len(found) or not found:
        raise _invalid("id")
    return Registry(
        version=_text(text, "version"),
        in_force_from=_day(text, "in_force_from") or _missing("in_force_from"),
        hash32=hashlib.sha256(data).digest(),
        never_secrecy=_words(never, "secrecy", "secrecy"),
        provisions={one.provision_id: one for one in found},
    )


def _provision(row: Any) -> Provision:
    # INVARIANT: test_no_line_of_the_file_can_approve_a_provision, a field for a review is an unknown one
    _keys(row, _MUST, _MAY, "provisions")
    age = row.get("age_below")
    if age is not None and age not in _AGES:
        raise _invalid("age_below")
    return Provision(
        provision_id=_text(row, "id"),
        row=_text(row, "row"),
        sfs=_text(row, "sfs"),
        section=_text(row, "section"),
        kind=_known(row, "kind", "provision_kind"),
        hash32=hashlib.sha256(json.dumps(row, sort_keys=True, default=str, ensure_ascii=False).encode()).digest(),
        valid_from=_day(row, "valid_from"),
        valid_until=_day(row, "valid_until"),
        age_below=age,
        balancing=_known(row, "balancing", "balancing"),
        requires_request=_flag(row, "requires_request"),
        acute=_flag(row, "acute"),
        excluded_secrecy=_words(row, "excluded_secrecy", "secrecy"),
        exclusions=_words(row, "exclusions", "exclusion"),
        text_source=_text(row, "text_source"),
        lanes=_lanes(row["lanes"]),
    )


def _lanes(rows: Any) -> dict[tuple[str, str], dict[str, str]]:
    lanes: dict[tuple[str, str], dict[str, str]] = {}
    if not isinstance(rows, list) or not rows:
        raise _invalid("lanes")
    for row in rows:
        _keys(row, _LANE, frozenset(), "lanes")
        lane = lanes.setdefault((_known(row, "sender", "role"), _known(row, "recipient", "role")), {})
        categories = _words(row, "categories", "category")
        if not categories or categories & (UNCARRIED | lane.keys()):
            raise _invalid("categories")  # a place, or two rows for one category
        lane.update(dict.fromkeys(sorted(categories), _text(row, "row")))
    return lanes


# --- small strict readers: each returns what it promises or refuses the file


def _invalid(place: str) -> HandslagError:
    return HandslagError("HS-PROVISIONS-INVALID", field=place)


def _missing(place: str) -> datetime.date:
    raise _invalid(place)


def _keys(table: Any, must: set[str], may: set[str] | frozenset[str], place: str) -> None:
    if not isinstance(table, dict) or not must <= set(table) <= must | may:
        raise _invalid(place)


def _text(table: Mapping[str, Any], key: str) -> str:
    found = table[key]
    if not isinstance(found, str) or not found:
        raise _invalid(key)
    return found


def _known(table: Mapping[str, Any], key: str, kind: str) -> str:
    found = _text(table, key)
    if found not in codes.table()[kind]:
        raise _invalid(key)
    return found


def _flag(table: Mapping[str, Any], key: str) -> bool:
    if type(table[key]) is not bool:
        raise _invalid(key)
    return bool(table[key])


def _day(table: Mapping[str, Any], key: str) -> datetime.date | None:
    found = table.get(key)
    if found is not None and type(found) is not datetime.date:
        raise _invalid(key)
    return found


def _words(table: Mapping[str, Any], key: str, kind: str) -> frozenset[str]:
    found = table[key]
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise _invalid(key)
    if not set(found) <= set(codes.table()[kind]) or len(set(found)) != len(found):
        raise _invalid(key)
    return frozenset(found)
