"""Which wordings exist that can be told to a person before a consent: data, one row for each language and form.

A wording is a Markdown file `<id>/<version>/<language>-<form>.md` beside its `index.toml`, which names it by hash.
Those that come with this version are examples (EXEMPEL): no lawyer has read them. An agency keeps its own in a folder
of the same shape. A language that nobody could write well has no wording, and a consent told in it is refused.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, NamedTuple

from consent.majority import midnight_us
from schemas.acts import InformationGiven
from schemas.codes import table
from schemas.errors import HandslagError

EXAMPLE = "EXEMPEL"  # stands in every wording and version that no agency has had reviewed
_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_VERSION = re.compile(r"[A-Za-z0-9]+([.-][A-Za-z0-9]+)*")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{1,8})*")  # BCP 47 (RFC 5646 section 2.1), its shape only
_KEYS = frozenset({"id", "version", "language", "form", "kinds", "sha256", "from", "until", "reviewed_by"})
_INDEX = "index.toml"
_LARGEST = 64 * 1024  # bytes: far more than can be read aloud


class Text(NamedTuple):
    """One wording: its version, language (BCP 47), form (a word of list `text_form`) and SHA-256 (32 bytes).

    `kinds`: for which kinds of consent it is, none means any. In use from `since_us` to before `until_us`; None: open.
    """

    version: str
    language: str
    form: str
    sha256: bytes
    kinds: frozenset[str] = frozenset()
    since_us: int | None = None
    until_us: int | None = None

    def in_use(self, at_us: int) -> bool:
        """Whether it may be told at a moment."""
        return (self.since_us is None or self.since_us <= at_us) and (self.until_us is None or at_us < self.until_us)


class Wording(NamedTuple):
    """A wording with its words: `text`, `title` (its first heading) and `reviewed_by` (empty: nobody)."""

    row: Text
    title: str
    text: str
    reviewed_by: str


@cache
def shipped() -> frozenset[Text]:
    """The wordings that come with this version."""
    return frozenset(each.row for each in wordings(_here()))


@cache
def shipped_wordings() -> tuple[Wording, ...]:
    """The wordings that come with this version, with their words."""
    return wordings(_here())


def _here() -> Traversable:
    return resources.files("consent").joinpath("texts")


def known(
    version: str,
    told: InformationGiven,
    texts: frozenset[Text] | None = None,
    *,
    kind: str | None = None,
    at_us: int | None = None,
) -> bool:
    """Whether the telling names a wording that exists, in that language and form and with that hash.

    `kind`: it must be a wording for such a consent (None: a waiver); `at_us`: one that was in use then.
    INVARIANT: test_a_wording_is_told_only_of_its_own_kind_and_time.
    """
    wanted = (version, told.language, told.form, told.text_hash)
    for each in shipped() if texts is None else texts:
        if each[:4] != wanted or (each.kinds and (kind or "SECRECY_WAIVER") not in each.kinds):
            continue
        if at_us is None or each.in_use(at_us):
            return True
    return False


def out_of_use(version: str, texts: frozenset[Text] | None = None, *, at_us: int) -> bool:
    """Whether the version is that of a wording that exists, and none of it was in use then; an unknown one is not."""
    named = [each for each in (shipped() if texts is None else texts) if each.version == version]
    return bool(named) and not any(each.in_use(at_us) for each in named)


def listed(text: str) -> tuple[tuple[Text, str], ...]:
    """The rows of an index, each with who reviewed it; raises `HS-TEXTS-INVALID`. No file but the index is read."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise _invalid("toml") from None
    if set(data) != {"texts"} or not isinstance(data["texts"], list):
        raise _invalid("texts")
    rows = tuple(_row(each) for each in data["texts"])
    if len({(row.version, row.language, row.form) for row, _by in rows}) != len(rows):
        raise _invalid("texts")  # two wordings under one name: nobody could say which was read
    return rows


def wordings(folder: Traversable) -> tuple[Wording, ...]:
    """Every wording of a folder, in the order of its index; raises `HS-TEXTS-INVALID` naming what is wrong.

    Each file is the one that the index names by hash, and says EXEMPEL exactly when nobody has reviewed it; a file that
    the index does not name is refused too.
    """
    try:
        index = _read(folder.joinpath(_INDEX)).decode("utf-8")
    except UnicodeDecodeError:
        raise _invalid("utf-8") from None
    found = tuple(_wording(folder, row, by) for row, by in listed(index))
    names = {_name(each.row) for each in found}
    if any(name not in names for name in _files(folder)):
        raise _invalid("not listed")
    return found


def with_index(index: Path) -> frozenset[Text]:
    """The shipped wordings and those that an index file adds; its hashes alone, no words are needed to admit by.

    Raises `HS-TEXTS-INVALID`, also for an index that says something else of a shipped wording.
    """
    try:
        added = listed(_read(index).decode())
    except UnicodeDecodeError:
        raise _invalid("utf-8") from None
    named = {each[:3] for each in shipped()}
    if any(row[:3] in named and row not in shipped() for row, _by in added):
        raise _invalid("texts")
    return shipped() | {row for row, _by in added}


def _name(row: Text) -> str:
    return f"{row.version}/{row.language}-{row.form.lower()}.md"


def _files(folder: Traversable) -> Iterable[str]:
    for each in _folders(folder):
        for version in _folders(each):
            yield from (f"{each.name}/{version.name}/{file.name}" for file in version.iterdir() if file.is_file())


def _folders(folder: Traversable) -> list[Traversable]:
    return [each for each in folder.iterdir() if each.is_dir() and not each.name.startswith(("_", "."))]


def _wording(folder: Traversable, row: Text, by: str) -> Wording:
    data = _read(folder.joinpath(*_name(row).split("/")))
    # INVARIANT: test_a_changed_letter_is_another_wording
    if hashlib.sha256(data).digest() != row.sha256:
        raise _invalid("sha256")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise _invalid("utf-8") from None
    if not text.startswith("# ") or "\r" in text:
        raise _invalid("heading")
    # INVARIANT: test_nobody_reviewed_it_and_it_says_so
    if (EXAMPLE in text) != (not by):
        raise _invalid("reviewed_by")
    return Wording(row, text.partition("\n")[0].removeprefix("# "), text, by)


def _read(file: Traversable) -> bytes:
    try:
        data = file.read_bytes()
    except OSError:
        raise _invalid("file") from None
    if len(data) > _LARGEST:
        raise _invalid("size")
    return data


def _row(row: Any) -> tuple[Text, str]:
    if not isinstance(row, Mapping) or not _KEYS - {"until"} <= row.keys() <= _KEYS:
        raise _invalid("fields")
    words = {name: row[name] for name in ("id", "version", "language", "form", "sha256", "reviewed_by")}
    if not all(isinstance(word, str) for word in words.values()):
        raise _invalid("fields")
    for name, shape in (("id", _ID), ("version", _VERSION), ("language", _LANGUAGE)):
        if not shape.fullmatch(words[name]):
            raise _invalid(name)
    kinds, sha256 = row["kinds"], words["sha256"]
    if not isinstance(kinds, list) or not kinds or not all(each in table()["consent_kind"] for each in kinds):
        raise _invalid("kinds")
    if words["form"] not in table()["text_form"] or not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise _invalid("form" if words["form"] not in table()["text_form"] else "sha256")
    since, until = row["from"], row.get("until")
    if not _day(since) or (until is not None and (not _day(until) or until <= since)):
        raise _invalid("until")
    text = Text(
        version=f"{words['id']}/{words['version']}",
        language=words["language"],
        form=words["form"],
        sha256=bytes.fromhex(sha256),
        kinds=frozenset(kinds),
        since_us=midnight_us(since),
        until_us=None if until is None else midnight_us(until),
    )
    return text, words["reviewed_by"].strip()


def _day(value: Any) -> bool:
    return type(value) is dt.date


def _invalid(field: str) -> HandslagError:
    return HandslagError("HS-TEXTS-INVALID", field=field)
