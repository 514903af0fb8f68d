"""What a move rests on, each part by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from broker.recipient_seal import seal_unit
from broker.resolve import party_of
from broker.store.cases import SeatRow
from connectors import succession
from connectors.keys import SeatKeyPair, UnitKeyPair
from consent.ledger import LedgerView
from schemas.errors import HandslagError
from schemas.inbox import PassNotice
from schemas.statements import Vouch
from tests.relocation.play import ALFA, BETA, NEXT, moving


def test_a_sealed_unit_has_one_size():
    """In the old lead's own trail lies the unit that received its file, sealed: its length must tell nothing."""
    key = UnitKeyPair.generate().public.hpke
    longest = "ÅÄÖ" * 4 + "/ÅÄÖÅÄÖÅÄÖÅÄÖÅÄÖ0" * 3
    assert len({len(seal_unit(code, key)) for code in (ALFA, BETA, "SOC/12", longest)}) == 1


def test_no_act_that_names_a_unit_tells_whether_it_is_the_one():
    """Who blocks or consents to a guess, and sends, would read from the answer whether the guess was right."""
    seat = SeatRow(
        seat_id=b"s" * 16, case_id=b"c" * 16, bucket=1, unit=ALFA, role=NEXT, member=b"m" * 16, state="ACTIVE",
        ledger_seq=0, head=bytes(32), signing_key=bytes(32), seat_key_id=bytes(32), recipient_sealed=b"",
        recipient_own=b"", protected=True,
    )  # fmt: skip
    views = [replace(LedgerView.empty(), named_units=frozenset(named)) for named in ((), (ALFA,), (BETA,))]
    assert {party_of(seat, view) for view in views} == {party_of(seat, LedgerView.empty())}
    assert party_of(replace(seat, protected=False), views[1]).unit == ALFA  # control


async def test_the_lead_signs_only_for_a_key_that_the_police_seat_vouched_for(tmp_path):
    async with moving(tmp_path) as move:
        social, ctx = move.seat("social"), move.agency("social").ctx
        stranger, police, probation = SeatKeyPair.generate(), move.seat("police"), move.seat("probation")

        def vouched(signer, voucher, **changed):
            told = Vouch(
                case_tag=social.case_tag, invitation_hash=b"i" * 32, member=b"n" * 16,
                signing_key=stranger.public.signing, hpke_key_hash=stranger.public.hpke_hash, voucher=voucher,
                at_us=ctx.now(),
            )  # fmt: skip
            data = replace(told, **changed).to_bytes()
            signature = signer.sign(data)
            return PassNotice(seat_id=social.sid, statement=data, signature=signature, hpke_key=stranger.public.hpke)

        wrong = [
            vouched(probation.keys, probation.member),
            vouched(probation.keys, police.member),
            vouched(stranger, police.member),
            vouched(police.keys, police.member, case_tag=b"x" * 16),
            vouched(police.keys, police.member, hpke_key_hash=b"h" * 32),
            replace(vouched(police.keys, police.member), hpke_key=SeatKeyPair.generate().public.hpke),
        ]
        for told in wrong:
            with pytest.raises(HandslagError) as caught:
                succession.take(ctx, social, told)
            assert caught.value.code in {"HS-KEY-UNTRUSTED", "HS-SIGNATURE-INVALID"}
            assert not ctx.spool.commands.waits(ctx.identities.handle("EX-1"), ("join",))
        succession.take(ctx, social, vouched(police.keys, police.member))  # control
        assert ctx.spool.commands.waits(ctx.identities.handle("EX-1"), ("join",))
        await move.settle(2)  # and the broker refuses what nobody accepted
        assert [(f["do"], f["code"]) for f in move.agency("social").files("receipts", kind="refused")] == [
            ("join", "HS-STATE-INVALID")
        ]
        # Nobody is ready to take over: the role stays, in the slot too.
        await move.lead_hands_over()
        assert "HS-SUCCESSOR-MISSING" in move.refused("social")
        # With somebody who is, `undo` keeps it; and what cannot be signed any more after it passed is anything.
        await move.police_invites()
        await move.new_accepts()
        await move.lead_hands_over()
        move.agency("social").command(do="hand_over", ref="EX-1", undo=True)
        await move.settle(2)
        await move.slot()
        assert (move.seat("social").state, move.seat(move.new).role) == ("ACTIVE", NEXT)


async def test_nothing_of_the_case_can_be_signed_by_who_handed_it_over(tmp_path):
    async with moving(tmp_path) as move:
        before = move.seat("social").keys
        await move.protected()
        seat = move.seat("social")
        old = {before.public.signing, *(key.signing for key in _chain(move))}
        assert seat.keys.public.signing not in old
        assert (seat.retired, seat.coming) == ((), b"")
        files = [p.read_bytes() for p in move.agency("social").ctx.settings.data_dir.rglob("*") if p.is_file()]
        assert files
        assert not [data for data in files if before.private_bytes()[:32] in data]
        with pytest.raises(HandslagError):
            move.agency("social").command(do="send", ref="EX-1", event_type="support_requested", to=[NEXT],
                                          purpose="INTAKE", data={})  # fmt: skip


def _chain(move):
    members = move.agency("police").ctx.members(move.seat("police"))
    return members.chains[members.lead]
