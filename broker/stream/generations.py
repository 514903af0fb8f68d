"""Generations of a stream: when the log that the positions point into is lost or exchanged, all begin anew together.

What was not decided goes with the lost log; a submission acknowledges nothing, so the connectors send it again by
themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from audit.entry import SealedEntry
from broker.store.origins import Origin
from broker.store.port import Rows, Store
from broker.store.tables import BUCKETS

FIRST = "FIRST"  # the Store has no stream of this kind yet
TOPIC = "TOPIC"  # another topic lies under the name
OUTSIDE = "OUTSIDE"  # the log does not hold the position
KEYS = "KEYS"  # every node lost the keys of what waits, and another chain stands in for them
HOME = "HOME"  # the stream is a table of the Store again
_TABLE = bytes(16)  # stands for the topic's id and the chain of a stream that is a table


def placed(positions: Sequence[int], starts: Mapping[int, int], ends: Mapping[int, int], *, same: bool) -> list[int]:
    """Where each bucket goes on: where it was if the same log still holds that place, else at the log's start.

    Starting too early decides nothing twice: an event that was decided gets its receipt again.
    """
    # INVARIANT: test_a_bucket_goes_on_where_it_was_only_in_the_same_log
    return [
        position if same and starts[bucket] <= position <= ends[bucket] else starts[bucket]
        for bucket, position in enumerate(positions)
    ]


async def open_generation(
    store: Store,
    seen: Origin | None,
    opened: Origin,
    places: Callable[[Sequence[int]], Sequence[int]],
    entry: Callable[[int], SealedEntry],
) -> bool:
    """Record a generation and move every gate in one transaction; False when another node has done so meanwhile.

    `seen` is the origin the caller knew, `places` gives the new positions from the old. Every gate is bumped, so no
    batch that was read from the log of before commits. Raises what the store raises.
    """
    sealed = entry(opened.opened_at_us)

    def work(rows: Rows) -> bool:
        # INVARIANT: test_no_batch_of_the_log_of_before_commits
        bumps = [rows.gate.bump(bucket, 1, opened.opened_at_us) for bucket in range(BUCKETS)]
        if rows.origins.latest() != seen:
            return False
        now = rows.gate.positions()  # under the locks: what a node decided meanwhile stays decided
        for bump, place in zip(bumps, places(now), strict=True):
            rows.gate.place(bump.bucket, place)
        if seen is None or seen.topic_id == _TABLE:
            rows.stream.empty()
        rows.origins.open(opened)
        rows.entries.insert([sealed])
        return True

    return await store.write(work)


async def come_home(store: Store, at_us: int, entry: Callable[[int], SealedEntry]) -> None:
    """Let the positions point into the Store's own table, where a log outside carried the stream before."""
    # INVARIANT: test_a_stream_that_comes_home_is_read_from_its_own_positions
    seen, ends = await store.read(lambda rows: (rows.origins.latest(), rows.stream.ends()))
    if seen is not None and seen.topic_id != _TABLE:
        opened = Origin(seen.generation + 1, _TABLE, _TABLE, at_us, HOME)
        await open_generation(store, seen, opened, lambda _now: ends, entry)
