"""What an old unit can try in order to learn where the case goes: guesses of a unit, and calls about seats not its own.

It guesses both units, in one order in every world: who of the two sits in the case must not show in any answer. Its
connector is not the honest one: what that would refuse by itself is put into its queue all the same.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from typing import Any

from connectors import commands
from schemas import codec
from schemas.calls import (
    AuditFetchRequest,
    AuditQuery,
    DestroyedRequest,
    FetchRequest,
    LedgerFetchRequest,
    RecipientRequest,
)
from schemas.errors import HandslagError
from schemas.identifiers import parsed
from schemas.records import Record
from schemas.said import AnnulmentsRequest
from tests.evil.house import LEAD
from tests.relocation.play import ALFA, BETA, NEXT, file_of
from tests.relocation.worlds import OLD, World

GUESSES = (ALFA, BETA)
_REF = "EX-1"
_QUERY = AuditQuery(purpose="SELF_MONITORING", actor_ref="handl-3", assurance="ASSERTED", case_number="K-1")


def granted(move: World, name: str = OLD, place: int = -1) -> str:
    """The id of a consent that an agency recorded, the newest by default."""
    found: str = move.agency(name).files("receipts", kind="result", do="grant")[place]["consent"]
    return found


async def _do(move: World, **command: Any) -> None:
    """A command of the old unit, carried out while nobody else does anything."""
    move.agency(OLD).command(**command)
    await move.turn(OLD)


def _invite(move: World, ref: str, unit: str, role: str) -> None:
    """An invitation in the queue, past the connector's own check of who may invite."""
    ctx = move.agency(OLD).ctx
    value = commands.Invite(
        do="invite", ref=ref, unit=unit, role=role, contact="Konsult EXEMPEL", person=commands.Person(name="Tolvan")
    ).model_dump()
    value |= {"officer": "handl-7", "noted_at_us": ctx.now()}
    ctx.spool.commands.accept(ctx.random(16), ctx.identities.handle(ref), "invite", value, narrowing=False)


async def guess_by_consent(move: World) -> None:
    """A consent that names the guess instead of the role, and the file sent on it: only a hit would go."""
    for unit in GUESSES:
        await _do(move, **move.grant(_REF, [{"unit": unit}], ["IC08", "IC10", "IC13"], ["CASE_TRANSFER"]))
        await _do(move, **file_of(_REF))
        await _do(move, **said(), to=[NEXT])
        await _do(move, do="withdraw", ref=_REF, consent=granted(move))
    await move.settle(1)


async def guess_by_block(move: World) -> None:
    """A block that names the guess, while the file is on its way: only a hit would stop it."""
    await _do(move, **move.grant(_REF, [{"role": NEXT}], ["IC08", "IC10", "IC13"], ["CASE_TRANSFER"]))
    await _do(move, **file_of(_REF))
    for unit in GUESSES:
        await _do(move, do="block", ref=_REF, recipients=[{"unit": unit}], method="WRITTEN")
        await _do(move, **said(), to=[NEXT])
        [*_, done] = move.agency(OLD).files("receipts", kind="result", do="block")
        await _do(move, do="unblock", ref=_REF, consent=done["consent"])
    await move.settle(2)
    await _do(move, do="annul", ref=_REF, consent=granted(move), ground="CONSENT_INVALID")
    await move.settle(2)


async def guess_by_invitation(move: World, ref: str = _REF) -> None:
    """Each unit invited to take the case over, whether or not somebody already does."""
    for unit in GUESSES:
        await _do(move, **move.grant(ref, [{"unit": unit}], ["IC01", "IC12"], ["INTAKE"]))
        _invite(move, ref, unit, NEXT)
        await move.turn(OLD)
    await move.settle(1)
    for place in (-2, -1):
        await _do(move, do="withdraw", ref=ref, consent=granted(move, OLD, place))
    await move.settle(1)


def said() -> dict[str, Any]:
    """Words to the role that takes over: what the consents say about them is in the answer."""
    return {"do": "record_disclosure", "ref": _REF, "purpose": "CASE_TRANSFER", "categories": ["IC08"],
            "manner": "MEETING"}  # fmt: skip


async def look(move: World, times: int = 1) -> None:
    """Its own trail with the keys of its entries, its ledger, the log, the lists that are for everybody."""
    seat = move.seat(OLD)
    for _ in range(times):
        await raw(move, "/v1/audit:fetch", _audit(seat.sid, 0))
    await raw(move, "/v1/ledger:fetch", LedgerFetchRequest(seat_id=seat.sid, after_seq=0))
    await raw(move, "/v1/annulments:list", AnnulmentsRequest(seat_id=seat.sid, consent_id=bytes(16)))
    files = move.agency(OLD).files("receipts", kind="receipt", event_type="case_transfer_changed")
    for event_id in sorted({parsed(one["event_id"]) for one in files}):
        await raw(move, "/v1/recipients:name", _named(seat.sid, event_id))
    await lists(move)


async def lists(move: World) -> None:
    """Everything that is the same for everybody."""
    for path in ("/v1/units", "/v1/rules", "/v1/acts/0", "/v1/checkpoint", "/v1/hold", "/v1/schemas",
                 "/v1/tile/0/000.p/16", "/v1/tile/1/000.p/1", "/v1/nothing"):  # fmt: skip
        await raw(move, path)


async def knock(move: World) -> list[list[str]]:
    """Calls about its closed seat, about none and about others' seats; returns what each kind of seat was answered."""
    others = [move.seat(name).sid for name in ("police", "probation", move.new)]
    found = []
    for sid in (move.seat(OLD).sid, b"\x07" * 16, *others):
        before = len(move.seen.lines)
        for path, request in _about(sid):
            await raw(move, path, request)
        found.append(move.seen.answers(before))
    return found


async def play_again(move: World) -> None:
    """Every kind of call that it ever made, signed with keys it kept: word for word, and under a new call id."""
    newest = {(path, codec.name_of(body)): body for path, body in move.seen.posts if not path.endswith(":fetch")}
    for (path, kind), body in newest.items():
        fields = codec.decode(kind, body, 1 << 24)
        await _post(move, path, body)
        if "call_id" in fields:
            await _post(move, path, codec.encode(kind, {**fields, "call_id": move.lots.of(OLD)(16)}))


async def wait(move: World) -> None:
    """A call that waits for news, while the others have some: whether it is answered then is all that it tells."""
    _waits(move, waits=True)
    waiting = asyncio.create_task(raw(move, "/v1/inbox:fetch", FetchRequest(limit=1, wait_ms=15_000)))
    await asyncio.sleep(0.3)  # it is there
    move.agency("probation").command(**move.grant(move.refs["probation"], [{"role": LEAD}], ["IC13"], ["PLANNING"]))
    await move.turn("probation")
    done, _late = await asyncio.wait({waiting}, timeout=10)
    move.seen.tell("woken", by="news of others", woken=bool(done))
    await waiting
    _waits(move, waits=False)


def _waits(move: World, *, waits: bool) -> None:
    """A call that is under way meanwhile does work of its own, at no one moment."""
    for view in move.views.values():
        view.waits = waits


async def new_case(move: World) -> None:
    """A case of its own about the same person, both units invited to it, and the word that it is the same one."""
    await _do(move, do="open_case", ref="EX-2", role="social_services_lead")
    await guess_by_invitation(move, "EX-2")


def _about(sid: bytes) -> Iterable[tuple[str, Record]]:
    yield "/v1/ledger:fetch", LedgerFetchRequest(seat_id=sid, after_seq=0)
    yield "/v1/ledger:fetch", LedgerFetchRequest(seat_id=sid, after_seq=0, query=_QUERY)
    yield "/v1/audit:fetch", _audit(sid, 0)
    yield "/v1/annulments:list", AnnulmentsRequest(seat_id=sid, consent_id=bytes(16))
    yield "/v1/recipients:name", _named(sid, bytes(16))
    yield "/v1/seats:destroyed", DestroyedRequest(call_id=os.urandom(16), seat_id=sid, seat_key_id=bytes(32))


def _named(sid: bytes, event_id: bytes) -> RecipientRequest:
    return RecipientRequest(call_id=os.urandom(16), seat_id=sid, event_id=event_id, role=NEXT, query=_QUERY)


def _audit(sid: bytes, after: int) -> AuditFetchRequest:
    return AuditFetchRequest(call_id=os.urandom(16), seat_id=sid, query=_QUERY, after=after, limit=200)


async def raw(move: World, path: str, request: Record | None = None) -> None:
    """One call as it is; the answer stands in what was seen."""
    await _post(move, path, None if request is None else request.to_bytes())


async def _post(move: World, path: str, body: bytes | None) -> None:
    try:
        await move.agency(OLD).ctx.link._once("GET" if body is None else "POST", path, body)
    except HandslagError:
        return


async def timed_block(move: World, unit: str) -> float:
    """Seconds of a block that names a unit, and of nothing else."""
    await _do(move, do="block", ref=_REF, recipients=[{"unit": unit}], method="WRITTEN")
    return [seconds for path, seconds in move.seen.seconds if path == "/v1/consents"][-1]


async def timed_knock(move: World, sid: bytes) -> float:
    """Seconds of a call about a seat."""
    await raw(move, "/v1/ledger:fetch", LedgerFetchRequest(seat_id=sid, after_seq=0))
    return move.seen.seconds[-1][1]
