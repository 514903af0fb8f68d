"""Cost of one event of 3 sections and 2 recipients, microseconds: `python -m tests.bench.seal [rounds]`.

Prints one JSON line per step. Sender: seal, one attempt. Recipient: decode and open one delivery of three sections.
"""

import statistics
import sys
import time
from collections.abc import Callable

from connectors.sealing import attempt, bundle, seal_event
from schemas import checks
from schemas.envelope import Delivery
from tests.bench.figures import tell
from tests.seals.world import CASE, HEALTH, LEAD, PRISON, RULES, flow, given, handed, opened, plan, seat, unit_keys

CATEGORIES = ("IC01", "IC02", "IC12")
WARM_UP = 50


def timed(step: str, rounds: int, call: Callable[[], object], **facts: int) -> None:
    """Print median and 99th percentile of one call."""
    for _ in range(WARM_UP):
        call()
    took = []
    for _ in range(rounds):
        start = time.perf_counter_ns()
        call()
        took.append((time.perf_counter_ns() - start) / 1000)
    tell(f"seal.{step}.p50", round(statistics.median(took), 1), "us", rounds=rounds, **facts)
    tell(f"seal.{step}.p99", round(statistics.quantiles(took, n=100)[98], 1), "us", rounds=rounds, **facts)


def main(rounds: int = 500) -> None:
    """Run every step."""
    take = flow("bench")
    to = {PRISON: given(PRISON, *CATEGORIES), HEALTH: given(HEALTH, *CATEGORIES)}
    event = plan()

    def send() -> object:
        return attempt(seal_event(event, seat(LEAD), take), 1, RULES, None, to)

    submission = attempt(seal_event(event, seat(LEAD), take), 1, RULES, None, to)
    delivered = handed(submission, PRISON, *CATEGORIES).to_bytes()
    up = [submission] * 100
    timed("sender_seals", rounds, send, submission_bytes=len(submission.to_bytes()))
    timed("gateway_checks", rounds, lambda: checks.check_submission(submission))
    timed(
        "recipient_opens",
        rounds,
        lambda: opened(Delivery.from_bytes(delivered)),
        delivery_bytes=len(delivered),
    )
    signing = {"origin": "exempel.invalid", "unit": "SOC/EXEMPEL/AA", "bundle_id": CASE, "keys": unit_keys("soc")}
    timed("sender_signs_100", max(rounds // 10, 20), lambda: bundle(up, **signing))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
