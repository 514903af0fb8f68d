"""`python -m tests.sabotage`: each defence switched off in a copy of the tree; the named test must go red.

Two patches at a time. Exit code 0 when every patch was caught, 1 when one survived, went stale or broke more than it
was meant to.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tests.sabotage.patches import Patch, all_patches
from tests.sabotage.run import Outcome, baseline, copy_of_tree, tried

AT_ONCE = 2  # more only slows the tests down: they wait for the disk and for each other


def main(arguments: list[str] | None = None) -> int:
    """Run every patch whose name begins with one of `arguments`, all without any."""
    parser = argparse.ArgumentParser(prog="python -m tests.sabotage", description=__doc__)
    parser.add_argument("names", nargs="*", help="Beginnings of patch names; all when none is given.")
    names = parser.parse_args(arguments).names
    chosen = [one for one in all_patches() if not names or any(one.name.startswith(name) for name in names)]
    if not chosen:
        parser.error("no patch has such a name")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="handslag-sabotage-") as folder:
        root = Path(folder) / "honest"
        copy_of_tree(root)
        print(f"{len(chosen)} patches; first the honest copy must pass their tests", flush=True)
        red = baseline(root, chosen)
        if red:
            print(red, f"\nThe honest copy fails: see above. Took {time.monotonic() - started:.0f} s.")
            return 1
        outcomes = _all(root, Path(folder), chosen)
    return _told(outcomes, time.monotonic() - started)


def _all(root: Path, folder: Path, chosen: list[Patch]) -> list[Outcome]:
    outcomes = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        waiting = [pool.submit(tried, root, folder / patch.name, patch) for patch in chosen]
        for done in as_completed(waiting):
            outcome = done.result()
            outcomes.append(outcome)
            mark = "caught" if outcome.caught else "NOT CAUGHT"
            print(f"[{len(outcomes)}/{len(chosen)}] {outcome.patch.name}: {mark}, {outcome.seconds:.0f} s", flush=True)
    return sorted(outcomes, key=lambda one: one.patch.name)


def _told(outcomes: list[Outcome], seconds: float) -> int:
    width = max(len(one.patch.name) for one in outcomes)
    print()
    for one in outcomes:
        print(f"{one.patch.name:{width}}  {'caught' if one.caught else 'NOT CAUGHT':10}  {one.patch.test}")
    bad = [one for one in outcomes if not one.caught]
    for one in bad:
        print(f"\n{one.patch.name}: {one.why}")
    print(f"\n{len(outcomes) - len(bad)} of {len(outcomes)} patches caught in {seconds:.0f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
