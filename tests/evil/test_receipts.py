"""A broker that says what it did not do: receipts of nothing, proofs of something else, entries that never were."""

from __future__ import annotations

import os
import sqlite3

import pytest

from audit import tlogproof
from connectors import receipts
from schemas.calls import LeafProof, ProofsAnswer, SubmitAnswer
from schemas.envelope import Core
from schemas.inbox import InboxItem, Receipt, RoleOutcome, SectionOutcome
from tests.evil.house import POLICE, changed, grant, house, request_assessment


def told(agency, event_id, *, attempt=1, role=POLICE, categories=("IC01", "IC04"), by=None) -> InboxItem:
    """A receipt in the best of forms, with an entry and a leaf that nobody ever wrote."""
    sections = tuple(SectionOutcome(category=c, released=True, carried_by=by, reasons=()) for c in categories)
    entry, leaf = os.urandom(16), os.urandom(32)
    outcome = RoleOutcome(
        role=role, outcome="RELEASED", sections=sections, obligations=(), entry_id=entry, leaf_hash=leaf
    )
    receipt = Receipt(
        seat_id=agency.ctx.identities.get("EX-1").sid, event_id=event_id, attempt=attempt,
        decided_at_us=agency.ctx.now(), roles=(outcome,), ledger_seq=1, entry_id=entry, leaf_hash=leaf,
    )  # fmt: skip
    return InboxItem(item_id=os.urandom(16), kind="RECEIPT", body=receipt.to_bytes())


def slipped_in(case, agency, *items) -> None:
    """The next inbox answer to the agency has these items more."""
    left = list(items)

    async def lie(honest, unit, _request):
        answer = await honest()
        if unit != agency.ctx.settings.unit or not left:
            return answer
        taken, left[:] = list(left), []
        return changed(answer, lambda held: [*held, *taken])

    case.liar.lies["fetch"] = lie


async def swallowed(case) -> bytes:
    """An event of social services that the broker says it took, and never decided; returns its id."""
    honest = case.liar.submit
    taken = []

    async def submit(_unit, request):
        taken.extend(request.submissions)
        return SubmitAnswer(accepted=len(request.submissions), refusals=())

    case.liar.submit = submit
    case.social.command(**request_assessment("EX-1"))
    await case.settle(1)
    case.liar.submit = honest
    [one] = taken
    return Core.from_bytes(one.core).event_id


@pytest.mark.parametrize("defended", [True, False])
async def test_a_receipt_for_what_never_left_is_refused(case, defended, monkeypatch):
    """Police health care, an attempt of the future, a category that the sender withheld, an event of nobody."""
    await case.settle(1)
    case.social.command(do="block", ref="EX-1", recipients=[{"role": POLICE}], categories=["IC01"], method="WRITTEN")
    await case.settle(2)
    event_id = await swallowed(case)
    if not defended:
        monkeypatch.setattr(receipts, "check", lambda *_: None)
    wrong = [
        told(case.social, event_id, attempt=2),
        told(case.social, event_id, role="health_care"),
        told(case.social, event_id, categories=("IC01", "IC04")),  # IC01 is blocked: its key never left
        told(case.social, event_id, categories=("IC07",)),
    ]
    slipped_in(case, case.social, *wrong, told(case.social, os.urandom(16)))
    await case.settle(2)
    refused = [file["code"] for file in case.social.files("receipts", kind="rejected")]
    shown = case.social.files("receipts", kind="receipt")
    if defended:
        assert sorted(refused) == ["HS-EVENT-UNKNOWN"] + ["HS-RECEIPT-INVALID"] * 4
        assert shown == []
        slipped_in(case, case.social, told(case.social, event_id, categories=("IC04",)))  # positive control
        await case.settle(2)
        assert len(case.social.files("receipts", kind="receipt")) == 1
    else:
        assert refused == ["HS-EVENT-UNKNOWN"]
        assert shown


@pytest.mark.parametrize("entry_exists", [False, True])
async def test_a_receipt_for_what_was_never_decided_has_no_proof(tmp_path, entry_exists):
    """The best of lies: right in everything, but no decision was made. Ten minutes later the log tells."""
    async with house(tmp_path, proof_alarm_s=2.0) as home:
        await home.case("EX-1", "PM-1")
        await home.settle(2)
        if entry_exists:  # positive control: the honest broker's receipt has its proof in time
            home.social.command(**request_assessment("EX-1"))
            await home.settle(3)
        else:
            event_id = await swallowed(home)
            slipped_in(home, home.social, told(home.social, event_id))
            await home.settle(2)
        assert len(home.social.files("receipts", kind="receipt")) == 1
        assert home.social.files("receipts", kind="alarm") == []
        home.social.ahead_us += 3_000_000
        await home.settle(2)
        alarms = [file["code"] for file in home.social.files("receipts", kind="alarm")]
        assert set(alarms) == (set() if entry_exists else {"HS-PROOF-LATE"})


@pytest.mark.parametrize("defended", [True, False])
async def test_the_proof_of_another_leaf_proves_nothing(case, defended, monkeypatch):
    if not defended:
        monkeypatch.setattr(tlogproof, "check_included", lambda *_args, **_kw: None)
    await case.settle(2)
    held = {}

    async def lie(honest, _unit, request):
        answer = await honest()
        held.update({each.leaf_hash: each.proof for each in answer.proofs if each.proof})
        proofs = list(held.values())
        swapped = [
            LeafProof(leaf_hash=leaf, proof=next((p for p in proofs if p != held.get(leaf)), None))
            for leaf in request.leaf_hashes
        ]
        return ProofsAnswer(proofs=tuple(swapped))

    case.liar.lies["proofs"] = lie
    wanted = lambda: {want.leaf_hash for want in case.social.ctx.spool.memory.wanted_proofs(500)}  # noqa: E731
    case.social.command(**request_assessment("EX-1"))
    case.social.command(**grant("EX-1", [{"role": POLICE}], ["IC13"], ["PLANNING"]))
    await case.settle(3)
    if defended:
        assert "HS-PROOF-INVALID" in case.social.failed
        assert wanted()
        case.liar.lies.clear()
        await case.settle(2)
    assert "HS-PROOF-INVALID" not in case.social.failed
    assert not wanted()


async def test_a_filler_in_place_of_an_entry_is_noticed(tmp_path):
    """The operator takes a decision's entry out before the beat, so that a filler lies where it should: no proof."""
    async with house(tmp_path, proof_alarm_s=2.0) as home:
        await home.case("EX-1", "PM-1")
        await home.settle(2)
        beat = home.node.sealer.beat

        async def without():
            with sqlite3.connect(home.node.settings.database) as db:
                for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type='trigger'").fetchall():
                    db.execute(f"DROP TRIGGER {name}")
                query = (
                    "SELECT entry_id FROM entry WHERE operation='DECISION'"
                    " AND number NOT IN (SELECT entry_number FROM leaf WHERE entry_number IS NOT NULL)"
                )
                gone = [row[0] for row in db.execute(query)]
                for entry_id in gone:
                    db.execute("DELETE FROM payload WHERE entry_id=?", (entry_id,))
                    db.execute("DELETE FROM entry WHERE entry_id=?", (entry_id,))
            db.close()
            taken.extend(gone)
            await beat()

        taken = []
        object.__setattr__(home.node.sealer, "beat", without)
        home.social.command(**request_assessment("EX-1"))
        await home.settle(3)
        assert taken
        [receipt] = home.social.files("receipts", kind="receipt")
        assert home.police.files("out", kind="delivery")
        home.social.ahead_us += 3_000_000
        await home.settle(2)
        alarms = home.social.files("receipts", kind="alarm")
        assert {file["code"] for file in alarms} == {"HS-PROOF-LATE"}
        assert receipt["leaf_hash"] in {file["leaf_hash"] for file in alarms}
