"""Cost of one event of 3 sections and 2 recipients, microseconds: `python -m tests.bench.seal [rounds]`.

Prints one JSON line per step. Sender: seal, one attempt. Recipient: decode and open one delivery of three sections.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable

from connectors.sealing import attempt, bundle, seal_event
from schemas import checks
from schemas.envelope import Delivery
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
    p99 = statistics.quantiles(took, n=100)[98]
    line = {"bench": "seal", "step": step, "p50_us": round(statistics.median(took), 1), "p99_us": round(p99, 1)}
    print(json.dumps({**line, "rounds": rounds, **facts}))


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
    timed("sender: seal and attempt", rounds, send, submission_bytes=len(submission.to_bytes()))
    timed("gateway: check a submission", rounds, lambda: checks.check_submission(submission))
    timed(
        "recipient: decode and open",
        rounds,
        lambda: opened(Delivery.from_bytes(delivered)),
        delivery_bytes=len(delivered),
    )
    signing = {"origin": "exempel.invalid", "unit": "SOC/EXEMPEL/AA", "bundle_id": CASE, "keys": unit_keys("soc")}
    timed("sender: sign a bundle of 100", max(rounds // 10, 20), lambda: bundle(up, **signing))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
