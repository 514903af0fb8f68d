"""The dated rules: which role may send what to which role, read from one hashed file (`rules/<month>.toml`).

The file is data and says only what the domain page says, each line with its row. Reading it is strict, because a
misspelt role or category would silently forbid, and a misspelt key silently allow: anything unknown refuses the whole
file. Everything is laid out at once, one lane per (event type, sender role, recipient role).
"""

from __future__ import annotations

import datetime
import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

from consent import rules_about
from consent.majority import midnight_us
from schemas import codes, event_types
from schemas.errors import HandslagError
from schemas.said import SPOKEN

LIMIT = 64 * 1024  # far more than every role, type and category need
SHIPPED = "2026-11-23.toml"
NOT_ALLOWED = ("CATEGORY_NOT_ALLOWED",)
_TOP = {"version", "in_force_from", "never_individual", "public_interest", "not_waivable", "never", "types", "pairs"}
_SINCE_23 = {"minors", "reservations", "texts_ended"}  # of 2026-11-23; without them nothing of the kind is understood


class Lane(NamedTuple):
    """What may go in one event type from one role to another.

    `refusals`: reasons that refuse every section. `verdicts`: category -> reasons of its own, empty where consent
    may open it; a category not in it is not allowed. `needs_release`: categories that need the sender's own release
    decision. `purposes`: the only ones, or None. `to_unit`: the recipient is a unit without a seat. `type_category`:
    what the type's name alone tells; empty where nothing is sent that could have a name.
    """

    refusals: tuple[str, ...]
    sender_authority: str
    recipient_authority: str
    verdicts: Mapping[str, tuple[str, ...]]
    needs_release: frozenset[str]
    purposes: frozenset[str]
    to_unit: bool
    type_category: str
    obligations: tuple[str, ...]
    rows: Mapping[str, str]

    def verdict(self, category: str) -> tuple[str, ...]:
        """Rule reasons against one category; none: consent decides."""
        return self.verdicts.get(category, NOT_ALLOWED)


class MinorRule(NamedTuple):
    """What a child's consent needs: its own word beside them (`cosign`), all its guardians jointly (`guardians`)."""

    row: str
    cosign: bool
    guardians: bool


class Reserve(NamedTuple):
    """What a coded reservation does: actions it denies, duties it lays on the recipient, or a human each time."""

    denies: frozenset[str]
    obligations: tuple[str, ...]
    asks_human: bool


@dataclass(frozen=True, slots=True)
class Rules:
    """One rule set: its version, the SHA-256 (32 bytes) of the file as received, and its lanes.

    `spoken`: by (sender role, recipient role) what may be said outside the broker. `minors`: by (age band, maturity);
    `reservations`: by code; `texts_ended`: from when (microseconds UTC) a wording is out of use, by its version.
    """

    version: str
    in_force_from: datetime.date
    hash32: bytes
    authorities: Mapping[str, str]
    never_individual: frozenset[str]
    actions: frozenset[str]
    lanes: Mapping[tuple[str, str, str], Lane]
    spoken: Mapping[tuple[str, str], Lane]
    minors: Mapping[tuple[str, str], MinorRule]
    reservations: Mapping[str, Reserve]
    texts_ended: Mapping[str, int]

    def lane(self, event_type: str, sender_role: str, recipient_role: str) -> Lane:
        """The lane; for words the rules do not know, one in which everything is refused."""
        pair = sender_role, recipient_role
        found = self.spoken.get(pair) if event_type == SPOKEN else self.lanes.get((event_type, *pair))
        return self._closed(event_type, sender_role, recipient_role) if found is None else found

    def never(self, sender_role: str, recipient_role: str) -> bool:
        """Whether nothing goes between two roles, with support in law either: their lane has not one category."""
        lane = self.lane(SPOKEN, sender_role, recipient_role)
        barred = lane.recipient_authority in self.never_individual
        return barred or bool(lane.refusals) or not lane.verdicts

    def row(self, event_type: str, sender_role: str, recipient_role: str, category: str) -> str:
        """The row of the domain page that allows or forbids a category in a lane; `-` where none lists it."""
        return self.lane(event_type, sender_role, recipient_role).rows.get(category, "-")

    def _closed(self, event_type: str, sender_role: str, recipient_role: str) -> Lane:
        refusals: list[str] = []
        if event_type != SPOKEN and not any(key[0] == event_type for key in self.lanes):
            refusals.append("SCHEMA_UNKNOWN")
        if sender_role not in self.authorities:
            refusals.append("SENDER_NOT_ALLOWED")
        if recipient_role not in self.authorities:
            refusals.append("TYPE_NOT_ALLOWED")
        none: frozenset[str] = frozenset()
        return Lane(
            refusals=tuple(refusals),
            sender_authority=self.authorities.get(sender_role, ""),
            recipient_authority=self.authorities.get(recipient_role, ""),
            verdicts={},
            needs_release=none,
            purposes=none,
            to_unit=False,
            type_category="",
            obligations=(),
            rows={},
        )


@cache
def shipped() -> tuple[bytes, Rules]:
    """The rule set that comes with this version: the file's bytes and what they say."""
    data = resources.files("consent").joinpath("rules").joinpath(SHIPPED).read_bytes()
    return data, parse(data)


@cache
def released() -> Mapping[bytes, Rules]:
    """Every rule set that was ever in force, by its hash: a decision is executed again on the rules it was made by."""
    folder = resources.files("consent").joinpath("rules")
    every = [parse(file.read_bytes()) for file in folder.iterdir() if file.name.endswith(".toml")]
    return {rules.hash32: rules for rules in every}


def parse(data: bytes) -> Rules:
    """Read a rule file; raises HandslagError `HS-RULES-INVALID` whose context names the place, `HS-TOO-LARGE`."""
    if len(data) > LIMIT:
        raise HandslagError("HS-TOO-LARGE", limit=LIMIT)
    try:
        text = tomllib.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError):
        raise _invalid("toml") from None
    _only_keys(text, _TOP | _SINCE_23 | rules_about.KEYS, "file")
    rules_about.about(text)
    never = _table(text, "never_individual")
    since = text.get("in_force_from")
    if type(since) is not datetime.date:
        raise _invalid("in_force_from")
    _only_keys(never, {"row", "authorities"}, "never_individual")
    return Rules(
        version=_text(text, "version"),
        in_force_from=since,
        hash32=hashlib.sha256(data).digest(),
        authorities={role: str(row["authority"]) for role, row in codes.table()["role"].items()},
        never_individual=_words(never, "authorities"),
        actions=frozenset(codes.table()["action"]),
        lanes=_lanes(text),
        spoken=_spoken(text),
        minors=_minors(text),
        reservations=_reservations(text),
        texts_ended=_texts_ended(text),
    )


def _lanes(text: Mapping[str, Any]) -> dict[tuple[str, str, str], Lane]:
    types = _types(text)
    return {
        (code, *pair): lane
        for code, rule in types.items()
        for pair, lane in _of_type(text, code, rule, event_types.type_category(code)).items()
    }


def _spoken(text: Mapping[str, Any]) -> dict[tuple[str, str], Lane]:
    """What may be said: the pairs, for every role, and no category that may go in one event type only.

    Nothing is sent, so no name tells anything; both sides hold a seat in the case.
    """
    every = {"senders": list(codes.table()["role"]), "recipients": list(codes.table()["role"])}
    return _of_type(text, SPOKEN, every, "")


def _of_type(
    text: Mapping[str, Any], code: str, rule: Mapping[str, Any], type_category: str
) -> dict[tuple[str, str], Lane]:
    """The lanes of one type, by (sender role, recipient role)."""
    roles = list(codes.table()["role"])
    public = _table(text, "public_interest")
    _only_keys(public, {"row", "sender_authorities", "categories"}, "public_interest")
    closed = {(_known("role", item, "sender"), _known("role", item, "recipient")): _row(item) for item in _never(text)}
    pairs = _pairs(text)
    lanes = {}
    for sender in roles:
        for recipient in roles:
            lane = _lane(code, rule, sender, recipient, pairs.get((sender, recipient), []))
            lane = _with_waivers(lane._replace(type_category=type_category), _table(text, "not_waivable"))
            if codes.table()["role"][sender]["authority"] in _words(public, "sender_authorities"):
                lane = lane._replace(needs_release=_words(public, "categories", "category"))
            if (sender, recipient) in closed:
                every = dict.fromkeys(codes.table()["category"], closed[sender, recipient])
                lane = lane._replace(verdicts={}, rows=every)
            lanes[sender, recipient] = lane
    return lanes


def _lane(code: str, rule: Mapping[str, Any], sender: str, recipient: str, pairs: list[Mapping[str, Any]]) -> Lane:
    refusals = []
    if sender not in _words(rule, "senders", "role"):
        refusals.append("SENDER_NOT_ALLOWED")
    if recipient not in _words(rule, "recipients", "role"):
        refusals.append("TYPE_NOT_ALLOWED")
    verdicts: dict[str, tuple[str, ...]] = {}
    rows: dict[str, str] = {}
    obligations: dict[str, None] = {}
    sources = [rule] if "categories" in rule else pairs
    for source in sources:
        only = source.get("only", {})
        for category in sorted(_words(source, "categories", "category")):
            rows[category] = _row(source)
            allowed = category not in only or code in only[category]
            human = (source["asks_human"],) if "asks_human" in source else ()
            verdicts[category] = human if allowed else NOT_ALLOWED
        obligations.update(dict.fromkeys(sorted(_words(source, "obligations", "obligation", empty=True))))
    return Lane(
        refusals=tuple(refusals),
        sender_authority=codes.table()["role"][sender]["authority"],
        recipient_authority=codes.table()["role"][recipient]["authority"],
        verdicts=verdicts,
        needs_release=frozenset(),
        purposes=_words(rule, "purposes", "purpose", empty=True) or frozenset(codes.table()["purpose"]),
        to_unit=rule.get("to_unit", False),
        type_category="",
        obligations=tuple(obligations),
        rows=rows,
    )


def _with_waivers(lane: Lane, waivers: Mapping[str, Any]) -> Lane:
    """Add NON_WAIVABLE to categories whose secrecy no consent lifts."""
    verdicts, rows = dict(lane.verdicts), dict(lane.rows)
    for category in waivers:
        verdicts[category] = (*lane.verdict(category), "NON_WAIVABLE")
        rows[category] = _text(waivers, category)
    return lane._replace(verdicts=verdicts, rows=rows)


def _types(text: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    types = _table(text, "types")
    for code, rule in types.items():
        keys = {"row", "senders", "recipients", "categories", "purposes", "to_unit"}
        _only_keys(_table(types, code), keys, "types")
        if "to_unit" in rule and type(rule["to_unit"]) is not bool:
            raise _invalid("to_unit")
        try:
            event_types.content_type(code)
        except HandslagError:
            raise _invalid("types") from None
    return types


def _pairs(text: Mapping[str, Any]) -> dict[tuple[str, str], list[Mapping[str, Any]]]:
    pairs: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for item in _tables(text, "pairs"):
        keys = {"row", "sender", "recipient", "categories", "only", "asks_human", "obligations"}
        _only_keys(item, keys, "pairs")
        key = _known("role", item, "sender"), _known("role", item, "recipient")
        if "asks_human" in item and codes.reason_kind(_known("reason", item, "asks_human")) != "HUMAN":
            raise _invalid("asks_human")
        only = _table(item, "only") if "only" in item else {}
        for category in only:
            if category not in _words(item, "categories", "category") or not _words(only, category) <= set(
                event_types.table()
            ):
                raise _invalid("only")
        taken = {category for other in pairs.get(key, []) for category in other["categories"]}
        if taken & _words(item, "categories", "category"):
            raise _invalid("pairs")  # one row decides a category
        pairs.setdefault(key, []).append(item)
    return pairs


def _never(text: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    items = _tables(text, "never")
    for item in items:
        _only_keys(item, {"row", "sender", "recipient"}, "never")
    return items


def _minors(text: Mapping[str, Any]) -> dict[tuple[str, str], MinorRule]:
    found: dict[tuple[str, str], MinorRule] = {}
    for item in _tables(text, "minors") if "minors" in text else []:
        _only_keys(item, {"row", "age_band", "maturity", "cosign", "guardians"}, "minors")
        key = _known("age_band", item, "age_band"), _known("maturity", item, "maturity")
        if key in found or type(item.get("cosign")) is not bool or item.get("guardians") not in ("ALL", "NONE"):
            raise _invalid("minors")
        found[key] = MinorRule(_row(item), item["cosign"], item["guardians"] == "ALL")
    return found


def _reservations(text: Mapping[str, Any]) -> dict[str, Reserve]:
    found: dict[str, Reserve] = {}
    for item in _tables(text, "reservations") if "reservations" in text else []:
        _only_keys(item, {"row", "code", "denies", "obligations", "asks_human"}, "reservations")
        code, asks_human = _known("reservation", item, "code"), item.get("asks_human", False)
        denies = _words(item, "denies", "action", empty=True)
        owed = tuple(sorted(_words(item, "obligations", "obligation", empty=True)))
        if code in found or type(asks_human) is not bool or not (_row(item) and (denies or owed or asks_human)):
            raise _invalid("reservations")  # a reservation that does nothing would be one that is ignored
        found[code] = Reserve(denies, owed, asks_human)
    return found


def _texts_ended(text: Mapping[str, Any]) -> dict[str, int]:
    """The first moment out of use of each wording: 00:00 in Stockholm on the day that stands by its version."""
    if "texts_ended" not in text:
        return {}
    table = _table(text, "texts_ended")
    days = {version: day for version, day in table.items() if version != "row"}
    if not _row(table) or any(type(day) is not datetime.date for day in days.values()):
        raise _invalid("texts_ended")
    return {version: midnight_us(day) for version, day in days.items()}


# --- small strict readers: each returns what it promises or refuses the file


def _invalid(place: str) -> HandslagError:
    return HandslagError("HS-RULES-INVALID", field=place)


def _only_keys(table: Mapping[str, Any], allowed: set[str], place: str) -> None:
    if not set(table) <= allowed:
        raise _invalid(place)


def _table(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = parent.get(key)
    if not isinstance(found, dict):
        raise _invalid(key)
    return found


def _tables(parent: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    found = parent.get(key)
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise _invalid(key)
    return found


def _words(table: Mapping[str, Any], key: str, kind: str | None = None, *, empty: bool = False) -> frozenset[str]:
    found = table.get(key, [])
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found) or not (found or empty):
        raise _invalid(key)
    if kind is not None and not set(found) <= set(codes.table()[kind]):
        raise _invalid(key)
    return frozenset(found)


def _known(kind: str, table: Mapping[str, Any], key: str) -> str:
    found = table.get(key)
    if not isinstance(found, str) or found not in codes.table()[kind]:
        raise _invalid(key)
    return found


def _text(table: Mapping[str, Any], key: str) -> str:
    found = table.get(key)
    if not isinstance(found, str) or not found:
        raise _invalid(key)
    return found


def _row(table: Mapping[str, Any]) -> str:
    return _text(table, "row")
