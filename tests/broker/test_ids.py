"""What is decided first is handed over first: deliveries are handed over in the order of their identifiers."""

import os

from broker.ids import RisingIds


def test_identifiers_rise_also_within_a_millisecond_and_when_the_clock_runs_back():
    ids = RisingIds()
    moments = [1_700_000_000_000_000] * 3000 + [1_600_000_000_000_000] * 3000 + [1_700_000_000_900_000] * 3000
    made = [ids.next(now_us, os.urandom) for now_us in moments]
    assert made == sorted(set(made))
    assert {one[6] >> 4 for one in made} == {7}
    assert {one[8] >> 6 for one in made} == {2}


def test_what_two_processes_make_at_one_moment_differs():
    made = [RisingIds().next(1_700_000_000_000_000, os.urandom) for _ in range(1000)]
    assert len(set(made)) == 1000
    assert len({one[:8] for one in made}) == 1  # the time is all they share
