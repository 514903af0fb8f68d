"""What a decider stated of a disclosure without consent, for the second person to read before confirming it.

Whoever confirms signs that statement. So nothing of it is left out: its grounds in codes, and in words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from connectors import statute_book
from connectors.fields import shown_moment
from consent import provisions
from consent.provisions import Provision
from schemas import codes
from schemas.identifiers import parsed
from schemas.languages import Text
from schemas.statute import StatuteNote, StatutoryDisclosure

_WORDS = {  # what stands before each line
    "disclosure": Text("Beslut", "Decision"),
    "ref": Text("Ärende", "Case"),
    "state": Text("Läge", "State"),
    "acute": Text("VID AKUT FARA, av en person", "IN ACUTE DANGER, by one person"),
    "decided": Text("Beslutat av", "Decided by"),
    "to": Text("Mottagare", "Recipient"),
    "categories": Text("Uppgifter", "Information"),
    "purpose": Text("Ändamål", "Purpose"),
    "provision": Text("Bestämmelse", "Provision"),
    "read": Text("Så långt listan har läst lagen", "How far the list has read the law"),
    "initiated_by": Text("Lämnas ut", "Disclosed"),
    "request": Text("Mottagarens begäran", "The recipient's request"),
    "necessity": Text("Varför det behövs", "Why it is needed"),
    "test": Text("Avvägning som bestämmelsen kräver", "Balancing that the provision asks for"),
    "balanced": Text("Avvägningens utfall", "Outcome of the balancing"),
    "secrecy": Text("Sekretess som bryts", "Secrecy that is broken"),
    "exclusions": Text("Prövat och inte fallet", "Examined and not the case"),
    "not_examined": Text("INTE PRÖVAT, men bestämmelsen kräver det", "NOT EXAMINED, though the provision asks for it"),
    "public_interest": Text("Eget beslut enligt 18 kap. OSL om", "Own decision under chapter 18 OSL about"),
    "age": Text("Personens ålder", "The person's age"),
    "consent_sought": Text("Om samtycke", "Of consent"),
    "subject_informed": Text("Om personen", "Of the person"),
    "content": Text("Detta lämnas ut", "This is disclosed"),
    "gone": Text("Innehållet finns inte kvar här.", "The content is not here any more."),
    "unanswered": Text(
        "sändes, men svaret kom inte; `confirm` frågar vad det blev av det",
        "was sent, but no answer came; `confirm` asks what became of it",
    ),
    "until": Text("senast", "by"),
    "when": Text("den", "at"),
    "none": Text("inget", "nothing"),
    "unstated": Text("inte angivet", "not stated"),
    "here": Text("finns inte i listan här", "not in the list here"),
}
_STATES = {
    statute_book.WAITS: Text("väntar på en andra person; inget har gått", "waits for a second person; nothing went"),
    statute_book.SENT: Text("har gått; väntar på en andra persons ord", "went; waits for a second person's word"),
    statute_book.DONE: Text("har gått", "went"),
    statute_book.REFUSED: Text("är över; går inte", "is over; does not go"),
}


def whole(disclosure_id: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """One decision with everything that its decider stated, in codes, and its content as long as that is here."""
    told = StatutoryDisclosure.from_bytes(bytes.fromhex(value["statement"]))
    row = statute_book.shown_row(parsed(disclosure_id).hex(), value)
    sent = value["state"] == statute_book.WAITS and "request" in value  # the answer did not come: it may have gone
    return {**row, "unanswered": sent, "grounds": _grounds(told, value["notes"]), "data": value.get("data")}


def _grounds(told: StatutoryDisclosure, notes: Iterable[str]) -> dict[str, Any]:
    # A text is shown as the one that the statement commits to, or not at all.
    texts = {note.commitment: note.text for note in (StatuteNote.from_bytes(bytes.fromhex(raw)) for raw in notes)}
    listed = _listed(told)
    return {
        "purpose": told.purpose,
        "sfs": listed.sfs if listed else None,
        "section": listed.section if listed else None,
        "provision_kind": listed.kind if listed else None,
        "text_source": listed.text_source if listed else None,
        "initiated_by": told.initiated_by,
        "request": texts.get(told.request_commit) if told.request_commit else None,
        "necessity": texts.get(told.necessity_commit),
        "balancing": listed.balancing if listed else None,
        "balanced": told.balanced,
        "secrecy": list(told.secrecy),
        "exclusions": list(told.exclusions),
        "exclusions_not_examined": sorted(listed.exclusions - set(told.exclusions)) if listed else [],
        "public_interest": list(told.public_interest_released),
        "age": told.age,
        "consent_sought": told.consent_sought,
        "subject_informed": told.subject_informed,
        "inform_by": None if told.inform_by_us is None else shown_moment(told.inform_by_us),
        "assurance": told.assurance,
    }


def _listed(told: StatutoryDisclosure) -> Provision | None:
    """The provision as the decider had it, out of the very list that the statement names."""
    registry = provisions.released().get(told.provisions_hash)
    return registry.provisions.get(told.provision_id) if registry else None


def lines(value: Mapping[str, Any], language: str) -> list[str]:
    """The same for a person to read, in `sv` or `en`; `value` as `whole` made it."""
    head = [
        ("disclosure", value["disclosure"]),
        ("ref", value["ref"]),
        ("state", _say("unanswered", language) if value["unanswered"] else _STATES[value["state"]].told(language)),
        ("decided", f"{value['decider']} {_say('when', language)} {value['decided_at']}"),
        ("to", f"{codes.words('role', value['to'], language)} ({value['to']})"),
        ("categories", _each("category", value["categories"], language)),
    ]
    told = [f"{_say(word, language)}: {_plain(text)}" for word, text in (*head, *_stated(value, language)) if text]
    if value["acute"]:
        told.insert(3, _say("acute", language))
    return told + _content(value["data"], language)


def _stated(value: Mapping[str, Any], language: str) -> list[tuple[str, str | None]]:
    """Every ground with its word; a None has no line."""
    given = value["grounds"]
    until = f", {_say('until', language)} {given['inform_by']}" if given["inform_by"] else ""
    return [
        ("purpose", _one("purpose", given["purpose"], language)),
        ("provision", _provision(value, language)),
        ("read", given["text_source"]),
        ("initiated_by", _one("initiated_by", given["initiated_by"], language)),
        ("request", given["request"]),
        ("necessity", given["necessity"] or _say("unstated", language)),
        ("test", codes.words("balancing", given["balancing"], language) if given["balancing"] else None),
        ("balanced", _one("balanced", given["balanced"], language)),
        ("secrecy", _each("secrecy", given["secrecy"], language)),
        ("exclusions", _each("exclusion", given["exclusions"], language)),
        ("not_examined", _each("exclusion", given["exclusions_not_examined"], language, none=None)),
        ("public_interest", _each("category", given["public_interest"], language)),
        ("age", _one("age_stated", given["age"], language)),
        ("consent_sought", _one("consent_sought", given["consent_sought"], language)),
        ("subject_informed", _one("subject_informed", given["subject_informed"], language) + until),
    ]


def _provision(value: Mapping[str, Any], language: str) -> str:
    given = value["grounds"]
    if given["sfs"] is None:
        return f"{value['provision']} ({_say('here', language)})"
    kind = codes.words("provision_kind", given["provision_kind"], language)
    return f"SFS {given['sfs']}, {given['section']}: {kind} ({value['provision']})"


def _content(data: Mapping[str, Any] | None, language: str) -> list[str]:
    if data is None:
        return [_say("gone", language)]
    found = [f"{_say('content', language)}:"]
    for name, part in data.items():
        found += [f"  {name}: {_plain(one['text'])} ({one['kind']}, {one['as_of']})" for one in part["statements"]]
        found += [f"  {name}: tel. {_plain(part['call_back'])}"] if part.get("call_back") else []
    return found


def _plain(text: str) -> str:
    """On one line: what somebody wrote never looks like a line of this page, nor moves the cursor."""
    # INVARIANT: test_what_the_decider_wrote_cannot_look_like_a_ground
    return "".join(sign if sign.isprintable() else " " for sign in text)


def _one(kind: str, code: str | None, language: str) -> str:
    return f"{codes.words(kind, code, language)} ({code})" if code else _say("unstated", language)


def _each(kind: str, given: Iterable[str], language: str, none: str | None = "none") -> str:
    found = "; ".join(_one(kind, code, language) for code in given)
    return found or (_say(none, language) if none else "")


def _say(word: str, language: str) -> str:
    return _WORDS[word].told(language)
