"""Administrative acts that a restored broker lacks: taken back from anybody, since two administrators signed each.

The chain of acts is the operator's word to every agency. A broker that forgot its newest acts would make others of the
same number, and every connector would rightly call that a fork. What an act shuts out is shut out again with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from audit.administration import ACT
from broker import admissions
from broker.actfiles import ActFiles
from broker.core import BrokerCore
from broker.erasing import Eraser
from schemas.admin import ADMIT, REVOKE, AdminAct, SignedAdminAct
from schemas.errors import HandslagError
from schemas.hold import HoldActsAnswer, HoldActsRequest


async def take(core: BrokerCore, files: ActFiles, eraser: Eraser, request: HoldActsRequest) -> HoldActsAnswer:
    """Answer `POST /v1/hold:acts`: keep every act that follows, shut out and erase what they say; how many there are.

    Raises `HS-HOLD-NONE` (no such hold) and `HS-ADMIN-ACT-INVALID` for acts that are not those known here, or not
    signed by two of those who might.
    """
    async with core.keeper.turn:  # the operator's own next act waits, or is there before and these are of another chain
        row = core.keeper.row
        if row is None or row.hold_id != request.hold_id:
            raise HandslagError("HS-HOLD-NONE")
        if added(files, request.acts):
            await core.record_acts(files.all())
            await shut_out(core, files)
            await eraser.go_on(wait=False)
        return HoldActsAnswer(count=files.chain().count)


def added(files: ActFiles, given: Sequence[SignedAdminAct]) -> int:
    """Keep every act of these that follows those kept; returns how many. Raises `HS-ADMIN-ACT-INVALID`."""
    # INVARIANT: test_only_acts_of_the_same_chain_are_taken_back
    new = 0
    for each in given:
        known = files.all()
        number = AdminAct.from_bytes(each.act, ACT).number
        if number <= len(known):
            if known[number - 1].act != each.act:
                raise HandslagError("HS-ADMIN-ACT-INVALID", check="recorded")
            continue
        files.append(each)
        new += 1
    return new


def revoked(files: ActFiles) -> dict[str, bytes]:
    """By unit, the entry that the newest act about it shuts out."""
    found: dict[str, bytes] = {}
    for each in files.all():
        act = AdminAct.from_bytes(each.act, ACT)
        for target in act.targets:
            if act.kind == REVOKE:
                found[target.unit] = target.subject
            elif act.kind == ADMIT:
                found.pop(target.unit, None)
    return found


async def shut_out(core: BrokerCore, files: ActFiles) -> list[str]:
    """Shut out every unit that the acts revoke and that is still admitted here; returns which."""
    # INVARIANT: test_a_revocation_after_the_copy_is_not_undone
    gone = revoked(files)
    done = []
    for admission in admissions.load_all(files.data_dir):
        unit = admission.unit
        if admission.revoked_at_us is None and gone.get(unit) == admissions.subject(admission):
            # The file first: should the node fall in between, it reads the revocation when it starts.
            admissions.save(files.data_dir, admissions.revoked(admission, datetime.now(UTC)))
            await core.revoke(unit)
            done.append(unit)
    return done


def admitted_elsewhere(files: ActFiles) -> list[str]:
    """Units that an act admits and of which no admission lies here: the operator admits them once more."""
    here = {each.unit: admissions.subject(each) for each in admissions.load_all(files.data_dir)}
    return sorted(unit for unit, subject in files.chain().admitted.items() if here.get(unit) != subject)
