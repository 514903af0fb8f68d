"""Reading back what happened: receipts of the senders, files of the recipients, entries of the trail.

Nothing here looks at the scenario's expectations; what it knows of the scenario is which file made which event.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from deploy.demo.play import Play


@dataclass(frozen=True, slots=True)
class Row:
    """One event for one recipient role, as receipts and trail tell it."""

    event: str
    event_type: str
    sender: str
    role: str
    outcome: str
    came: list[str]
    withheld: dict[str, str]
    end: str
    trail: list[str]

    def as_json(self) -> dict[str, Any]:
        """Plain data for `report.json`."""
        return asdict(self)


_ENDS = {
    "delivery_overdue": "overdue",
    "delivery_expired": "expired",
    "delivery_cancelled": "cancelled",
    "delivery_acknowledged": "acknowledged",
    "delivery_rejected": "rejected",
}


def read_back(play: Play) -> list[Row]:
    """One row per event and role, in the order of sending."""
    files = {name: play.files(name) for name in play.scenario.units}
    trails = {name: _trail(play, name) for name in play.scenario.units}
    rows = []
    for name in play.scenario.units:
        for receipt in _receipts(files[name]):
            event_id = receipt["event_id"]
            rows += [
                (receipt["decided_at"], _row(name, receipt, role, files, trails[name][event_id]))
                for role in receipt["roles"]
            ]
    latest: dict[tuple[str, str], tuple[str, Row]] = {}
    for at, row in sorted(rows, key=lambda pair: pair[0]):
        first = latest.get((row.event, row.role), (at, row))[0]
        latest[row.event, row.role] = (first, row)
    return [row for _at, row in sorted(latest.values(), key=lambda pair: pair[0])]


def _receipts(files: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Receipts of events, and those inside the results of invitations under the file that made them."""
    invited = [{**f["receipt"], "id": f["id"]} for f in files if f["kind"] == "result" and "receipt" in f]
    return [f for f in files if f["kind"] == "receipt"] + invited


def _row(
    sender: str, receipt: dict[str, Any], role: dict[str, Any], files: dict[str, list[dict[str, Any]]], trail: list[str]
) -> Row:
    event_id, name = receipt["event_id"], role["role"]
    came = sorted(
        {
            category
            for given in files.values()
            for f in given
            if f["kind"] == "delivery" and f["event_id"] == event_id and _holds(files, f, name)
            for category in f["categories"]
        }
    )
    if receipt["event_type"] == "seat_invited" and "HAND_OVER" not in trail:
        accepted = [n for n in files[sender] if n["kind"] == "notice" and n["event_id"] == event_id]
        came = sorted({c for n in accepted if n["code"] == "delivery_acknowledged" for c in n["categories"]})
    return Row(
        event=receipt["id"],
        event_type=receipt["event_type"],
        sender=sender,
        role=name,
        outcome=role["outcome"]["code"],
        came=came,
        withheld={
            s["category"]: ", ".join(r["code"] for r in s["reasons"]) for s in role["sections"] if not s["released"]
        },
        end=_end(files[sender], event_id, name),
        trail=trail,
    )


def _holds(files: dict[str, list[dict[str, Any]]], delivery: dict[str, Any], role: str) -> bool:
    """Whether a delivery lies at the connector that holds the role, as that connector itself says."""
    owner = next(name for name, given in files.items() if delivery in given)
    roles = {f["role"] for f in files[owner] if f["kind"] == "seat"}
    return role in roles or (not roles and role == "social_services_lead")


def _end(files: list[dict[str, Any]], event_id: str, role: str) -> str:
    told = [
        _ENDS[f["code"]]
        for f in files
        if f["kind"] == "notice" and f["event_id"] == event_id and f["role"] == role and f["code"] in _ENDS
    ]
    told += ["waits for a person" for f in files if f["kind"] == "waits_for_a_person" and f["event_id"] == event_id]
    return ", ".join(dict.fromkeys(told)) or "-"


class _Entries(dict[str, list[str]]):
    def __missing__(self, key: str) -> list[str]:
        return []


def _trail(play: Play, unit: str) -> _Entries:
    """Operations recorded in the trail per event, read by the unit's auditor over the network."""
    ref = next(f["ref"] for f in play.files(unit) if f["kind"] == "result" and f["do"] in {"open_case", "accept"})
    text = play.handslag("audit", "search", "--ref", ref, "--purpose", "SELF_MONITORING", "--case-number", "EXEMPEL-1",
                         "--actor", "EXEMPEL-granskare", "--config", play.config(unit), "--json")  # fmt: skip
    entries = _Entries()
    for entry in json.loads(text)["entries"]:
        if entry.get("event_id"):
            entries.setdefault(entry["event_id"], []).append(entry["operation"])
    return entries
