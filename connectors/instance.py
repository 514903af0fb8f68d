"""Which instance of its unit's connector this spool is, and what it knows of its own restore."""

from __future__ import annotations

import json
from dataclasses import dataclass

from connectors.link import Link
from connectors.settings import Settings
from connectors.spool import Spool

INSTANCES = "/v1/instances"
_RESTORED = "restored"
_NUMBER = "instance"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What this spool knows of its own restore; times in microseconds UTC, `announced_at_us` 0 until it counts."""

    backup_at_us: int
    restored_at_us: int
    announced_at_us: int
    instance: int
    statement: str
    signature: str
    lost_seats: tuple[str, ...] = ()

    @property
    def since_us(self) -> int:
        """Until when another connector may have been at work."""
        return max(self.restored_at_us, self.announced_at_us)


def restored(spool: Spool) -> Restored | None:
    """The newest restore of this spool, None when there was none."""
    held = spool.memory.get(_RESTORED)
    if held is None:
        return None
    value = json.loads(held)
    return Restored(**{**value, "lost_seats": tuple(value["lost_seats"])})


def keep(spool: Spool, state: Restored) -> Restored:
    """Keep what is known of the restore; returns it."""
    value = {name: getattr(state, name) for name in Restored.__slots__}
    spool.memory.put(_RESTORED, json.dumps(value).encode())
    return state


def number_of(settings: Settings, spool: Spool) -> int:
    """The number in every call: the spool's own, given at a restore, or the configuration's if that is higher."""
    held = spool.memory.get(_NUMBER)
    return max(settings.instance, int(held) if held else 0)


def take_number(spool: Spool, number: int) -> None:
    """Be this instance from now on."""
    spool.memory.put(_NUMBER, str(number).encode())


def introduce(link: Link, settings: Settings, spool: Spool) -> None:
    """Give the link its number; a restored connector that was not announced makes that one call only."""
    state = restored(spool)
    pending = state is not None and not state.announced_at_us
    link.numbered(number_of(settings, spool), only=INSTANCES if pending else None)
