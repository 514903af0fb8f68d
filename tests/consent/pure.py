"""Properties of the pure decision: 2,000 examples in the long tier, a tenth with a fixed seed in the first.

    @pure(stories, numbers)
    def test_something(story, number): ...

makes one test of two runs: `[tenth]`, the same 200 examples each time, and `[whole]`, 2,000 others each time, marked
`long`. Nothing is run less in the first tier than it says here.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

WHOLE = 2000
TENTH = WHOLE // 10
SLOW = [HealthCheck.too_slow, HealthCheck.filter_too_much]
LONG = (pytest.mark.long, pytest.mark.timeout(0))
TIERS = {
    "tenth": settings(max_examples=TENTH, deadline=None, derandomize=True, database=None, suppress_health_check=SLOW),
    "whole": settings(max_examples=WHOLE, deadline=None, database=None, print_blob=True, suppress_health_check=SLOW),
}


def pure(*strategies):
    """The property as a test of each tier."""

    def made(check):
        @pytest.mark.parametrize(
            "tier", ["tenth", pytest.param("whole", marks=[pytest.mark.long, pytest.mark.timeout(0)])]
        )
        def test(tier):
            TIERS[tier](given(*strategies)(check))()

        test.__name__, test.__doc__, test.__module__ = check.__name__, check.__doc__, check.__module__
        return test

    return made
