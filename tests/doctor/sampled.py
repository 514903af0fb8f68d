"""What of a long list runs in the first tier: a fixed-seed part of the quick ones; the second tier runs all."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable

import pytest

SEED = 20261122


def sampled(names: Iterable[str], slow: Collection[str] = (), part: int = 4) -> list:
    """Each name as a parameter; all but one in `part` of those that are not slow are of the second tier."""
    everything = list(names)
    quick = [name for name in everything if name not in slow]
    first = set(random.Random(SEED).sample(quick, len(quick) // part))
    assert set(slow) <= set(everything), "a slow one is not in the list"
    return [pytest.param(name, marks=() if name in first else pytest.mark.long) for name in everything]
