"""A rule file examined line by line: everything that is wrong with it, each with its place, not only the first thing.

Whether a file can be read is for `consent.rules.parse` to say; what this finds beside that is why, and what else stands
against putting it in force. Codes and their words: list `rules_finding`.
"""

from __future__ import annotations

import datetime
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from consent import rules_about
from consent.rules import LIMIT, parse
from schemas import codes, event_types
from schemas.errors import HandslagError


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found: a code of list `rules_finding`, the table or key it is at, and its line, None where unknown."""

    code: str
    place: str
    line: int | None = None

    @property
    def kind(self) -> str:
        """ERROR, UNREADY or NOTE."""
        return str(codes.table()["rules_finding"][self.code]["kind"])

    def told(self, language: str) -> str:
        """A line for a person, `sv` or `en`."""
        at = f"{self.line}: " if self.line else ""
        return f"{at}{self.place}: {codes.words('rules_finding', self.code, language)} ({self.code})"


class _Key(NamedTuple):
    """A key of a table: its form, a case of `_value`, its code list, and whether it must be."""

    form: str
    kind: str = ""
    must: bool = True


_ROW = {"row": _Key("text")}
_CITED = {"row": _Key("row")}  # can be read without; but whoever reviews it must see where it comes from
_ROLES = {"sender": _Key("code", "role"), "recipient": _Key("code", "role")}
_SHAPES: Mapping[str, Mapping[str, _Key]] = {
    "never_individual": {**_CITED, "authorities": _Key("codes")},
    "public_interest": {**_CITED, "sender_authorities": _Key("codes"), "categories": _Key("codes", "category")},
    "never": {**_ROW, **_ROLES},
    "types": {
        **_CITED,
        "senders": _Key("codes", "role"),
        "recipients": _Key("codes", "role"),
        "categories": _Key("codes", "category", must=False),
        "purposes": _Key("codes", "purpose", must=False),
        "to_unit": _Key("flag", must=False),
    },
    "pairs": {
        **_ROW,
        **_ROLES,
        "categories": _Key("codes", "category"),
        "only": _Key("only", must=False),
        "asks_human": _Key("human", must=False),
        "obligations": _Key("codes", "obligation", must=False),
    },
    "minors": {
        **_ROW,
        "age_band": _Key("code", "age_band"),
        "maturity": _Key("code", "maturity"),
        "cosign": _Key("flag"),
        "guardians": _Key("all or none"),
    },
    "reservations": {
        **_ROW,
        "code": _Key("code", "reservation"),
        "denies": _Key("codes", "action", must=False),
        "obligations": _Key("codes", "obligation", must=False),
        "asks_human": _Key("flag", must=False),
    },
}
_LISTS = frozenset({"never", "pairs", "minors", "reservations"})
_SINCE_23 = frozenset({"minors", "reservations"})  # a file without them is one of an earlier version


def check(data: bytes, today: datetime.date) -> tuple[Finding, ...]:
    """Everything found in a rule file, in the order of its places; empty when it is fit to be proposed on `today`.

    A file without a finding of kind ERROR is one that `parse` reads, and the other way round.
    """
    if len(data) > LIMIT:
        return (Finding("TOO_LARGE", "file"),)
    try:
        source = data.decode("utf-8")
        text = tomllib.loads(source)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        found = re.search(r"line (\d+)", str(error)) if isinstance(error, tomllib.TOMLDecodeError) else None
        return (Finding("SYNTAX", "file", int(found[1]) if found else None),)
    lines = source.splitlines()
    found_here = [*_forms(text, lines), *_overlaps(text, lines), *_about(text, lines, today)]
    # INVARIANT: test_the_check_and_the_reader_agree
    try:
        parse(data)
    except HandslagError as error:
        if not any(one.kind == "ERROR" for one in found_here):
            found_here.append(Finding("WRONG_FORM", str(error.context.get("field", "file"))))
    return tuple(dict.fromkeys(found_here))


def ready(findings: tuple[Finding, ...]) -> bool:
    """Whether a file may be proposed: nothing but notes."""
    return all(one.kind == "NOTE" for one in findings)


def _forms(text: Mapping[str, Any], lines: list[str]) -> Iterator[Finding]:
    for place, table, line, name in _tables(text, lines):
        if not isinstance(table, dict):
            yield Finding("WRONG_FORM", place, line)
            continue
        shape = _SHAPES[name]
        yield from (Finding("UNKNOWN_KEY", f"{place}.{key}", line) for key in sorted(set(table) - set(shape)))
        for key, wanted in shape.items():
            if key in table:
                yield from (Finding(code, f"{place}.{key}", line) for code in _value(table[key], wanted))
            elif wanted.must:
                yield Finding("NO_ROW" if wanted.form == "row" else "WRONG_FORM", f"{place}.{key}", line)
    for code in text.get("types", {}) if isinstance(text.get("types"), dict) else ():
        try:
            event_types.content_type(code)
        except HandslagError:
            yield Finding("UNKNOWN_CODE", f"types.{code}", _line(lines, "types", code=code))
    waivers = text.get("not_waivable")
    for category in waivers if isinstance(waivers, dict) else ():
        if category not in codes.table()["category"]:
            yield Finding("NO_CATEGORY", f"not_waivable.{category}", _line(lines, "not_waivable"))


def _tables(text: Mapping[str, Any], lines: list[str]) -> Iterator[tuple[str, Any, int | None, str]]:
    """(place, table, line, shape) of every table that has a shape; a missing or wrong one as what it is."""
    for name in _SHAPES:
        found = text.get(name)
        if name in _SINCE_23 and name not in text:
            continue
        if name == "types" and isinstance(found, dict):
            yield from ((f"types.{code}", each, _line(lines, name, code=code), name) for code, each in found.items())
        elif name in _LISTS and isinstance(found, list):
            for place, each in enumerate(found, start=1):
                yield f"{name}[{place}]", each, _line(lines, name, place), name
        else:
            wrong = name in _LISTS | {"types"}
            yield name, None if wrong else found, _line(lines, name), name


def _value(value: object, key: _Key) -> Iterator[str]:
    known = codes.table().get(key.kind)
    match key.form:
        case "text" | "row":
            bad = "NO_ROW" if key.form == "row" else "WRONG_FORM"
            wrong = None if isinstance(value, str) and value else bad
        case "flag":
            wrong = None if isinstance(value, bool) else "WRONG_FORM"
        case "code":
            wrong = _code(value, known)
        case "human":
            wrong = _code(value, codes.table()["reason"])
            if wrong is None and codes.reason_kind(str(value)) != "HUMAN":
                wrong = "WRONG_FORM"
        case "all or none":
            wrong = None if value in ("ALL", "NONE") else "WRONG_FORM"
        case "only":
            yield from _only(value)
            return
        case _:
            yield from _words(value, known)
            return
    if wrong is not None:
        yield wrong


def _code(value: object, known: Mapping[str, Any] | None) -> str | None:
    if not isinstance(value, str):
        return "WRONG_FORM"
    return "UNKNOWN_CODE" if known is not None and value not in known else None


def _words(value: object, known: Mapping[str, Any] | None) -> Iterator[str]:
    if not isinstance(value, list) or not value:
        yield "WRONG_FORM"
        return
    yield from (wrong for each in value if (wrong := _code(each, known)) is not None)
    if len({str(each) for each in value}) < len(value):
        yield "REPEATED"


def _only(value: object) -> Iterator[str]:
    if not isinstance(value, dict):
        yield "WRONG_FORM"
        return
    for category, types in value.items():
        if category not in codes.table()["category"]:
            yield "UNKNOWN_CODE"
        yield from _words(types, event_types.table())


def _overlaps(text: Mapping[str, Any], lines: list[str]) -> Iterator[Finding]:
    """Pairs that decide what another pair decides, and those that another table closes altogether."""
    closed = {_between(each) for each in _listed(text, "never")}
    waivers = text.get("not_waivable")
    never = set(waivers) if isinstance(waivers, dict) else set()
    taken: dict[tuple[str, str], set[str]] = {}
    for place, pair in enumerate(_listed(text, "pairs"), start=1):
        at = f"pairs[{place}]", _line(lines, "pairs", place)
        between = _between(pair)
        given = pair.get("categories")
        categories = {each for each in given if isinstance(each, str)} if isinstance(given, list) else set()
        if taken.setdefault(between, set()) & categories:
            yield Finding("OVERLAP", *at)
        taken[between] |= categories
        if between in closed or (categories and categories <= never):
            yield Finding("NO_EFFECT", *at)


def _listed(text: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    found = text.get(name)
    return [each if isinstance(each, dict) else {} for each in found] if isinstance(found, list) else []


def _between(table: Mapping[str, Any]) -> tuple[str, str]:
    return str(table.get("sender")), str(table.get("recipient"))


def _about(text: Mapping[str, Any], lines: list[str], today: datetime.date) -> Iterator[Finding]:
    """The review, its dates, and the legal source of every row."""
    since, version = text.get("in_force_from"), text.get("version")
    try:
        said = rules_about.about(text)
    except HandslagError as error:
        place = str(error.context["field"])
        yield Finding("WRONG_FORM", place, _line(lines, place))
        return
    at = _line(lines, "review")
    if said.reviewer is None:
        yield Finding("UNREVIEWED", "review")
    elif said.reviewed_at is not None:
        if said.reviewed_at > today or (said.until is not None and said.until <= said.reviewed_at):
            yield Finding("DATES", "review", at)
        elif said.until is not None and said.until <= today:
            yield Finding("REVIEW_OVER", "review", at)
    if isinstance(version, str) and type(since) is datetime.date and not _dated(version, since):
        yield Finding("DATES", "version")
    cited = set(rules_about.rows(text))
    yield from (Finding("NO_SOURCE", f"sources.{row}") for row in sorted(cited - set(said.sources)))
    yield from (
        Finding("UNUSED_SOURCE", f"sources.{row}", _line(lines, "sources")) for row in sorted(set(said.sources) - cited)
    )


def _dated(version: str, since: datetime.date) -> bool:
    """A version begins with its month: `2026-11`, `2026-11-22`, `2026-11-22-b`."""
    return version.startswith((since.isoformat(), since.isoformat()[:7])) and (
        len(version) <= 7 or version[:10] == since.isoformat()
    )


def _line(lines: list[str], name: str, nth: int = 1, code: str | None = None) -> int | None:
    """The line (from 1) at which the nth table of a name begins."""
    header = name if code is None else f"{name}.{code}"
    pattern = re.compile(rf"\s*\[\[?\s*{re.escape(header)}\s*\]")
    found = [number for number, line in enumerate(lines, start=1) if pattern.match(line)]
    return found[nth - 1] if len(found) >= nth else None
