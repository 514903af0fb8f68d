"""The workload of `make bench-consent` is what it says it is, and the product decides it as it expects.

Nothing here looks at a clock.
"""

import hashlib
import json
from collections import Counter

import pytest

from consent.decide import decide
from consent.rules import shipped
from tests.bench import consent_workload as workload
from tests.bench.consent_ledgers import asked, recorded, view

_SIZE = workload.SIZES[0]


def test_the_file_is_what_its_hash_says():
    data = workload.FILE.read_bytes()
    assert hashlib.sha256(data).hexdigest() == workload.SHA256
    work = workload.load()
    assert [len(shape.grants) for shape in work.shapes] == [workload.GRANTS] * 64
    assert workload.seats_hash(work, _SIZE) == work.seats[_SIZE]
    first, later = workload.questions(work, _SIZE)
    assert workload.questions_hash([*first, *later]) == work.questions[_SIZE]
    assert len({seat for seat, _ in first}) == len(first) == _SIZE // workload.GRANTS
    assert len({*first, *later}) == len(first) + len(later) == 10 * len(first)


def test_half_of_every_seats_sections_are_denials():
    for shape in workload.load().shapes:
        assert Counter(sum(ask.expected) for ask in shape.asks) == {3: 4, 2: 1, 1: 1, 0: 4}
        assert {len(ask.categories) for ask in shape.asks} == {3}


def test_another_file_is_refused(tmp_path, monkeypatch):
    read = json.loads(workload.FILE.read_bytes())
    read["shapes"][0]["asks"][0][5] = "111"
    (tmp_path / "other.json").write_text(json.dumps(read))
    monkeypatch.setattr(workload, "FILE", tmp_path / "other.json")
    with pytest.raises(SystemExit, match=r"other\.json"):
        workload.load()


def test_the_product_decides_every_shape_as_the_workload_expects():
    work, rules = workload.load(), shipped()[1]
    seats = {}
    for number in range(2000):
        seat = work.seat(number)
        seats.setdefault(seat.shape, seat)
        if len(seats) == len(work.shapes):
            break
    assert len(seats) == len(work.shapes)
    reasons = Counter()
    for shape, seat in seats.items():
        ledger = view(recorded(seat))
        assert not ledger.broken
        assert len(ledger.grants) == workload.GRANTS
        for ask in shape.asks:
            sections = decide(asked(seat, ask), ledger, rules).sections
            assert tuple(section.released for section in sections) == ask.expected
            reasons.update(reason for section in sections for reason in section.reasons)
    # Denied for what a person said or left unsaid, never because a rule forbids what was asked.
    assert set(reasons) == {
        "BLOCK_IN_FORCE",
        "CATEGORY_NOT_COVERED",
        "EXPIRED",
        "NOT_YET_VALID",
        "PARTIALLY_WITHDRAWN",
        "PURPOSE_MISMATCH",
        "RECIPIENT_CHANGED",
        "RECIPIENT_NOT_COVERED",
        "SUSPENDED",
        "TYPE_WITHHELD",
        "WITHDRAWN",
    }
