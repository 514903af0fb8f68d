"""How long one beat takes by the number of entries it seals; prints JSON lines.

    python -m tests.bench.beat [leaves already in the log]

A real Store, seat-key file and anchor on disk; a beat is sealed, anchored, signed and stored before it counts.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.figures import tell
from tests.sealer.conftest import House

COUNTS = (0, 100, 1000)
ROUNDS = 15


async def measure(house, sealer, count):
    """Milliseconds of each of the rounds; an idle beat still seals the record of the one before."""
    taken = []
    for _ in range(ROUNDS):
        await house.record(count)
        began = time.perf_counter()
        await sealer.beat()
        taken.append((time.perf_counter() - began) * 1000)
    return sorted(taken)


async def main(leaves):
    with tempfile.TemporaryDirectory() as folder:
        house = House(Path(folder))
        sealer = house.sealer()
        if leaves:
            await house.record(leaves)
        await sealer.beat()
        for count in COUNTS:
            taken = await measure(house, sealer, count)
            size = (await house.store.read(lambda rows: rows.log.head())).size
            facts = {"log_leaves": size, "rounds": ROUNDS}
            tell(f"beat.{count}_entries.p50", round(statistics.median(taken), 2), "ms", **facts)
            tell(f"beat.{count}_entries.max", round(taken[-1], 2), "ms", **facts)
        house.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
