"""The person's own copy as a page to print: A4, plain words, nothing fetched from anywhere, no script.

Built as a tree and written by the standard library, so that nothing in it can become markup. With a cover the outside
of the folded sheet tells nothing: no agency, no reference, no hint of what the support is for.
"""

from __future__ import annotations

import datetime as dt
import tomllib
from functools import cache
from importlib import resources
from typing import Any
from xml.etree import ElementTree as ET

from consent.majority import local
from schemas import codes
from schemas.identifiers import authority_of

_STYLE = """
@page { size: A4; margin: 15mm 18mm; @top-left { content: ""; } @bottom-right { content: counter(page); } }
* { box-sizing: border-box; }
body { font: 12pt/1.4 Georgia, 'Liberation Serif', serif; color: #000; background: #fff; }
body { margin: 0 auto; max-width: 174mm; }
h1 { font-size: 18pt; line-height: 1.25; margin: 0 0 3mm; }
h2 { font-size: 13pt; margin: 3mm 0 0.5mm; break-after: avoid; }
p, ul { margin: 0 0 1.5mm; }
p { break-inside: avoid; }
ul { padding-left: 6mm; }
li { break-inside: avoid; }
.note { border: 0.5mm solid #000; padding: 3mm 4mm; }
.foot { margin-top: 3mm; border-top: 0.2mm solid #000; padding-top: 1.5mm; break-inside: avoid; }
.foot p { font-size: 10pt; margin: 0; overflow-wrap: anywhere; }
.cover { min-height: 240mm; display: flex; flex-direction: column; justify-content: center; break-after: page; }
.cover p { font-size: 16pt; text-align: center; }
@media screen { body { padding: 8mm; } }
"""
LANGUAGES = ("sv", "en")


@cache
def _table() -> dict[str, Any]:
    text = resources.files("consent").joinpath("person_words.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def say(kind: str, code: str, language: str) -> str:
    """The page's own words for a code; those of the code lists where it has none, the code where they have none."""
    row = _table().get(kind, {}).get(code)
    if row is not None:
        return str(row[language])
    return codes.words(kind, code, language) if kind in codes.table() else code


def page_of(record: dict[str, Any], digest: str, *, language: str, cover: bool, number: str | None = None) -> str:
    """The page of a record (`person_record.record_of`) in `sv` or `en`; `digest`: SHA-256 of the signed file, hex.

    `number` is a personal identity number that the officer wants on the paper; it stands nowhere else.
    INVARIANT: test_the_outside_tells_nothing.
    """
    html = ET.Element("html", lang=language)
    head = ET.SubElement(html, "head")
    ET.SubElement(head, "meta", charset="utf-8")
    ET.SubElement(head, "meta", name="viewport", content="width=device-width, initial-scale=1")
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    ET.SubElement(head, "meta", {"http-equiv": "Content-Security-Policy", "content": policy})
    ET.SubElement(head, "meta", name="referrer", content="no-referrer")
    # Browsers print the title on every sheet.
    ET.SubElement(head, "title").text = "Handling" if language == "sv" else "Document"
    ET.SubElement(head, "style").text = _STYLE
    body = ET.SubElement(html, "body")
    if cover:
        outside = ET.SubElement(body, "section", {"class": "cover"})
        for word in ("cover", "cover_back"):
            _p(outside, say("page", word, language))
    _inside(ET.SubElement(body, "main"), record, digest, language, number)
    return "<!DOCTYPE html>\n" + ET.tostring(html, encoding="unicode", method="html") + "\n"


def plain_of(record: dict[str, Any], *, language: str) -> list[str]:
    """The same as lines to be read aloud; nothing is left of them but the sound."""
    main = ET.Element("main")
    _inside(main, record, None, language, None)
    return [text for each in main.iter() if (text := (each.text or "").strip())]


def _inside(main: ET.Element, record: dict[str, Any], digest: str | None, language: str, number: str | None) -> None:
    about = record["pii_processing"]

    def heading(word: str) -> None:
        _heading(main, word, language)

    ET.SubElement(main, "h1").text = say("kind", about["consent_kind"], language)
    _p(main, say("page", "danger", language), "note")
    _standing(main, record, language)
    heading("from_whom")
    _p(main, _controller(record, language))
    heading("what")
    _list(main, [say("category", each["pii_type"], language) for each in about["pii_information"]])
    heading("whom")
    _list(main, [_recipient(each, language) for each in about["recipient_third_parties"]])
    heading("why")
    _list(main, [say("purpose", each, language) for each in about["purposes"]])
    heading("how")
    _list(main, [say("action", each, language) for each in about["processing_method"]])
    heading("long")
    _p(main, _validity(record, language))
    if about["reservations"] or about["retention_period"]:
        heading("conditions")
        _list(main, _conditions(about, language))
    heading("back")
    _p(main, say("page", "back_how", language))
    _p(main, say("page", "only", language))
    heading("told")
    _p(main, _told(about["privacy_notice"], language))
    heading("given_by")
    _p(main, _given(record, language))
    if digest is not None:
        foot = ET.SubElement(main, "section", {"class": "foot"})
        for line in _foot(record, digest, language, number):
            _p(foot, line)


def _standing(main: ET.Element, record: dict[str, Any], language: str) -> None:
    """How the consent stands, and how it came to that where there is more than the giving, which is told below."""
    state = record["state"]
    _heading(main, "state", language)
    _p(main, f"{say('page', 'as_of', language)} {_moment(state['as_of'], language)}.")
    _p(main, say("state", state["event_state"], language))
    for word in _besides(state):
        _p(main, say("page", word, language))
    if len(record["events"]) > 1:
        _heading(main, "history", language)
        _list(main, _history(record, language))


def _heading(main: ET.Element, word: str, language: str) -> None:
    ET.SubElement(main, "h2").text = say("page", word, language)


def _besides(state: dict[str, Any]) -> list[str]:
    """What is said after the state: a part taken back, unless the state says so itself, and what is forbidden."""
    partly = state.get("partly_withdrawn") and state["event_state"] != "perhaps_withdrawn"
    return (["partly"] if partly else []) + (["blocks"] if state.get("blocks_in_force") else [])


def _history(record: dict[str, Any], language: str) -> list[str]:
    """Every act with a word of its own on the page, when it was recorded, in its order."""
    words = _table()["event"]
    named = [
        (each["event_time"], each["event_state"] if each["event_state"] in words else each["event_type"])
        for each in record["events"]
    ]
    rows = [f"{_moment(at, language)}: {words[name][language]}" for at, name in named if name in words]
    return [f"{row[0].upper()}{row[1:]}." for row in rows]


def _p(parent: ET.Element, text: str, kind: str | None = None) -> None:
    ET.SubElement(parent, "p", {"class": kind} if kind else {}).text = text


def _list(parent: ET.Element, items: list[str]) -> None:
    rows = ET.SubElement(parent, "ul")
    for item in items:
        ET.SubElement(rows, "li").text = item


def _controller(record: dict[str, Any], language: str) -> str:
    own = record["party_identification"][0]
    return f"{own['party_name']}: {_unit(own['party_id'], language)}"


def _unit(code: str, language: str) -> str:
    """A unit by its code, after a word for what kind of authority it is where the code says so."""
    kind = authority_of(code)
    word = say("authority", kind, language)
    return code if word == kind else f"{word} ({code})"


def _recipient(each: dict[str, Any], language: str) -> str:
    if "/" in each["party_id"]:  # a unit, by its code
        return _unit(each["party_id"], language)
    follows = say("page", "follows" if each["follows_role"] else "follows_not", language)
    return f"{say('role', each['party_id'], language)} ({follows})"


def _last_given(record: dict[str, Any]) -> dict[str, Any]:
    return [each for each in record["events"] if "valid_from" in each][-1]  # type: ignore[no-any-return]


def _validity(record: dict[str, Any], language: str) -> str:
    said = _last_given(record)
    parts = [f"{say('page', 'from', language)} {_moment(said['valid_from'], language)}"]
    if said["valid_until"]:
        parts.append(f"{say('page', 'until', language)} {_moment(said['valid_until'], language)}")
    ends = said["validity_ends_with"]
    if ends:
        parts[-1] += f". {say('page', 'ends', language)} {say('ending_event', ends, language)}"
    return " ".join(parts) + "."


def _conditions(about: dict[str, Any], language: str) -> list[str]:
    found = []
    for code in about["reservations"]:
        kind = next((kind for kind in ("reservation", "reserved_limit") if code in codes.table()[kind]), "reservation")
        found.append(say(kind, code, language) if code != "IN_WORDS" else say("page", "in_words", language))
    return found + [say("obligation", code, language) for code in about["retention_period"]]


def _told(notice: dict[str, Any], language: str) -> str:
    parts = [f"{say('page', 'text', language)} {notice['notice_id']}"]
    if "form" in notice:
        parts.append(f"{say('page', 'language', language)} {notice['language']}")
        parts.append(say("text_form", notice["form"], language))
        parts.append(say("explained", notice["explained"], language))
        parts += [say("page", "interpreter", language)] if notice["interpreter"] else []
    return ", ".join(parts)


def _given(record: dict[str, Any], language: str) -> str:
    said = _last_given(record)
    if set(said["entity_id"]) == {"SELF"}:
        given = say("page", "gave_self", language)
    else:
        who = f" {say('page', 'and', language)} ".join(say("giver", each, language) for each in said["entity_id"])
        given = f"{say('page', 'gave', language)} {who}."
    return f"{given} {say('page', 'given_at', language)} {_moment(said['event_time'], language)}."


def _foot(record: dict[str, Any], digest: str, language: str, number: str | None) -> list[str]:
    rows = [("number", number), ("reference", record["pii_principal_id"]), ("record", record["record_id"])]
    rows.append(("digest", digest))
    return [f"{say('page', word, language)}: {value}" for word, value in rows if value]


def _moment(text: str, language: str) -> str:
    """A moment as people here write it, by the clock on their wall; raises `HS-ZONES-MISSING`."""
    # INVARIANT: test_the_page_tells_the_time_of_the_clock_on_the_wall
    at = local(dt.datetime.fromisoformat(text))
    month = _table()["month"][str(at.month)][language]
    clock = f"kl. {at:%H.%M} svensk tid" if language == "sv" else f"at {at:%H:%M}, Swedish time"
    return f"{'den ' if language == 'sv' else ''}{at.day} {month} {at.year} {clock}"
