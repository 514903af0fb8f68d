"""The game: two worlds that differ in nothing but the unit that the person moves to, and an old unit that tries to tell
them apart. It wins with one byte, one length, one code, one call, one order or one count that differs.
"""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import dataclass

import pytest

from tests.relocation import life, probes
from tests.relocation.play import ALFA, BETA
from tests.relocation.worlds import GAMMA, OLD, fork, world


@dataclass
class Played:
    """What was seen in one world: lines and work by the unit that watched, and what closed seats were answered."""

    lines: dict[str, list[str]]
    work: dict[str, list[str]]
    alike: list[list[str]]


def seen_in(move):
    lines = {name: list(view.lines) for name, view in move.views.items()}
    return Played(lines, {name: list(view.work) for name, view in move.views.items()}, move.alike)


def differs(one, other):
    """The first place where two views part, None where they do not."""
    for place, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            at = next(n for n in range(max(len(left), len(right))) if left[n : n + 1] != right[n : n + 1])
            return place, left[:80], left[max(0, at - 60) : at + 120], right[max(0, at - 60) : at + 120]
    return None if len(one) == len(other) else (len(one), len(other))


async def two_worlds(folder, seed=1, **skew):
    """A protected relocation to each of two units, and all that comes after it; `skew` are clocks that run wrong."""
    made, played = await fork(folder), []
    for to in (ALFA, BETA):
        async with world(made, to, seed) as move:
            move.skew(**skew)
            await life.protected(move)
            await life.ends(move)
            played.append(seen_in(move))
    return played


async def again(folder, seed=1, *, known=False):
    """The person has moved to a third unit, which is the same in both worlds, and moves on."""
    made, played = await fork(folder, third=True), []
    for to in (ALFA, BETA):
        async with world(made, GAMMA, seed) as move:
            await (life.known_first(move) if known else move.protected())
            await life.moves_on(move, to)
            played.append(seen_in(move))
    return played


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    return asyncio.run(two_worlds(tmp_path_factory.mktemp("game")))


def test_the_old_unit_cannot_tell_two_worlds_apart(played):
    one, other = played
    assert differs(one.lines[OLD], other.lines[OLD]) is None
    # Nor can the prison service, which stays in the case and is told that another holds the lead's role.
    assert differs(one.lines["probation"], other.lines["probation"]) is None
    assert "recipient_changed" in "".join(one.lines["probation"])
    # Control: the police invited, and to them the worlds differ.
    assert differs(one.lines["police"], other.lines["police"]) is not None


def test_the_broker_does_the_same_work_for_it_in_both(played):
    one, other = played
    assert differs(one.work[OLD], other.work[OLD]) is None
    assert sum(len(json.loads(line)[2]) for line in one.work[OLD]) > 1000  # control: there was work to compare


def test_a_closed_seat_is_a_seat_that_never_was_and_a_seat_of_others(played):
    for world_ in played:
        first, *others = world_.alike
        assert len(first) == 6
        assert all("HS-SEAT-UNKNOWN" in answer for answer in first)
        assert all(answers == first for answers in others)


def test_the_old_unit_saw_what_it_is_said_to_see(played):
    """Of everything that the game compares there was some, or equal views would prove nothing."""
    lines = played[0].lines[OLD]
    calls = [json.loads(line) for line in lines if json.loads(line)["kind"] == "call"]
    items = [item for c in calls if isinstance(c["body"], dict) for item in c["body"].get("items", [])]
    kinds = {item["kind"] for item in items}
    assert kinds >= {"SUCCESSION", "RECEIPT", "DELIVERY", "NOTICE", "STATEMENT", "ANNULMENT"}
    told = "\n".join(lines)
    words = ("HS-SEAT-UNKNOWN", "HS-UNIT-PROTECTED", "HS-QUOTA", "Retry-After", "HS-CALL-UNKNOWN", "WAITS_FOR_SLOT")
    for word in (*words, '"woken": true', '"operation": "DISCLOSURE"', '"operation": "CONSENT_EVENT"'):
        assert word in told, word
    assert len({c["call"] for c in calls}) > 20
    # And in what it was answered about the case, no unit but those that it named itself.
    assert GAMMA not in told
    named = [c for c in calls if ALFA in json.dumps(c["body"]) and c["call"].startswith("POST")]
    assert {c["call"] for c in named} <= {"POST /v1/audit:fetch", "POST /v1/ledger:fetch"}


@pytest.mark.long
@pytest.mark.parametrize("seed", [2, 3])
async def test_other_lots_give_the_same(tmp_path, seed):
    one, other = await two_worlds(tmp_path, seed)
    assert differs(one.lines[OLD], other.lines[OLD]) is None
    assert differs(one.work[OLD], other.work[OLD]) is None


@pytest.mark.long
@pytest.mark.parametrize("known", [False, True])
async def test_nobody_who_was_left_learns_of_the_next_move(tmp_path, known):
    """The first unit, also one that invited the second itself, and the second; only the police's view differs."""
    one, other = await again(tmp_path, known=known)
    for name in (OLD, "probation", "gamma"):
        assert differs(one.lines[name], other.lines[name]) is None
        assert differs(one.work[name], other.work[name]) is None
    assert differs(one.lines["police"], other.lines["police"]) is not None


@pytest.mark.long
async def test_a_clock_that_runs_wrong_does_not_tell_whose_it_is(tmp_path):
    """A unit whose clock is wrong by as much as everybody knows: its time stands in nothing that the old unit reads."""
    one, other = await two_worlds(tmp_path, alfa=300_000, beta=-400_000)
    assert differs(one.lines[OLD], other.lines[OLD]) is None


def apart(one, other):
    """Kolmogorov and Smirnov: the largest distance between two distributions, 0 to 1."""
    return max(
        abs(sum(x <= at for x in one) / len(one) - sum(x <= at for x in other) / len(other)) for at in (*one, *other)
    )


# Two samples of n from one distribution come this far apart once in a million times.
def bound(n):
    return 2.69 * (2 / n) ** 0.5


@pytest.mark.long
async def test_no_answer_takes_longer_for_the_unit_that_is_seated(tmp_path):
    """Guesses of a hit and of a miss in one world, in a random order; and closed, unknown and foreign seats."""
    made, order = await fork(tmp_path), random.Random(1)
    async with world(made, ALFA) as move:
        await move.police_invites()
        await move.new_accepts()
        took = {unit: [] for unit in probes.GUESSES}
        for unit in order.sample([*probes.GUESSES] * 60, 120):
            took[unit].append(await probes.timed_block(move, unit))
        assert apart(*took.values()) < bound(60)
        await move.file_is_sealed()
        await move.lead_hands_over()
        await move.slot()
        seats = {"closed": move.seat(OLD).sid, "unknown": b"\x07" * 16, "new": move.seat("alfa").sid}
        waits = {name: [] for name in seats}
        for name in order.sample([*seats] * 80, 240):
            waits[name].append(await probes.timed_knock(move, seats[name]))
        for name in ("unknown", "new"):
            assert apart(waits["closed"], waits[name]) < bound(80)
        # Control: five milliseconds more are found.
        assert apart(waits["closed"], [took_s + 0.005 for took_s in waits["closed"]]) > bound(80)
