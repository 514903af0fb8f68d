"""Judges a recorded run: `check(history)` returns one sentence per broken promise, none for a whole run.

It reads what connectors wrote and were answered, imports nothing of the broker, and shares no rule with the product:
consents are read anew in `consents.py`, contents are compared with what was dropped.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from tests.kills.consents import Consents, covers, replay
from tests.kills.records import History, Value

_EVENTS = {"send", "introduce"}
_AT_REST = {"WAITING", "EXPIRED", "DONE", "REPLACED"}
_NEVER = {"alarm", "rejected", "refused", "not_recorded_yet", "?"}


def check(history: History) -> list[str]:
    """Every broken promise of the run, each as `rule: what`."""
    consents = {unit: replay(history, unit) for unit in history.roles}
    rules: dict[str, Callable[[], Iterator[str]]] = {
        "acknowledged and not there": lambda: _acknowledged(history),
        "given twice": lambda: _twice(history),
        "other content": lambda: _content(history),
        "not one answer": lambda: _answers(history),
        "not at rest": lambda: _rest(history),
        "handed over after a withdrawal": lambda: _handed(history, consents),
        "arrived after a withdrawal": lambda: _arrived(history, consents),
        "gap in a ledger": lambda: (fault for each in consents.values() for fault in each.faults),
        "gap in the trail": lambda: _trail(history),
        "no record of a release": lambda: _recorded(history),
    }
    return [f"{name}: {what}" for name, found in rules.items() for what in found()]


def _of(history: History, unit: str, kind: str) -> list[Value]:
    return [f for f in history.files[unit] if f["kind"] == kind]


def _holder(history: History, role: str) -> str:
    return next(unit for unit, (held, _code) in history.roles.items() if held == role)


def _deliveries(history: History) -> Iterator[tuple[str, Value]]:
    for unit in history.roles:
        for f in _of(history, unit, "delivery"):
            yield unit, f


def _acknowledged(history: History) -> Iterator[str]:
    """What its sender was told has been acknowledged lies at the recipient, each section in one file."""
    there: Counter[tuple[str, str, str]] = Counter()
    for unit, f in _deliveries(history):
        there.update((unit, f["event_id"], category) for category in f["categories"])
    for sender in history.roles:
        for notice in _of(history, sender, "notice"):
            if notice["code"] != "delivery_acknowledged" or notice["event_type"] in {None, "seat_invited"}:
                continue
            unit = _holder(history, notice["role"])
            for category in notice["categories"]:
                if there[unit, notice["event_id"], category] != 1:
                    yield f"{category} of {notice['id']} is {there[unit, notice['event_id'], category]} times at {unit}"
        for event_id, role, category, state in history.sections[sender]:
            unit = _holder(history, role)
            if state == "ACKED" and there[unit, event_id, category] != 1:
                yield f"{category} of {event_id}, acknowledged in the spool of {sender}, is not at {unit}"


def _twice(history: History) -> Iterator[str]:
    """No section in two files, no delivery in two files."""
    sections: Counter[tuple[str, str, str]] = Counter()
    deliveries: Counter[tuple[str, str]] = Counter()
    for unit, f in _deliveries(history):
        deliveries[unit, f["delivery_id"]] += 1
        sections.update((unit, f["event_id"], category) for category in f["categories"])
    for unit, event_id, category in (key for key, count in sections.items() if count > 1):
        yield f"{category} of {event_id} at {unit}"
    for unit, delivery_id in (key for key, count in deliveries.items() if count > 1):
        yield f"delivery {delivery_id} at {unit}"


def _content(history: History) -> Iterator[str]:
    """What a file holds is what was dropped for these categories, no field more, none less."""
    sent = _sent(history)
    for unit, f in _deliveries(history):
        if f["event_id"] not in sent:
            yield f"{f['event_id']} at {unit} is nobody's event"
            continue
        parts = sent[f["event_id"]]["sections"]
        wanted = {name: value for c in f["categories"] for name, value in parts.get(c, {"?": c}).items()}
        given = {name: value for name, value in f["data"].items() if value is not None}
        if _plain(wanted) != _plain(given):
            yield f"{f['event_id']} at {unit}"


def _sent(history: History) -> dict[str, Value]:
    """event id -> what was dropped, as the senders' own receipts and notices connect them."""
    dropped = {d["name"]: d for d in history.dropped}
    return {
        f["event_id"]: dropped[f["id"]]
        for unit in history.roles
        for f in history.files[unit]
        if f["folder"] == "receipts" and f.get("event_id") and f.get("id") in dropped
    }


def _plain(value: Any) -> Any:
    """Moments compared as moments, however they are spelled."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, str) and "T" in value[8:12]:
        try:
            return datetime.fromisoformat(value).timestamp()
        except ValueError:
            return value
    return value


def _answers(history: History) -> Iterator[str]:
    """Every file dropped was taken once: one result per command, one event per message, nothing left, no alarm."""
    told: dict[str, list[Value]] = defaultdict(list)
    for unit in history.roles:
        yield from (f"{name} still lies in the folder of {unit}" for name in history.left[unit])
        for f in history.files[unit]:
            told[f.get("id") or "-"].append(f)
            if f["kind"] in _NEVER and not _overtaken(f, history.files[unit]):
                yield f"{f['kind']} {f.get('code', '')} at {unit} about {f.get('id', '')}"
    for dropped in history.dropped:
        mine = told[dropped["name"]]
        if dropped["value"]["do"] in _EVENTS:
            events = {f["event_id"] for f in mine if f.get("event_id")}
            if len(events) != 1 or not any(f["kind"] == "receipt" for f in mine):
                yield f"{dropped['name']} became {len(events)} events"
            continue
        results = [f for f in mine if f["kind"] in {"result", "refused"}]
        if len(results) != 1:
            yield f"{dropped['name']} has {len(results)} results"
        stops = sum(f["kind"] == "stopped_here" for f in mine)
        if stops != (dropped["value"]["do"] in {"withdraw", "withdraw_case"}):
            yield f"{dropped['name']} was stopped here {stops} times"


def _overtaken(refused: Value, files: list[Value]) -> bool:
    """Whether a command that would have widened was ended, and told so, by a withdrawal of everything after it."""
    stops = (f for f in files if f["kind"] == "stopped_here" and f["do"] == "withdraw_case")
    return refused.get("code") == "HS-OVERTAKEN" and refused.get("do") in {"grant", "unblock", "invite"} and any(stops)


def _rest(history: History) -> Iterator[str]:
    """Nothing hangs: every event is done, or waits for consent or a person; nothing is on its way for ever."""
    for unit in history.roles:
        yield from (f"event {e} of {unit} is {state}" for e, _type, state in history.events[unit]
                    if state not in _AT_REST)  # fmt: skip
        yield from (f"{category} of {e} of {unit} to {role} is LIVE" for e, role, category, state
                    in history.sections[unit] if state == "LIVE")  # fmt: skip
        accepted = {d["name"] for d in history.dropped if d["unit"] == unit and d["value"]["do"] in _EVENTS}
        if len(history.events[unit]) != len(accepted):
            yield f"{unit} holds {len(history.events[unit])} events, dropped were {len(accepted)}"


def _handed(history: History, consents: dict[str, Consents]) -> Iterator[str]:
    """In the discloser's own trail, every DISCLOSURE is covered by what had been recorded before it."""
    for unit in history.roles:
        seq = 0
        for entry in history.trail[unit]:
            if entry["operation"] == "CONSENT_EVENT":
                seq = max(seq, entry["ledger_seq"])
            if entry["operation"] != "DISCLOSURE":
                continue
            names = _names(history, entry["counter_role"])
            for section in entry["sections"]:
                if not covers(consents[unit].after(seq), names, section["category"], entry["purpose"]):
                    yield f"{section['category']} of {entry['event_id']} in entry {entry['number']} of {unit}"


def _names(history: History, role: str) -> tuple[str, str]:
    return role, history.roles[_holder(history, role)][1]


def _arrived(history: History, consents: dict[str, Consents]) -> Iterator[str]:
    """A file written while its discloser's consent did not stand was named to the discloser as perhaps arrived."""
    for unit, f in _deliveries(history):
        discloser = _holder(history, f["from_role"])
        role = history.roles[unit][0]
        covered = consents[discloser].at(f["at_us"])
        named = _named(history, discloser, f["event_id"], role)
        for category in f["categories"]:
            if not covers(covered, (role,), category, f["purpose"]) and category not in named:
                yield f"{category} of {f['event_id']} at {unit}"


def _named(history: History, discloser: str, event_id: str, role: str) -> set[str]:
    """Categories that the discloser was told may have arrived at a role although they were stopped."""
    return {
        category
        for f in _of(history, discloser, "notice")
        if f["code"] == "delivery_cancelled"
        and f["detail"] == "HANDED"
        and (f["event_id"], f["role"]) == (event_id, role)
        for category in f["categories"]
    }


def _trail(history: History) -> Iterator[str]:
    """The verifier calls the trail whole, every proof came, and every ledger act stands in the trail in its order."""
    if history.verify["code"] != 0:
        yield f"audit verify: {history.verify['text'][:300]}"
    for unit, (held, wanted) in history.proofs.items():
        if wanted or not held:
            yield f"{unit} has {held} proofs and still wants {wanted}"
    for unit in history.roles:
        acts = [e["ledger_seq"] for e in history.trail[unit] if e["operation"] == "CONSENT_EVENT"]
        if acts != list(range(1, len(history.ledger[unit]) + 1)):
            yield f"the trail of {unit} has the ledger acts {acts}"


def _recorded(history: History) -> Iterator[str]:
    """Every delivery given has its DISCLOSURE in the sender's trail and its HAND_OVER in the recipient's."""
    seen = {
        unit: {(e["operation"], e["delivery_id"]) for e in entries if e.get("delivery_id")}
        for unit, entries in history.trail.items()
    }
    for unit, f in _deliveries(history):
        if ("DISCLOSURE", f["delivery_id"]) not in seen[_holder(history, f["from_role"])]:
            yield f"no DISCLOSURE of {f['delivery_id']}"
        if ("HAND_OVER", f["delivery_id"]) not in seen[unit]:
            yield f"no HAND_OVER of {f['delivery_id']} at {unit}"
