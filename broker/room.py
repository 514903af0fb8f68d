"""Which submissions and acts have room of their own, and what of a bundle is taken when room is short."""

from __future__ import annotations

from collections.abc import Mapping

from broker.acts import widens
from broker.context import Context
from broker.pace import paced
from broker.quota import BYTES, STREAM, SUBMISSIONS, URGENT_SUBMISSIONS
from schemas.calls import ConsentsRequest, SubmitRequest
from schemas.checks import CheckedSubmission, size_of
from schemas.envelope import Core
from schemas.errors import HandslagError
from schemas.event_types import table
from schemas.records import Record

# An item's refusal has no status beside its code. A connector of the first release gives an event up for a code that it
# does not know, so an item is refused with one that every release knows as "try again".
_ITEM = {"HS-QUOTA": "HS-BUSY", "HS-DISK-LOW": "HS-NOT-READY"}


def is_urgent(core: Core) -> bool:
    """Whether an event is acute safety (its type's `life_safety`) or corrects an earlier one (`replaces`)."""
    kind = table().get(core.event_type)
    return core.replaces is not None or (kind is not None and kind.life_safety)


async def holds_urgent(asked: Record) -> bool:
    """Whether a request holds anything reserved; what does not decode does not."""
    if isinstance(asked, ConsentsRequest):
        try:
            return not widens(asked)
        except HandslagError:
            return False
    if isinstance(asked, SubmitRequest):
        async for submission in paced(asked.submissions):
            try:
                if is_urgent(Core.from_bytes(submission.core)):
                    return True
            except HandslagError:
                continue
    return False


def ordinary(context: Context) -> None:
    """Raise `HS-DISK-LOW` while the disk has room for reserved kinds only."""
    if context.room is not None and context.room.low:
        raise HandslagError("HS-DISK-LOW").after(30)


async def short_of_room(context: Context, unit: str, checked: Mapping[int, CheckedSubmission]) -> dict[int, str]:
    """The submissions of a bundle that find no room now, by index, with their code.

    Ordinary ones are taken together or not at all, reserved ones by themselves. Raises the code when that leaves
    nothing: a bundle of nothing else is answered as a whole, with the time to wait.
    """
    urgent = {index: one for index, one in checked.items() if is_urgent(one.core)}
    plain = {index: one for index, one in checked.items() if index not in urgent}
    waiting = await context.stream.share(unit)
    refused: dict[int, str] = {}
    last: HandslagError | None = None
    for part, reserved in ((plain, False), (urgent, True)):
        try:
            _take(context, unit, part, waiting, reserved=reserved)
        except HandslagError as error:
            last = error
            refused.update(dict.fromkeys(part, error.code))
    if last is not None and len(refused) == len(checked):
        raise last
    for code in refused.values():
        context.metrics.refused(code)
    return {index: _ITEM[code] for index, code in refused.items()}


def _take(
    context: Context,
    unit: str,
    part: Mapping[int, CheckedSubmission],
    waiting: tuple[int, int],
    *,
    reserved: bool,
) -> None:
    if not part:
        return
    if not reserved:
        ordinary(context)
    quotas, size = context.quotas, sum(size_of(one.submission) for one in part.values())
    bounds = quotas.limits
    spare = int(bounds.urgent_per_minute) if reserved else 0
    full = waiting[0] + len(part) > bounds.stream_submissions + spare or (
        not reserved and waiting[1] + size > bounds.stream_bytes
    )
    if full and waiting[0]:  # an empty share takes one bundle, however small the bound was set
        raise quotas.over(STREAM)
    wanted = {SUBMISSIONS: float(len(part)), BYTES: float(size)}
    if not reserved:
        quotas.take(unit, wanted)
        return
    if not quotas.took(unit, wanted):
        quotas.take(unit, {URGENT_SUBMISSIONS: len(part)})
