"""Hostile files in the folder of a connector: refused with a code that repeats nothing, or left alone; nothing breaks.

Half-written files, wider folders and error files are in tests/agency/test_flows.py.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from connectors.adapters.folder import INPUT_BYTES, Folder
from connectors.waiting import OutgoingState
from schemas.errors import HandslagError
from tests.agency.conftest import World

MARK = "Ulvhild-Kanarie-840229"
SEND = {
    "do": "send", "id": "s1", "ref": "EX-1", "event_type": "threat_assessment_requested",
    "to": ["police_coordination"], "purpose": "THREAT_ASSESSMENT", "confirmed": True,
    "data": {"person_name": MARK, "reason_code": "EXIT_WISH", "urgency": "ACUTE", "known_facts": []},
}  # fmt: skip


@pytest.fixture
async def world(tmp_path):
    made = World(tmp_path)
    yield made
    made.ctx.spool.close()


class Desk:
    """The folder of a running connector: drop a file, look twice as the runner does, see what was said of it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.folder = Folder(world.ctx.settings.folder, world.ctx)
        self.root = world.ctx.settings.folder / "in"

    def drop(self, data: bytes, name: str = "a.json") -> Path:
        path = self.root / name
        path.write_bytes(data)
        return path

    def look(self) -> int:
        return self.folder.take_in() + self.folder.take_in()

    def refused(self, data: bytes) -> dict[str, str]:
        path = self.drop(data)
        assert self.look() == 0
        error = path.with_name(path.name + ".error.json")
        told = error.read_text()
        assert MARK not in told
        assert path.read_bytes() == data  # the file stays with its owner
        path.unlink()
        error.unlink()
        return json.loads(told)

    def accepted(self) -> int:
        return sum(1 for _ in self.world.ctx.spool.outgoing.in_state(OutgoingState.ACCEPTED))


@pytest.fixture
async def desk(world):
    return Desk(world)


def with_data(**changes) -> bytes:
    return json.dumps({**SEND, "data": {**SEND["data"], **changes}}, ensure_ascii=False).encode()


async def test_an_honest_file_is_taken(desk):
    """Positive control of this file."""
    desk.drop(json.dumps(SEND).encode())
    assert desk.look() == 1
    assert desk.accepted() == 1
    [event] = desk.world.ctx.spool.outgoing.in_state(OutgoingState.ACCEPTED)
    assert event.event["data"]["person_name"] == MARK


DEEP = 100_000
HOSTILE = {
    "nothing": b"",
    "not JSON": MARK.encode(),
    "NUL bytes": b"\x00" * 100 + MARK.encode(),
    "not UTF-8": json.dumps(SEND).encode().replace(b"EXIT_WISH", b"\xff\xfe"),
    "UTF-16": json.dumps(SEND).encode("utf-16"),
    "deep lists": b"[" * DEEP + b"]" * DEEP,
    "deep objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "deep data": with_data(known_facts="@").replace(b'"@"', b"[" * DEEP + b"]" * DEEP),
    "a million digits": with_data(answer_by="@").replace(b'"@"', b"9" * 1_000_000),
    "huge exponent": with_data(urgency="@").replace(b'"@"', b"1e999999"),
    "not a number": with_data(urgency="@").replace(b'"@"', b"NaN"),
    "a lone surrogate": with_data(person_name="@").replace(b'"@"', b'"\\ud800' + MARK.encode() + b'"'),
    "two commands": json.dumps(SEND).encode() * 2,
    "a list": json.dumps([SEND]).encode(),
    "text for a list": with_data(known_facts=MARK),
    "number for text": with_data(person_name=840229),
    "true for text": with_data(person_name=True),
    "an unknown field": with_data(**{MARK: 1}),
    "a role twice": json.dumps({**SEND, "to": ["police_coordination"] * 2}).encode(),
    "a role of nobody": json.dumps({**SEND, "to": [MARK]}).encode(),
    "a million roles": json.dumps({**SEND, "to": ["police_coordination"] * 100_000}).encode(),
    "its own role": json.dumps({**SEND, "to": ["social_services_lead"]}).encode(),
    "a purpose of its own": json.dumps({**SEND, "purpose": MARK}).encode(),
    "an id with a path": json.dumps({**SEND, "id": "../" + MARK}).encode(),
    "another case": json.dumps({**SEND, "ref": MARK}).encode(),
    "an endless reference": json.dumps({**SEND, "ref": MARK * 1000}).encode(),
    "a date before time": with_data(answer_by="0000-00-00"),
    "a moment after time": json.dumps({**SEND, "deadline_at": "99999-01-01T00:00:00Z"}).encode(),
    "a moment without zone": json.dumps({**SEND, "deadline_at": "2026-12-01T00:00:00"}).encode(),
}


@pytest.mark.parametrize("kind", HOSTILE)
async def test_hostile_input_is_refused_and_repeats_nothing(desk, kind):
    told = desk.refused(HOSTILE[kind])
    assert told["code"].startswith("HS-")
    assert told["code"] not in {"HS-INTERNAL", "HS-FAULT"}
    assert desk.accepted() == 0
    desk.drop(json.dumps(SEND).encode())
    assert desk.look() == 1  # and the connector goes on


async def test_an_oversize_file_is_refused_unread(desk):
    path = desk.drop(b"")
    with path.open("r+b") as file:
        file.truncate(INPUT_BYTES + 1)
    assert desk.look() == 0
    assert json.loads(path.with_name("a.json.error.json").read_text())["code"] == "HS-TOO-LARGE"
    assert path.exists()


@pytest.mark.parametrize("target", ["outside", "key", "nowhere", "itself", "folder"])
async def test_a_link_in_the_folder_is_never_followed(desk, tmp_path, target):
    """Somebody who may write into `in/` must not make the connector read or remove another file."""
    outside = tmp_path / "outside.json"
    outside.write_text(json.dumps(SEND))
    aims = {
        "outside": outside, "key": desk.world.ctx.settings.data_key, "nowhere": tmp_path / "nowhere",
        "itself": desk.root / "a.json", "folder": desk.root,
    }  # fmt: skip
    (desk.root / "a.json").symlink_to(aims[target])
    before = aims[target].read_bytes() if target in {"outside", "key"} else None
    assert desk.look() == 0
    assert desk.accepted() == 0
    assert (desk.root / "a.json").is_symlink()
    if before is not None:
        assert aims[target].read_bytes() == before
    (desk.root / "b.json").write_text(json.dumps(SEND))
    assert desk.look() == 1  # positive control: the same words as a file


async def test_what_is_no_file_is_left_alone(desk):
    (desk.root / "folder.json").mkdir()
    os.mkfifo(desk.root / "pipe.json")
    desk.drop(json.dumps(SEND).encode(), "z.json")
    assert desk.look() == 1
    assert (desk.root / "folder.json").is_dir()


@pytest.mark.parametrize(
    "name", [b"\xff\xfe.json", b"a\nb.json", b"-rf.json", "å😀\u202e.json".encode(), b"x" * 240 + b".json"]
)
async def test_odd_file_names_are_no_danger(desk, name):
    """Taken like any other, or refused beside; never a reason to stop, and never repeated."""
    (desk.root / os.fsdecode(name)).write_bytes(json.dumps(SEND).encode())
    desk.drop(json.dumps({**SEND, "id": "s2"}).encode(), "zz.json")
    desk.look()
    ids = {event.event["id"] for event in desk.world.ctx.spool.outgoing.in_state(OutgoingState.ACCEPTED)}
    assert "s2" in ids


@pytest.mark.parametrize(
    "unit",
    [
        "POL/EXEMPEL/ＳＹＤ", "POL/EXEMPEL/SYD\u200b", "РOL/EXEMPEL/SYD", "POL/EXEMPEL/SYD\n", "POL/EXEMPEL/A\u030aSYD",
        "pol/exempel/syd", "POL//SYD", "../POL", "POL/EXEMPEL/SYD/X/Y", "POL\x00/SYD", "POL/EXEMPEL/" + "S" * 17,
        "POL/EXEMPEL/٣", "",
    ],
)  # fmt: skip
async def test_tricks_in_a_unit_code_are_refused(desk, unit):
    """Letters that look alike, nothing-wide letters, other spellings: a unit code has one form."""
    grant = {
        "do": "grant", "ref": "EX-1", "recipients": [{"unit": unit}], "categories": ["IC01"], "purposes": ["INTAKE"],
        "valid_until": "2036-06-01T00:00:00Z", "text_version": "T", "terms_version": "V",
        "processing_acknowledged": True, "method": "WRITTEN",
    }  # fmt: skip
    assert desk.refused(json.dumps(grant).encode())["code"] in {"HS-IDENTIFIER-INVALID", "HS-INPUT-INVALID"}
    desk.drop(json.dumps({**grant, "recipients": [{"unit": "POL/EXEMPEL/ÅSYD"}]}).encode())
    assert desk.look() == 1  # positive control


async def test_a_folder_that_is_a_link_or_wider_is_refused(desk, tmp_path):
    root = desk.world.ctx.settings.folder
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o755)
    (root / "out").rmdir()
    (root / "out").symlink_to(elsewhere)
    with pytest.raises(HandslagError, match="HS-FOLDER-UNSAFE"):
        Folder(root, desk.world.ctx)
    (root / "out").unlink()
    Folder(root, desk.world.ctx)
