"""When to try again: pure functions of the attempt's number and one random fraction.

Exponential backoff with full jitter: a hundred connectors that lost the broker together do not come back together.
"""

from __future__ import annotations

from schemas.errors import HandslagError

BASE_S = 0.25  # the first pause is shorter than the beat
FLOOR_S = 2.0  # between two tries of a task that fails, unless it usually runs more often
REFUSED_S = 1.0  # after a refusal that named its own pause, until the next look at what else may go
CEILING_S = 60.0  # a broker that is back is found within a minute


def delay_s(attempt: int, fraction: float, retry_after_s: float | None = None) -> float:
    """Seconds to wait after failed attempt number `attempt` (1 for the first); `fraction` is random in [0, 1).

    The server's own `Retry-After` is a floor, never a ceiling.
    """
    # The exponent is bounded first: 2.0 ** 2000 overflows.
    span = min(CEILING_S, BASE_S * 2.0 ** min(max(attempt, 1) - 1, 16))
    return max(span * fraction, retry_after_s or 0.0)


def pause_s(beat_s: float, failures: int, fraction: float, retry_after_s: float = 0.0) -> float:
    """Seconds until a task with its own beat is tried after so many failures in a row; Retry-After is a floor.

    A task that rarely runs is tried again soon, not at its next beat: without the list of units a connector that
    started before its broker could do nothing for a minute.
    """
    # INVARIANT: test_a_rare_task_that_failed_is_tried_again_soon
    return max(min(beat_s, FLOOR_S), delay_s(failures, fraction, retry_after_s))


def floor_s(error: HandslagError) -> float:
    """What the broker asked to wait (Retry-After), 0 when it asked nothing."""
    return float(error.retry_after_s or 0)


def again(error: HandslagError) -> bool:
    """Whether the registry says that the same call may succeed later."""
    return error.entry.retriable
