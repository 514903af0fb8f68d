"""When to try again: pure functions of the attempt's number and one random fraction.

Exponential backoff with full jitter: a hundred connectors that lost the broker together do not come back together.
"""

from __future__ import annotations

from schemas.errors import HandslagError

BASE_S = 0.25  # the first pause is shorter than the beat
CEILING_S = 60.0  # a broker that is back is found within a minute


def delay_s(attempt: int, fraction: float, retry_after_s: float | None = None) -> float:
    """Seconds to wait after failed attempt number `attempt` (1 for the first); `fraction` is random in [0, 1).

    The server's own `Retry-After` is a floor, never a ceiling.
    """
    # The exponent is bounded first: 2.0 ** 2000 overflows.
    span = min(CEILING_S, BASE_S * 2.0 ** min(max(attempt, 1) - 1, 16))
    return max(span * fraction, retry_after_s or 0.0)


def again(error: HandslagError) -> bool:
    """Whether the registry says that the same call may succeed later."""
    return error.entry.retriable
