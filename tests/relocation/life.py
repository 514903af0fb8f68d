"""The lives that are played in both worlds, from before the move to long after it."""

from __future__ import annotations

from typing import Any

from broker import admissions
from broker.actfiles import private_key, signed_by
from schemas.admin import REVOKE, AdminTarget
from schemas.capsule import Place
from tests.evil.house import LEAD
from tests.relocation import probes
from tests.relocation.play import ALFA
from tests.relocation.worlds import OLD, World


def assessment(ref: str, **more: Any) -> dict[str, Any]:
    """What the police tell the lead."""
    return {
        "do": "send", "ref": ref, "event_type": "threat_assessment_completed", "to": [LEAD],
        "purpose": "THREAT_ASSESSMENT", "confirmed": True, "public_interest_released": ["IC04"],
        "data": {"threat_level": "HIGH", "capability_known": True, "assessed_until": "2027-06-30",
                 "withheld_part": False, "released_by_decision_ref": "EXEMPEL-1"}, **more,
    }  # fmt: skip


async def told(move: World) -> str:
    """The police tell the old lead something; returns the event's id."""
    police, ref = move.agency("police"), move.refs["police"]
    police.command(**assessment(ref))
    await move.settle(3)
    [*_, got] = police.files("receipts", kind="receipt", event_type="threat_assessment_completed")
    event_id: str = got["event_id"]
    return event_id


async def protected(move: World) -> None:
    """A protected relocation with an old unit that tries everything, before, during and after the slot."""
    seen, shown = move.seen, await told(move)
    # A consent that does not follow the role: who gave it is told of the change.
    move.agency("probation").command(**move.grant(move.refs["probation"], [{"role": LEAD}], ["IC13"], ["INTAKE"]))
    seen.step("told")
    await move.police_invites()
    seen.step("invited")
    await probes.guess_by_invitation(move)
    seen.step("guessed who is invited")
    await move.new_accepts()
    seen.step("accepted")
    await probes.guess_by_invitation(move)
    await probes.guess_by_consent(move)
    await probes.guess_by_block(move)
    await probes.look(move)
    seen.step("guessed who accepted")
    await move.file_is_sealed()
    seen.step("the file is there")
    await move.lead_hands_over()
    await probes.look(move, times=13)  # one more than its quota
    seen.step("hands over")
    await move.slot()
    seen.step("closed")
    assert move.seat(OLD).state == "CLOSED"
    await after(move, shown)


async def after(move: World, shown: str) -> None:
    """What comes when the old unit has no seat any more."""
    seen, police = move.seen, move.agency("police")
    move.alike = await probes.knock(move)
    await probes.play_again(move)
    await probes.lists(move)
    await probes.wait(move)
    seen.step("knocked")
    police.command(**assessment(move.refs["police"], replaces=shown))
    await move.settle(2)
    police.command(do="annul", ref=move.refs["police"], consent=probes.granted(move, "police", 0),
                   ground="CONSENT_INVALID")  # fmt: skip
    await move.settle(3)
    await move.slot()
    seen.step("corrected and annulled")
    await probes.new_case(move)
    seen.step("a case of its own")


async def ends(move: World) -> None:
    """The person takes everything back at the new lead; the case turns out void; one of the units is shut out."""
    seen, new = move.seen, move.agency(move.new)
    new.command(do="withdraw_case", ref=move.refs[move.new], method="WRITTEN")
    await move.settle(3)
    seen.step("withdrawn")
    new.command(do="void_case", ref=move.refs[move.new], ground="CONSENT_INVALID")
    await move.settle(3)
    await move.slot()
    seen.step("void")
    await shut_out(move, ALFA)
    await probes.lists(move)
    await probes.knock(move)
    seen.step("shut out")


async def known_first(move: World) -> None:
    """An ordinary transfer to a unit that the old one invited itself; what it knew until then is no secret from it."""
    move.officers()
    move.inviter = OLD
    await move.ordinary(Place(address="Exempelgatan 1", locality="Exempelköping"))
    move.inviter = "police"
    assert move.seat(OLD).state == "CLOSED"


async def moves_on(move: World, to: str) -> None:
    """The person moves again, and nobody who was left learns where to, neither the first unit nor the second."""
    for view in move.views.values():
        view.forget()
    await move.again(to)
    move.alike = await probes.knock(move)
    await probes.lists(move)
    await probes.wait(move)
    move.seen.step("moved again")
    await move.slot()
    for view in move.views.values():
        view.step("a slot later")


async def shut_out(move: World, unit: str) -> None:
    """The operator's two administrators shut a unit out."""
    node = move.home.node
    core: Any = move.home.liar._core
    kept = next(each for each in admissions.load_all(node.settings.data_dir) if each.unit == unit)
    signed = node.files.draft(REVOKE, 0, targets=[AdminTarget(unit=unit, subject=admissions.subject(kept))])
    for key in (node.settings.administration.first_key_file, node.settings.administration.second_key_file):
        signed = signed_by(signed, private_key(key), node.files.chain)
    node.files.append(signed)
    await core.record_acts(node.files.all())
    await core.revoke(unit)
    await move.settle(2)
