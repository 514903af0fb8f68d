"""What an event costs while the store grows: by grants recorded, and by entries in the trail.

    python -m tests.bench.growth grants [--upto 1000000] [--on postgresql]
    python -m tests.bench.growth entries [--upto 10000000] [--on postgresql]

Cost is wall and CPU time of the broker's step (submit, decide, hand over, acknowledge; in process, no HTTP), with
events from a hundred seats drawn at random. Cold: nobody has asked for their ledgers yet. Warm: the same seats again.
Memory is the resident set of this process beyond what it was before the first copy.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from connectors import sealing
from tests.bench.broker_step import step
from tests.bench.engines import ENGINES, Servers, servers
from tests.bench.engines import site as site_on
from tests.bench.figures import resident_bytes, tell
from tests.bench.filled import GRANTS, OWN, copies, entries, first_case, one_entry, submissions
from tests.site import LEAD, ORIGIN, Site

_SEED = 20261122
_EVENTS = 200


async def step_ms(site: Site, cases: list[tuple[bytes, ...]], chance: random.Random) -> tuple[float, float]:
    """(wall, CPU) milliseconds an event of the broker's step."""
    attempts = []
    for sealed in submissions(site, cases, _EVENTS, chance):
        everything = frozenset(section.category for section in sealed.sections)
        given = {LEAD: sealing.Given(site.lead.seat.public, everything)}
        attempts.append(sealing.attempt(sealed, 1, site.rules.hash32, None, given))
    taken = [
        sealing.bundle(
            attempts[at : at + 100],
            origin=ORIGIN,
            unit=site.police.code,
            bundle_id=chance.randbytes(16),
            keys=site.police.keys,
        )
        for at in range(0, _EVENTS, 100)
    ]
    wall, cpu = time.perf_counter(), time.process_time()
    done = await step(site, taken)
    if done != _EVENTS:
        raise SystemExit(f"{done} of {_EVENTS} events were acknowledged")
    return (time.perf_counter() - wall) * 1000 / _EVENTS, (time.process_time() - cpu) * 1000 / _EVENTS


def told(name: str, cost: tuple[float, float], **facts: Any) -> None:
    """One point: wall time as the value, CPU beside it."""
    tell(name, round(cost[0], 2), "ms/event", cpu_ms=round(cost[1], 2), events=_EVENTS, **facts)


async def by_grants(upto: int, folder: Path, of: Servers) -> None:
    """10^4, 10^5, ... grants in one store after the other."""
    grants = 10_000
    while grants <= upto:
        async with site_on(folder / f"g{grants}", of, f"g{grants}") as site:
            chance = random.Random(_SEED)
            await first_case(site)
            await step_ms(site, [(site.police.seat_id,)], chance)
            before = resident_bytes()
            made = await copies(site, grants // GRANTS, _SEED)
            facts = {"grants": grants, "seats": len(made)}
            told("growth.grants.cold", await step_ms(site, made[:OWN], chance), **facts)
            told("growth.grants.warm", await step_ms(site, made[:OWN], chance), **facts)
            await _views(site, made, before, facts)
        grants *= 10


async def _views(site: Site, made: list[tuple[bytes, ...]], before: int, facts: dict[str, Any]) -> None:
    """Ask for every seat's view once, as a day of events would, and tell what the cache keeps."""
    took = time.perf_counter()
    for at in range(0, len(made), 500):
        some = [seats[0] for seats in made[at : at + 500]]
        await site.store.read(lambda rows, some=some: site.context.views.of(rows, rows.cases.seats(some).values()))
    facts = {**facts, "read_s": round(time.perf_counter() - took, 2)}
    tell("growth.grants.memory", round((resident_bytes() - before) / 2**20), "MiB", **facts)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tell("growth.grants.peak", round(peak / 2**10), "MiB", **facts)


async def by_entries(upto: int, folder: Path, of: Servers) -> None:
    """10^5, 10^6, ... entries in one store that grows."""
    async with site_on(folder / "entries", of, "entries") as site:
        chance = random.Random(_SEED)
        await first_case(site)
        await step_ms(site, [(site.police.seat_id,)], chance)
        like = await site.store.read(one_entry)
        have, wanted = 0, 100_000
        while wanted <= upto:
            await entries(site.store, like, wanted - have)
            have = wanted
            told("growth.entries", await step_ms(site, [(site.police.seat_id,)], chance), entries=have)
            wanted *= 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("by", choices=["grants", "entries"])
    parser.add_argument("--upto", type=int)
    parser.add_argument("--on", choices=ENGINES, default="sqlite")
    chosen = parser.parse_args()
    measure, most = (by_grants, 1_000_000) if chosen.by == "grants" else (by_entries, 10_000_000)
    with tempfile.TemporaryDirectory() as scratch, servers(chosen.on, Path(scratch)) as of:
        asyncio.run(measure(chosen.upto or most, Path(scratch), of))


if __name__ == "__main__":
    main()
