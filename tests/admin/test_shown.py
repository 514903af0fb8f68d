"""What connectors are shown of the operator's acts, and what they say when an act is missing, changed or unsigned."""

from __future__ import annotations

import dataclasses
import os

import pytest
from sqlalchemy import select

from audit.entry import OPERATOR, open_payload
from broker import admissions, instances
from broker.actfiles import ActFiles, private_key, signed_by
from broker.handlers import handlers
from broker.store.tables import entry as entry_table
from broker.store.tables import payload as payload_table
from connectors import operators
from schemas.admin import REVOKE, AdminAct, AdminTarget, SignedAdminAct
from schemas.errors import HandslagError
from schemas.statements import UnitEntry
from schemas.trail import AuditEntry, Payload
from tests.evil.house import UNITS, house, signed_for


@pytest.fixture
async def home(tmp_path):
    async with house(tmp_path) as made:
        yield made


def files_of(home) -> ActFiles:
    return home.node.files


async def revoke(home, unit: str) -> None:
    """As `handslag agency revoke` does it, up to the act."""
    files, named = files_of(home), home.node.settings.administration
    subject = files.chain().admitted[unit]
    signed = files.draft(REVOKE, 1, targets=[AdminTarget(unit=unit, subject=subject)], reason="EXEMPEL")
    for key in (named.first_key_file, named.second_key_file):
        signed = signed_by(signed, private_key(key), files.chain)
    files.append(signed)
    await home.liar.record_acts(files.all())


async def test_every_connector_is_shown_every_act_with_its_proof(home):
    await home.settle(2)
    for agency in home.agencies.values():
        told = agency.files("receipts", kind="operator_act")
        assert [each["act"] for each in told] == ["ADMINISTRATORS", "RULES", *["ADMIT"] * len(UNITS)]
        assert {unit for each in told for unit in each["units"]} == {who.unit for who in UNITS.values()}
        assert all(each["signed_by"] == ["demo-first", "demo-second"] for each in told)
        assert agency.files("receipts", kind="alarm") == []
    await home.settle(2)
    held, wanted = home.social.ctx.spool.memory.proof_counts()
    assert wanted == 0
    assert held >= 2 + len(UNITS)  # the entry that holds each act is in the log that everybody witnesses
    await revoke(home, UNITS["police"].unit)
    await home.settle(2)
    [told] = home.social.files("receipts", kind="operator_act", act=REVOKE)
    assert (told["units"], told["reason"]) == ([UNITS["police"].unit], "EXEMPEL")


async def test_a_unit_that_nobody_signed_for_is_told(home):
    await home.settle(1)
    assert home.social.files("receipts", code="HS-ADMIN-UNSIGNED") == []

    async def silent(honest, after):
        # A broker that admits the police without an act: what it shows ends before theirs.
        answer = await honest()
        return dataclasses.replace(answer, entries=answer.entries[: max(0, 3 - after)])

    async with house(home.node.settings.data_dir.parent.parent / "other") as other:
        other.liar.lies["acts"] = silent
        await other.settle(2)
        told = other.social.files("receipts", code="HS-ADMIN-UNSIGNED")
        signed = set(operators.remembered(other.social.ctx).admitted)
        assert {each["unit"] for each in told} == {who.unit for who in UNITS.values()} - signed
        assert told
        await other.settle(1)
        assert len(other.social.files("receipts", code="HS-ADMIN-UNSIGNED")) == len(told)  # once each


async def test_an_act_that_is_not_the_one_of_the_log_is_refused(home):
    async def exchanged(honest, _after):
        answer = await honest()
        first, second = answer.entries[:2]
        return dataclasses.replace(answer, entries=(dataclasses.replace(first, leaf_hash=second.leaf_hash),))

    home.liar.lies["acts"] = exchanged
    with pytest.raises(HandslagError, match="HS-ADMIN-ACT-INVALID"):
        await operators.follow(home.social.ctx)
    assert home.social.ctx.spool.memory.get("admin-acts") is None
    assert [item.value["code"] for item in home.social.ctx.spool.incoming.to_write()] == ["HS-ADMIN-ACT-INVALID"]


async def test_a_unit_that_nobody_signed_for_is_not_admitted(home):
    from broker.handlers import admit

    files = files_of(home)
    admission = admissions.load_all(home.node.settings.data_dir)[0]
    other = dataclasses.replace(admission, entry=admission.entry + b"\x00")
    with pytest.raises(HandslagError, match="HS-ADMIN-UNSIGNED"):
        await admit(home.liar, files.chain(), other)
    signed_for(home.node.settings, other)
    assert files.chain().admitted[other.unit] == admissions.subject(other)


async def test_an_act_that_was_recorded_is_never_another_one(home):
    files = files_of(home)
    every = files.all()
    with pytest.raises(HandslagError, match="HS-ADMIN-ACT-INVALID"):
        await home.liar.record_acts(every[:1] + every[2:])
    assert await home.liar.record_acts(every) == 0


async def test_an_act_that_the_node_refused_is_recorded_as_refused(home):
    """Two signed for a unit whose key was stolen: recorded with the code, and not one of the others is taken in."""
    node = home.node
    kept = {each.unit: each for each in admissions.load_all(node.settings.data_dir)}
    police, social = kept[UNITS["police"].unit], kept[UNITS["social"].unit]
    controller = node.context.directory.controller(police.unit)
    entry = node.context.recorder.about_unit(police.unit, controller, "ADMIN", Payload(code="HS-UNIT-COMPROMISED"), 1)
    key = UnitEntry.from_bytes(police.entry).signing_key
    await instances.shut_out(node.context, police.unit, entry, key)
    renewed = [dataclasses.replace(each, certificate_sha256=os.urandom(32)) for each in (social, police)]
    before = await node.context.store.read(lambda rows: rows.units.whatever(social.unit))
    served = handlers(await node.open_log(), node.served)
    with pytest.raises(HandslagError) as refused:
        await served["admit_together"]({"admissions": [each.to_json() for each in renewed]})
    assert refused.value.code == "HS-UNIT-COMPROMISED"
    assert await node.context.store.read(lambda rows: rows.units.whatever(social.unit)) == before
    keys = node.context.recorder.vault.operator()
    query = select(entry_table, payload_table.c.blob).where(entry_table.c.operation == "ADMIN")
    query = query.join(payload_table, payload_table.c.entry_id == entry_table.c.entry_id).order_by(entry_table.c.number)

    def newest(rows):
        row = list(rows.gate._c.execute(query))[-1]
        return rows.cipher.open("entry.bytes", row.bytes), rows.cipher.open("payload.blob", row.blob)

    raw, blob = await node.context.store.read(newest)
    last = AuditEntry.from_bytes(raw)
    told = open_payload(last, blob, keys.dek(last.entry_id))
    assert (last.owner, told.code) == (OPERATOR, "HS-UNIT-COMPROMISED")
    act = AdminAct.from_bytes(SignedAdminAct.from_bytes(told.act).act)
    assert {each.unit for each in act.targets} & {police.unit, social.unit}
