"""Short slots between real processes: messages go on across them, nothing is lost or given twice, old keys are gone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from typing import Any

import pytest

from connectors import inbox, settings
from connectors.box import DataKey
from connectors.context import Context
from deploy.demo.play import Play, _set
from schemas.calls import FetchAnswer, FetchRequest
from tests.evil.house import PERSON, assessment, grant, request_assessment

SLOT_S = 12
LEASE_S = 900  # longer than everything here: the key goes before a lost answer would be handed over again
CHUNK = 48


def drop(play: Play, unit: str, name: str, /, **value: Any) -> None:
    into = play.config(unit).parent / "folder" / "in"
    (into / f".{name}").write_text(json.dumps({**value, "id": name}, ensure_ascii=False))
    (into / f".{name}").rename(into / f"{name}.json")


def told(play: Play, unit: str, **wanted: Any) -> list[dict[str, Any]]:
    return [f for f in play.files(unit) if all(f.get(key) == value for key, value in wanted.items())]


def row(play: Play, unit: str) -> bytes:
    path = play.config(unit).parent / "data" / "connector.db"
    with contextlib.closing(sqlite3.connect(path, timeout=10)) as spool:
        return spool.execute("SELECT value FROM seat").fetchone()[0]


def private(play: Play, unit: str) -> str:
    key = DataKey.load(settings.load(play.config(unit)).data_key)
    return json.loads(key.open("seat.value", row(play, unit)))["private"]


def on_disk(play: Play, unit: str, pieces: list[bytes]) -> int:
    files = (play.config(unit).parent / "data").glob("connector.db*")
    data = b"".join(path.read_bytes() for path in files)
    return sum(piece in data for piece in pieces)


def pieces_of(data: bytes) -> list[bytes]:
    return [data[at : at + CHUNK] for at in range(0, len(data) - CHUNK, CHUNK)]


def a_case(play: Play, until: Any) -> None:
    """Social services and police in one case, with grants both ways, on short slots."""
    for name in ("social", "police", "probation"):
        play.stop(name)
        with play.config(name).open("a", encoding="utf-8") as config:
            config.write(f"slot_s = {SLOT_S}\nslot_offset_s = 0\n")
    play.stop("broker")
    _set(play.broker, "lease_seconds", f"{LEASE_S}.0")
    for name in ("broker", "social", "police"):
        play.start(name)
    until(lambda: all((play.config(name).parent / "folder" / "in").is_dir() for name in ("social", "police")))
    police = play.scenario.units["police"].code

    def done(at: str, name: str, /, **value: Any) -> None:
        drop(play, at, name, **value)
        until(lambda: bool(told(play, at, id=name, kind="result")))

    done("social", "s1", do="open_case", ref="EX-1", role="social_services_lead")
    done("social", "s2", **grant("EX-1", [{"unit": police}], ["IC01", "IC12"], ["INTAKE"]))
    invite = {"do": "invite", "ref": "EX-1", "unit": police, "role": "police_coordination", "contact": "Konsult"}
    done("social", "s3", **invite, person=PERSON)
    until(lambda: bool(told(play, "police", kind="invitation")))
    invitation = told(play, "police", kind="invitation")[0]["invitation"]
    done("police", "p1", do="accept", ref="PM-1", invitation=invitation)
    until(lambda: bool(told(play, "police", kind="seat", state="ACTIVE")))
    done("social", "s4", **grant("EX-1", [{"role": "police_coordination"}], ["IC01", "IC04", "IC12"],
                                ["THREAT_ASSESSMENT"]))  # fmt: skip
    done("police", "p2", **grant("PM-1", [{"role": "social_services_lead"}], ["IC04"], ["THREAT_ASSESSMENT"]))


async def lost_answer(play: Play) -> list[str]:
    """The deliveries that the broker hands to the police, thrown away as if they had never come; the rest is kept."""
    ctx = Context.load(settings.load(play.config("police")))
    async with ctx.link:
        answer = await ctx.link.call("/v1/inbox:fetch", FetchRequest(limit=200), FetchAnswer)
        inbox.take_all(ctx, [item for item in answer.items if item.kind != "DELIVERY"])
    ctx.spool.close()
    return [item.kind for item in answer.items]


@pytest.mark.long
def test_messages_go_on_across_slots_and_old_keys_are_gone(play, until):
    a_case(play, until)
    play.stop("police")
    drop(play, "social", "lost", **request_assessment("EX-1", text="borta"))
    until(lambda: bool(told(play, "social", id="lost", kind="receipt")))
    assert "DELIVERY" in asyncio.run(lost_answer(play))
    began = {unit: (private(play, unit), pieces_of(row(play, unit))) for unit in ("social", "police")}
    assert all(on_disk(play, unit, pieces) > len(pieces) // 2 for unit, (_key, pieces) in began.items())  # control
    play.start("police")
    sent: list[str] = []
    seen = {unit: {began[unit][0]} for unit in began}

    def both_rotated_thrice() -> bool:
        text = f"rad {len(sent)}"
        sent.append(text)
        drop(play, "social", f"m{len(sent)}", **request_assessment("EX-1", text=text))
        drop(play, "police", f"a{len(sent)}", **assessment("PM-1"))
        for unit, keys in seen.items():
            keys.add(private(play, unit))
        return all(len(keys) > 3 for keys in seen.values())

    until(both_rotated_thrice, 90.0)
    until(lambda: len(told(play, "social", kind="delivery")) == len(sent), 60.0)
    until(lambda: len(told(play, "police", kind="delivery")) == len(sent) + 1, 90.0)
    texts = [f["data"]["known_facts"][0]["text"] for f in told(play, "police", kind="delivery")]
    assert sorted(texts) == sorted(["borta", *sent])
    assert told(play, "social", kind="notice", code="delivery_reseal")
    for unit, (key, pieces) in began.items():
        assert on_disk(play, unit, pieces) == 0
        assert private(play, unit) != key
        assert told(play, unit, kind="rejected") == []
    # A grant signed with keys of today, and the auditor's own check over every key of the seat.
    drop(play, "police", "p9", **grant("PM-1", [{"role": "social_services_lead"}], ["IC12"], ["THREAT_ASSESSMENT"]))
    until(lambda: bool(told(play, "police", id="p9", kind="result")))
    trust = play.folder / "trust.toml"
    for unit, ref in (("police", "PM-1"), ("social", "EX-1")):
        play.stop(unit)
        look = ("--purpose", "LAWFULNESS", "--case-number", "K-7", "--actor", "auditor-3")
        export = play.folder / f"export-{unit}"
        play.handslag("audit", "export", "--ref", ref, "--dir", export, *look, "--config", play.config(unit))
        play.handslag("audit", "verify", export, "--trust", trust)
    play.handslag("audit", "verify", play.copy_trail(), "--trust", trust)
