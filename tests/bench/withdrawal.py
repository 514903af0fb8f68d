"""How long a withdrawal takes to be answered while one node is busy with submissions, fetches and acknowledgements.

    python -m tests.bench.withdrawal [--samples N] [--events N]

Every process is real. The police send events to social services as fast as they go; probation, in the same case and so
in the same bucket, records a consent and withdraws it, again and again. A sample runs from the call of the public
client to its return: noted in the spool, signed, sent over mutual TLS, checked, recorded in force, answered, kept.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.end_to_end import last_line, prepared, ready
from tests.bench.figures import quantile, tell

_PATIENCE_S = 240.0


def main(samples: int, events: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        play = prepared(Path(scratch), None, lambda line: print(line, file=sys.stderr))
        with play:
            play.set_up()
            play.run_steps()
            for name in ("police", "social", "probation"):
                play.stop(name)
            config = play.config("probation")
            play.agency("probation", "withdraw", config, "EXEMPEL-K4", str(samples))
            play.agency("social", "take", play.config("social"))
            ready(play, "probation")
            ready(play, "social")
            play.agency("police", "send", play.config("police"), "EXEMPEL-A77", str(events))
            ready(play, "police", "moving")
            began = time.monotonic()
            config.with_name("go").touch()
            while not play.ended("probation") and time.monotonic() < began + _PATIENCE_S:
                time.sleep(0.02)
            seconds = time.monotonic() - began
            if play.ended("police"):
                sys.exit("the load ended before the last withdrawal; ask for more events")
            taken = sorted(last_line(play, "probation"))
    facts = {"samples": len(taken), "seconds": round(seconds, 1)}
    tell("withdrawal.p50", quantile(taken, 0.5), "ms", **facts)
    tell("withdrawal.p99", quantile(taken, 0.99), "ms", **facts)
    tell("withdrawal.max", taken[-1], "ms", **facts)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--events", type=int, default=4000)
    chosen = parser.parse_args()
    main(chosen.samples, chosen.events)
