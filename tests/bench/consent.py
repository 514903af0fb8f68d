"""Consent decisions beside general policy engines: the same questions, in one run, from 10^4 to 10^6 grants.

    make bench-consent                              # all of it, the JSON file and the plots
    python -m tests.bench.consent --upto 10000      # a quick look: half a minute
    python -m tests.bench.consent --help

The workload is fixed (consent-workload.json): three sections a question, five grants a seat, seats drawn at random,
half of all sections denied. Nobody remembers a decision: each is made anew. The first question of a seat reads and
compiles what is recorded and is counted apart; what is then kept is the compiled ledger or the parsed policies, of at
most 20,000 seats. All engines answer the same questions in blocks of 250, taking turns at being first; every answer is
compared with the workload's, and one that differs ends the run. Prints JSON lines of name, value, unit; progress goes
to stderr.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import statistics
import sys
import time
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from tests.bench.consent_engines import ENGINES, Handslag
from tests.bench.consent_workload import (
    GRANTS,
    SEATS_ASKED,
    SIZES,
    Seat,
    Workload,
    load,
    questions,
    questions_hash,
    seats_hash,
)
from tests.bench.figures import quantile, resident_bytes, tell

_BLOCK = 250
Say = Callable[[str], None]
Pairs = Sequence[tuple[int, int]]


class Contest:
    """The engines at one size, each with everything recorded and with what it keeps of the seats asked so far."""

    def __init__(self, work: Workload, grants: int, say: Say) -> None:
        self.work, self.grants, self._say = work, grants, say
        self.engines = [engine() for engine in ENGINES]
        self.records: dict[str, list[Any]] = {engine.name: [] for engine in self.engines}
        self.kept: dict[str, dict[int, Any]] = {engine.name: {} for engine in self.engines}
        self.sections: Counter[bool] = Counter()
        self.whole: Counter[int] = Counter()

    def record(self) -> None:
        """Record the grants of every seat, in each engine's own form."""
        if seats_hash(self.work, self.grants) != self.work.seats[self.grants]:
            raise SystemExit("the seats are not those of the workload")
        seats, told = self.grants // GRANTS, time.monotonic()
        for number in range(seats):
            seat = self.work.seat(number)
            for engine in self.engines:
                same = type(engine) is not Handslag and isinstance(engine, Handslag)
                record = self.records[Handslag.name][number] if same else engine.recorded(seat)
                self.records[engine.name].append(record)
            if time.monotonic() - told > 10:
                told = time.monotonic()
                self._say(f"{self.grants:,} grants: {number * GRANTS:,} recorded")
        gc.collect()
        gc.freeze()  # what is recorded stands for a store: no collection looks through it

    def run(self, pairs: Pairs, phase: str) -> dict[str, Taken]:
        """Ask all questions of every engine, block by block, and compare every answer with the workload's."""
        taken = {engine.name: Taken() for engine in self.engines}
        told = time.monotonic()
        for turn, at in enumerate(range(0, len(pairs), _BLOCK)):
            block = [(self.work.seat(number), place) for number, place in pairs[at : at + _BLOCK]]
            first = turn % len(self.engines)
            for engine in (*self.engines[first:], *self.engines[:first]):
                self._block(engine, block, taken[engine.name])
            self._count(block)
            if time.monotonic() - told > 10:
                told = time.monotonic()
                self._say(f"{self.grants:,} grants: {at:,} of {len(pairs):,} {phase} questions")
        return taken

    def _block(self, engine: Any, block: list[tuple[Seat, int]], taken: Taken) -> None:
        record, kept, clock = self.records[engine.name], self.kept[engine.name], time.perf_counter_ns
        asked = [(seat.number, engine.asked(seat, seat.shape.asks[place])) for seat, place in block]
        answers, spent = [], []
        cpu = time.process_time_ns()
        for number, question in asked:
            if (prepared := kept.get(number)) is None:
                begin = clock()
                prepared = kept[number] = engine.prepared(record[number])
            else:
                begin = clock()
            answers.append(engine.answer(prepared, question))
            spent.append(clock() - begin)
        taken.cpu_ns += time.process_time_ns() - cpu
        taken.ns.extend(spent)
        for (seat, place), answer in zip(block, answers, strict=True):
            ask = seat.shape.asks[place]
            if engine.released(answer, ask) != ask.expected:
                raise SystemExit(f"{engine.name} decides otherwise: seat {seat.number}, question {place}")

    def _count(self, block: list[tuple[Seat, int]]) -> None:
        for seat, place in block:
            expected = seat.shape.asks[place].expected
            self.sections.update(expected)
            self.whole[sum(expected)] += 1


class Taken:
    """What one engine took for one run of questions."""

    def __init__(self) -> None:
        self.ns = array("q")
        self.cpu_ns = 0

    def figures(self) -> dict[str, float]:
        """Microseconds a question: p50, p99, mean, and CPU of the whole process."""
        spent = [one / 1000 for one in sorted(self.ns)]
        return {
            "p50": quantile(spent, 0.5),
            "p99": quantile(spent, 0.99),
            "mean": statistics.fmean(spent),
            "cpu": self.cpu_ns / 1000 / len(spent),
        }


def measure(work: Workload, grants: int, seats_asked: int, say: Say) -> None:
    """One size: record, ask every seat drawn once, ask them all the rest, tell."""
    load = [round(one, 1) for one in os.getloadavg()]
    contest = Contest(work, grants, say)
    contest.record()
    first, later = questions(work, grants, seats_asked)
    if seats_asked == SEATS_ASKED and questions_hash([*first, *later]) != work.questions[grants]:
        raise SystemExit("the questions are not those of the workload")
    facts = {"grants": grants, "seats": grants // GRANTS, "seats_asked": len(first), "load": load}
    say(f"{grants:,} grants: {len(first):,} first questions, {len(later):,} later ones, of each engine")
    for phase, pairs in (("first", first), ("later", later)):
        figures = {name: taken.figures() for name, taken in contest.run(pairs, phase).items()}
        own = figures[Handslag.name]
        for name, spent in figures.items():
            of = {**facts, "engine": name, "phase": phase, "questions": len(pairs)}
            for what, value in spent.items():
                times = round(value / own[what], 2)
                tell(f"consent.{grants}.{name}.{phase}.{what}", round(value, 2), "us", what=what, handslags=times, **of)
    tell(f"consent.{grants}.released", contest.sections[True], "sections", **facts)
    tell(f"consent.{grants}.denied", contest.sections[False], "sections", **facts)
    outcomes = {"all": contest.whole[3], "some": contest.whole[1] + contest.whole[2], "none": contest.whole[0]}
    tell(f"consent.{grants}.agreed", sum(outcomes.values()), "questions", by=len(ENGINES), **outcomes, **facts)
    gc.unfreeze()


def _resident(engine: Any, grants: int, seats_asked: int, into: Any) -> None:
    """In a process of its own: what the seats asked take when they are kept, and what one record takes."""
    work, one = load(), engine()
    first, _ = questions(work, grants, seats_asked)
    kept, recorded = [one.prepared(one.recorded(work.seat(0)))], 0
    before = resident_bytes()
    for number, _ in first:
        record = one.recorded(work.seat(number))
        recorded += len(record) if isinstance(record, bytes) else sum(map(len, record))
        kept.append(one.prepared(record))
    gc.collect()
    into.put(((resident_bytes() - before) / len(first), recorded / len(first)))


def memory(grants: int, seats_asked: int, say: Say) -> None:
    """What each engine keeps of a seat between its questions."""
    spawn = multiprocessing.get_context("spawn")
    for engine in ENGINES:
        if engine is not Handslag and issubclass(engine, Handslag):
            continue
        say(f"{grants:,} grants: memory of {engine.name}")
        into = spawn.SimpleQueue()
        child = spawn.Process(target=_resident, args=(engine, grants, seats_asked, into))
        child.start()
        child.join()
        if child.exitcode:
            raise SystemExit(f"memory of {engine.name} was not measured")
        kept, recorded = into.get()
        facts = {"engine": engine.name, "grants": grants, "seats_asked": min(grants // GRANTS, seats_asked)}
        kib = round(recorded / 1024, 1)
        tell(f"consent.{grants}.{engine.name}.kept", round(kept / 1024, 1), "KiB/seat", recorded_kib=kib, **facts)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  python -m tests.bench consent                    everything, into build/bench/consent.json and docs/plots\n"
        "  python -m tests.bench.consent --upto 10000       the smallest size alone\n"
        "  python -m tests.bench.consent --upto 10000 --seats 200 --no-memory\n"
        "                                                   a few seconds: does everything still agree?\n",
    )
    parser.add_argument(
        "--upto", type=int, choices=SIZES, default=SIZES[-1], help="grants recorded at the largest size"
    )
    parser.add_argument("--seats", type=int, default=SEATS_ASKED, help="at most so many seats are asked (20000)")
    parser.add_argument("--no-memory", action="store_true", help="leave out what is kept of a seat")
    chosen = parser.parse_args()
    began, work = time.monotonic(), load()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {line}", file=sys.stderr, flush=True)

    for grants in (size for size in SIZES if size <= chosen.upto):
        measure(work, grants, chosen.seats, say)
        if not chosen.no_memory:
            memory(grants, chosen.seats, say)


if __name__ == "__main__":
    main()
