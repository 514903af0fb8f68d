"""Who works on which bucket, among nodes that share a Store: a hint for speed, never a right.

Rendezvous hashing: each bucket goes to the live node with the highest hash, so that a node that comes or goes moves
only the buckets that are its own. Whoever is wrong about who is there wastes work and harms nothing, because the gate
decides what is committed. A bucket of another node whose position stands still while something waits in it is taken
as well: that node may be there and do nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from hashlib import sha256

from broker.store.shared import NodeRow

LIVE_US = 3_000_000  # a node that was not seen for as long is not counted on
STUCK_S = 2.0


def owner(bucket: int, nodes: Collection[str]) -> str | None:
    """The node that a bucket goes to, None when there is none."""
    # INVARIANT: test_a_node_that_leaves_moves_only_its_own_buckets
    return max(nodes, key=lambda node_id: sha256(f"{bucket}/{node_id}".encode()).digest(), default=None)


def live(rows: Iterable[NodeRow], now_us: int) -> frozenset[str]:
    """Nodes that were seen lately and take buckets; a moment to come is one before the server's clock was set back."""
    return frozenset(row.node_id for row in rows if row.takes and abs(row.seen_at_us - now_us) < LIVE_US)


class Share:
    """This node's part of the buckets; used from one task."""

    def __init__(self, node_id: str) -> None:
        self._node_id = node_id
        self._nodes: frozenset[str] = frozenset({node_id})
        self._stood: dict[int, tuple[int, float]] = {}

    @property
    def nodes(self) -> frozenset[str]:
        """The live nodes, this one among them."""
        return self._nodes

    def among(self, nodes: Collection[str]) -> None:
        """Who is there now."""
        self._nodes = frozenset(nodes) | {self._node_id}

    def mine(self, waiting: Iterable[int]) -> list[int]:
        """Those of these buckets that go to this node, in order."""
        return sorted(bucket for bucket in waiting if owner(bucket, self._nodes) == self._node_id)

    def stuck(self, positions: Mapping[int, int], now_s: float) -> list[int]:
        """Buckets of other nodes in which something waits and whose position has stood still for `STUCK_S`.

        `positions` are the next stream positions of all buckets of other nodes that hold something.
        """
        # INVARIANT: test_a_bucket_that_nobody_works_on_is_taken
        before, self._stood = self._stood, {}
        found = []
        for bucket, position in sorted(positions.items()):
            at, since_s = before.get(bucket, (position, now_s))
            since_s = since_s if at == position else now_s
            self._stood[bucket] = (position, since_s)
            if now_s - since_s >= STUCK_S:
                found.append(bucket)
        return found
