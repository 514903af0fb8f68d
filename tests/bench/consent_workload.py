"""The fixed workload of the consent bench: what was recorded for each seat, what is asked, and what must come out.

    python -m tests.bench.consent_workload --write

`consent-workload.json` has 64 shapes. A shape is five grants, what became of them, and ten questions of three sections
each with the answer: four release all, four nothing, one a single section, one two. So half of all sections are
denials, and half of the questions of every seat. A seat is a shape with ids and a beginning of its own, both drawn from
the seed and the seat's number; the file says what all seats of a size must hash to, and what the questions must.

Hours count from the seat's beginning. A role with a star was held by somebody else when the grant was recorded.
`--write` makes the file anew; it comes out as it is until something here is changed on purpose.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

FILE = Path(__file__).with_name("consent-workload.json")
SHA256 = "7dbbf7fe686753b99b5acbca5dc237d054211f64998f7effa279d04ac08103c4"
"""Of the file as committed."""
SIZES = (10_000, 100_000, 1_000_000)
"""Grants recorded."""
GRANTS = 5
"""Of each seat."""
SEATS_ASKED = 20_000
"""At most so many seats are asked: as many views as a broker keeps."""
HOUR = 3600 * 1_000_000
_SEED = 20261122
_SHAPES = 64
_QUOTA = {3: 4, 2: 1, 1: 1, 0: 4}  # questions of a shape by the sections released
_T0 = 1_795_000_000 * 1_000_000
_ROLES = ("police_coordination", "prison_probation", "health_care")
_PURPOSES = ("PLANNING", "INTAKE", "HOUSING")
_OPEN = {
    "police_coordination": ("IC01", "IC02", "IC08", "IC12", "IC13", "IC14"),
    "prison_probation": ("IC08", "IC12", "IC13"),
    "health_care": ("IC07", "IC08", "IC13"),
}
_NAMES = {"coordination_meeting_scheduled": "IC13", "joint_plan_adopted": "IC13", "support_requested": "IC12"}
_ONLY_POLICE = {"support_requested"}


class Given(NamedTuple):
    """A grant, recorded in the hour that is its place."""

    roles: tuple[str, ...]
    categories: tuple[str, ...]
    purposes: tuple[str, ...]
    from_h: int
    until_h: int


class Later(NamedTuple):
    """What came after: WITHDRAW (of all or of `categories`), SUSPEND, RESUME of a grant; BLOCK of roles, categories."""

    kind: str
    grant: int
    hour: int
    roles: tuple[str, ...]
    categories: tuple[str, ...]


class Ask(NamedTuple):
    """Three sections asked for, and for each whether it must be released."""

    event_type: str
    role: str
    purpose: str
    hour: int
    categories: tuple[str, ...]
    expected: tuple[bool, ...]

    @property
    def name(self) -> str:
        """The category that the event's name alone tells."""
        return _NAMES[self.event_type]


class Piece(NamedTuple):
    """What a general engine is told of a grant: these may get this for that, from hour to hour."""

    roles: tuple[str, ...]
    categories: tuple[str, ...]
    purposes: tuple[str, ...]
    from_h: int
    until_h: int


class Shape(NamedTuple):
    """One kind of seat."""

    grants: tuple[Given, ...]
    later: tuple[Later, ...]
    asks: tuple[Ask, ...]


class Seat(NamedTuple):
    """A shape with a beginning and ids of its own; `key` is what its ids are made of."""

    number: int
    shape: Shape
    start_us: int
    key: bytes

    def named(self, word: str) -> bytes:
        """16 bytes that stand for a word in this seat's case."""
        return hashlib.sha256(self.key + word.encode()).digest()[:16]

    def at_us(self, hour: int) -> int:
        """An hour of this seat in microseconds UTC."""
        return self.start_us + hour * HOUR


class Workload(NamedTuple):
    """The file: its shapes, and by size what its seats and its questions hash to (SHA-256, hex)."""

    shapes: tuple[Shape, ...]
    seats: dict[int, str]
    questions: dict[int, str]

    def seat(self, number: int) -> Seat:
        """Seat number `number`; the same one at every size."""
        key = hashlib.sha256(f"{_SEED}/{number}".encode()).digest()
        shape, hours = struct.unpack(">HH", key[:4])
        return Seat(number, self.shapes[shape % len(self.shapes)], _T0 + hours * HOUR, key)


def load() -> Workload:
    """Read the committed file; a file that is another ends the run."""
    data = FILE.read_bytes()
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise SystemExit(f"{FILE.name} is not the workload that this bench was written for")
    return parse(json.loads(data))


def parse(read: dict[str, Any]) -> Workload:
    """The workload that a file says."""
    return Workload(
        tuple(_shape(one) for one in read["shapes"]),
        {int(size): hashed for size, hashed in read["seats"].items()},
        {int(size): hashed for size, hashed in read["questions"].items()},
    )


def _shape(read: dict[str, Any]) -> Shape:
    return Shape(
        tuple(Given(*(tuple(part) if isinstance(part, list) else part for part in one)) for one in read["grants"]),
        tuple(Later(*(tuple(part) if isinstance(part, list) else part for part in one)) for one in read["later"]),
        tuple(
            Ask(event_type, role, purpose, hour, tuple(categories), tuple(bit == "1" for bit in expected))
            for event_type, role, purpose, hour, categories, expected in read["asks"]
        ),
    )


def questions(work: Workload, grants: int, seats_asked: int = SEATS_ASKED) -> tuple[list[tuple[int, int]], ...]:
    """(seat, question) pairs: the first of each seat drawn, and all the others of the same seats, in random order."""
    dice = random.Random(f"{_SEED}/{grants}")
    seats = grants // GRANTS
    drawn = dice.sample(range(seats), min(seats, seats_asked))
    first = [(seat, dice.randrange(len(work.seat(seat).shape.asks))) for seat in drawn]
    begun = set(first)
    later = [
        (seat, place)
        for seat in drawn
        for place in range(len(work.seat(seat).shape.asks))
        if (seat, place) not in begun
    ]
    dice.shuffle(later)
    return first, later


def pieces(shape: Shape) -> Iterator[Piece]:
    """Each grant less what was withdrawn and suspended, as somebody would compile it who knows no consents."""
    for place, given in enumerate(shape.grants):
        spans: dict[tuple[int, int], list[str]] = {}
        for category in given.categories:
            for span in _spans(shape, place, category):
                spans.setdefault(span, []).append(category)
        for (from_h, until_h), categories in spans.items():
            yield Piece(given.roles, tuple(categories), given.purposes, from_h, until_h)


def _spans(shape: Shape, place: int, category: str) -> list[tuple[int, int]]:
    """From when until when a grant covers a category, hours; it may be suspended in between."""
    given = shape.grants[place]
    begin, end, spans = max(given.from_h, place), given.until_h, []
    for one in shape.later:
        if one.kind == "BLOCK" or one.grant != place:
            continue
        if one.kind == "WITHDRAW" and (not one.categories or category in one.categories):
            end = min(end, one.hour)
        elif one.kind == "SUSPEND":
            spans.append((begin, min(end, one.hour)))
            begin = next(two.hour for two in shape.later if two.kind == "RESUME" and two.grant == place)
    return [span for span in (*spans, (begin, end)) if span[0] < span[1]]


def blocks(shape: Shape) -> list[Later]:
    """What the person forbade, whatever else is recorded."""
    return [one for one in shape.later if one.kind == "BLOCK"]


def released(shape: Shape, ask: Ask) -> tuple[bool, ...]:
    """What must come out, told from the pieces: nothing goes when the category that the event's name tells does not."""

    def opened(category: str) -> bool:
        permitted = any(
            ask.role in one.roles
            and category in one.categories
            and ask.purpose in one.purposes
            and one.from_h <= ask.hour < one.until_h
            for one in pieces(shape)
        )
        return permitted and not any(
            ask.role in one.roles and category in one.categories and one.hour <= ask.hour for one in blocks(shape)
        )

    named = opened(ask.name)
    return tuple(named and opened(category) for category in ask.categories)


def seats_hash(work: Workload, grants: int) -> str:
    """SHA-256 over what all seats of a size have of their own."""
    total = hashlib.sha256()
    for number in range(grants // GRANTS):
        seat = work.seat(number)
        total.update(struct.pack(">Iq", number, seat.start_us) + seat.key)
    return total.hexdigest()


def questions_hash(pairs: Sequence[tuple[int, int]]) -> str:
    """SHA-256 over the questions in the order in which they are asked."""
    return hashlib.sha256(b"".join(struct.pack(">IB", *pair) for pair in pairs)).hexdigest()


# --- how the file was made


def _grant(dice: random.Random) -> Given:
    roles = dice.sample(_ROLES, dice.choice((1, 1, 2)))
    pool = sorted({category for role in roles for category in _OPEN[role]})
    return Given(
        tuple(role + "*" if dice.random() < 0.15 else role for role in roles),
        tuple(sorted(dice.sample(pool, dice.randrange(3, len(pool) + 1)))),
        tuple(sorted(dice.sample(_PURPOSES, dice.choice((1, 1, 2))))),
        dice.choice((0, 0, dice.randrange(5, 400))),
        dice.randrange(300, 3000),
    )


def _later(dice: random.Random, grants: Sequence[Given]) -> tuple[Later, ...]:
    """One to three acts, in the order in which they were recorded."""
    found: list[Later] = []
    for place in dice.sample(range(GRANTS), dice.randrange(1, 4)):
        hour = dice.randrange(30, 1500)
        kind = dice.choice(("WITHDRAW", "WITHDRAW", "PART", "SUSPEND", "BLOCK"))
        if kind == "PART":
            found.append(Later("WITHDRAW", place, hour, (), (dice.choice(grants[place].categories),)))
        elif kind == "BLOCK":
            role = dice.choice(_ROLES)
            found.append(Later("BLOCK", place, hour, (role,), tuple(sorted(dice.sample(_OPEN[role], 2)))))
        else:
            found.append(Later(kind, place, hour, (), ()))
        if kind == "SUSPEND":
            found.append(Later("RESUME", place, hour + dice.randrange(50, 800), (), ()))
    return tuple(sorted(found, key=lambda one: one.hour))


def _ask(dice: random.Random, grants: Sequence[Given]) -> Ask:
    like = dice.choice(grants)
    role = dice.choice(like.roles).rstrip("*") if dice.random() < 0.9 else dice.choice(_ROLES)
    event_type = dice.choice([one for one in _NAMES if role == "police_coordination" or one not in _ONLY_POLICE])
    others = [one for one in _OPEN[role] if one != _NAMES[event_type]]
    categories = [_NAMES[event_type], *dice.sample(others, 2)]
    dice.shuffle(categories)
    purpose = dice.choice(like.purposes) if dice.random() < 0.9 else dice.choice(_PURPOSES)
    return Ask(event_type, role, purpose, dice.randrange(6, 2500), tuple(categories), ())


def _made(dice: random.Random) -> Shape:
    """Grants as the dice fall, asked until there are as many questions of each answer as there must be."""
    while True:
        grants = tuple(_grant(dice) for _ in range(GRANTS))
        shape = Shape(grants, _later(dice, grants), ())
        left, asks = dict(_QUOTA), []
        for _ in range(400):
            ask = _ask(dice, grants)
            ask = ask._replace(expected=released(shape, ask))
            if left[sum(ask.expected)]:
                left[sum(ask.expected)] -= 1
                asks.append(ask)
        if not any(left.values()):
            return shape._replace(asks=tuple(asks))


def written() -> bytes:
    """The file as it must be, one shape a line."""
    dice = random.Random(_SEED)
    work = Workload(tuple(_made(dice) for _ in range(_SHAPES)), {}, {})
    seats = {str(size): seats_hash(work, size) for size in SIZES}
    asked = {str(size): questions_hash([pair for part in questions(work, size) for pair in part]) for size in SIZES}
    lines = [
        json.dumps({**one._asdict(), "asks": [(*ask[:5], "".join("01"[bit] for bit in ask[5])) for ask in one.asks]})
        for one in work.shapes
    ]
    head = {"seed": _SEED, "seats": seats, "questions": asked}
    return (json.dumps(head)[:-1] + ', "shapes": [\n' + ",\n".join(lines) + "\n]}\n").encode()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", required=True, help=f"make {FILE.name} anew and tell its hash")
    parser.parse_args()
    data = written()
    FILE.write_bytes(data)
    print(hashlib.sha256(data).hexdigest())
