"""The broker's step against a pass-through of the same rows, in one run.

    python -m tests.bench.broker_step [--on sqlite|postgresql|kafka] [--events N] [--rounds N] [--profile FILE]

Step: bundle taken and checked, decided, recorded, handed over, acknowledged; in process, without HTTP and without the
beat that seals entries into the log. The pass-through is the same code on the same bytes with the same delivery,
section, receipt, hand-over and ack rows, and with three things taken out: the signature check, the decision (its
request and reasons included) and the audit entries (their payloads included). Rounds of the two alternate.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from audit.entry import SealedEntry
from broker import acks, effects, handover, pipeline, submit
from broker.judge import Judged, judge
from broker.store.entries import EntryRows
from broker.store.ready import Ready
from broker.store.sealing import Sealing
from connectors import sealing
from schemas.calls import Ack, AckRequest, FetchRequest
from tests.bench.engines import ENGINES, Servers, servers
from tests.bench.engines import site as site_on
from tests.bench.figures import tell
from tests.site import LEAD, ORIGIN, Site, assessment, to_unit

_BUNDLE = 100
_ITEMS = 200


def entry() -> SealedEntry:
    return SealedEntry(
        entry_id=bytes(16), owner="", handle=bytes(16), at_us=0, operation="", outcome=None, reason_class=None,
        entry_bytes=b"", leaf_hash=bytes(32), payload=b"",
    )  # fmt: skip


@contextmanager
def pass_through(example: Judged) -> Iterator[None]:
    """Take out signature check, decision and entries; everything else stays as it is."""

    def handed_on(resolved: Any, *_: Any) -> list[Judged]:
        wraps = {wrap.role: wrap for wrap in resolved.waiting.attempt.wraps}
        return [
            Judged(role, holder, example.request, example.decision, wraps[role])
            for role, holder in resolved.holders.items()
        ]

    both = entry(), entry()
    changed: list[tuple[Any, str, Any]] = [
        (submit, "signed_by", lambda *_: None),
        (pipeline, "judge", handed_on),
        (effects, "decision_entry", lambda *_: both[0]),
        (handover, "disclosure_entries", lambda *_: both),
        (acks, "outcome_entries", lambda *_: both),
        (Sealing, "entry", lambda _sealing, one: Ready(one, {})),
        (EntryRows, "insert", lambda *_: None),
    ]
    kept = [(owner, name, getattr(owner, name)) for owner, name, _ in changed]
    for owner, name, value in changed:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in kept:
            setattr(owner, name, value)


def bundles(site: Site, count: int) -> list[Any]:
    """Sealed bundles of the lead's assessments to the police, two sections each."""
    lead, police = site.lead, site.police
    made = []
    for _ in range(count // _BUNDLE):
        attempts = []
        for _ in range(_BUNDLE):
            sealed = site.sealed(police, "threat_assessment_completed", assessment(), (LEAD,), "THREAT_ASSESSMENT",
                                 released=frozenset({"IC04", "IC06"}))  # fmt: skip
            everything = frozenset(section.category for section in sealed.sections)
            given = {LEAD: sealing.Given(lead.seat.public, everything)}
            attempts.append(sealing.attempt(sealed, 1, site.rules.hash32, None, given))
        made.append(
            sealing.bundle(attempts, origin=ORIGIN, unit=police.code, bundle_id=os.urandom(16), keys=police.keys)
        )
    return made


async def step(site: Site, taken: list[Any]) -> int:
    """Everything from the bundle to the sender's notices; returns how many events were acknowledged."""
    for request in taken:
        await submit.submit(site.context, site.police.code, request)
    await site.decide()
    done = 0
    for unit in (site.lead, site.police, site.lead):
        while True:
            answer = await handover.fetch(site.context, unit.code, FetchRequest(limit=_ITEMS))
            if not answer.items:
                break
            done += sum(item.kind == "DELIVERY" for item in answer.items)
            given = tuple(Ack(item_id=item.item_id, hand_number=1, verdict="ACK") for item in answer.items)
            await acks.ack(site.context, unit.code, AckRequest(acks=given))
    return done


async def example_of(site: Site, monkey: list[Judged]) -> None:
    """Keep one real decision while a warm-up round runs."""
    plain = pipeline.judge

    def keeping(*arguments: Any) -> list[Judged]:
        found = judge(*arguments)
        monkey.extend(found)
        return found

    pipeline.judge = keeping  # type: ignore[assignment]
    try:
        await step(site, bundles(site, _BUNDLE))
    finally:
        pipeline.judge = plain


async def timed(site: Site, events: int) -> float:
    taken = bundles(site, events)
    began = time.perf_counter()
    done = await step(site, taken)
    seconds = time.perf_counter() - began
    if done != events:
        raise SystemExit(f"{done} of {events} events were acknowledged")
    return events / seconds


async def main(events: int, rounds: int, profile: Path | None, folder: Path, of: Servers) -> None:
    async with site_on(folder / "site", of, "step") as site:
        await site.whole_case()
        await site.grant(site.police, [to_unit(site.lead.code)], ["IC04", "IC06"], ["THREAT_ASSESSMENT"])
        kept: list[Judged] = []
        await example_of(site, kept)
        if profile:
            profiler = cProfile.Profile()
            taken = bundles(site, events)
            profiler.enable()
            await step(site, taken)
            profiler.disable()
            profiler.dump_stats(profile)
        full, bare = [], []
        for _ in range(rounds):
            full.append(await timed(site, events))
            with pass_through(kept[0]):
                bare.append(await timed(site, events))
    name = "broker_step" if of.postgres is None else f"broker_step.{'kafka' if of.kafka else 'postgresql'}"
    facts = {"events": events, "rounds": rounds, "sections": 2, "recipients": 1}
    tell(name, round(statistics.median(full)), "events/s", **facts)
    tell(f"{name}.pass_through", round(statistics.median(bare)), "events/s", **facts)
    ratios = sorted(one / other for one, other in zip(full, bare, strict=True))
    low, high = round(ratios[0], 3), round(ratios[-1], 3)
    tell(f"{name}.ratio", round(statistics.median(ratios), 3), "1", low=low, high=high, **facts)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", type=Path)
    parser.add_argument("--on", choices=ENGINES, default="sqlite")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, servers(chosen.on, Path(scratch)) as started:
        asyncio.run(main(chosen.events, chosen.rounds, chosen.profile, Path(scratch), started))
