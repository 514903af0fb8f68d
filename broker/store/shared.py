"""What several nodes on one Store agree by: a number that moves, leases, who is there, and the operator's files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, or_, select, update

from broker.store.cipher import ColumnCipher
from broker.store.shared_tables import lease, node, shared_file, shared_version
from broker.store.tables import bucket, head

_ONLY = 1  # the number has one row
_LONGEST_US = 30_000_000  # ten times any lease


class FileMoved(Exception):  # noqa: N818 - an answer, not a fault: read the file again
    """Another node has changed the file since: nothing of this transaction may be written."""


@dataclass(frozen=True, slots=True)
class State:
    """What a node compares at every call: the number of the last change, the committed size of the log in leaves."""

    number: int
    log_size: int


@dataclass(frozen=True, slots=True)
class NodeRow:
    """One node: since when it runs, when it was last there (microseconds), its version, whether it takes buckets."""

    node_id: str
    started_at_us: int
    seen_at_us: int
    version: str
    takes: bool


@dataclass(frozen=True, slots=True)
class LeaseRow:
    """Who holds a lease, and until when (microseconds)."""

    name: str
    holder: str
    until_us: int


def moved(connection: Connection) -> None:
    """Raise the number, in the transaction of a change that nodes hold in memory."""
    # INVARIANT: test_every_change_that_nodes_hold_in_memory_moves_the_number
    connection.execute(update(shared_version).values(number=shared_version.c.number + 1))


class SharedRows:
    """Verbs on `shared_version`, `shared_file`, `lease` and `node`."""

    def __init__(self, connection: Connection, cipher: ColumnCipher) -> None:
        self._c = connection
        self._cipher = cipher

    def state(self) -> State:
        """The number and the size of the log, in one statement."""
        row = self._c.execute(
            select(shared_version.c.number, head.c.size).where(shared_version.c.id == head.c.id, head.c.id == _ONLY)
        ).one()
        return State(row.number, row.size)

    def moved(self) -> None:
        """Raise the number."""
        moved(self._c)

    # --- files

    def versions(self) -> dict[str, int]:
        """Version by name of every file."""
        rows = self._c.execute(select(shared_file.c.name, shared_file.c.version))
        return {self._cipher.code("shared_file", row.name): row.version for row in rows}

    def files(self, names: Iterable[str]) -> dict[str, tuple[int, bytes]]:
        """(version, content) of those of these files that there are."""
        wanted = {self._cipher.handle("shared_file", name): name for name in names}
        rows = self._c.execute(select(shared_file).where(shared_file.c.name.in_(list(wanted))))
        return {wanted[row.name]: (row.version, self._cipher.open("shared_file.content", row.content)) for row in rows}

    def put_file(self, name: str, content: bytes, seen: int) -> int:
        """Compare-and-set: keep a file whose version is still `seen` (0: there is none); returns its new version.

        Raises FileMoved.
        """
        # INVARIANT: test_two_nodes_never_write_over_each_others_files
        of, sealed = self._cipher.handle("shared_file", name), self._cipher.seal("shared_file.content", content)
        if seen:
            done = self._c.execute(
                update(shared_file)
                .where(shared_file.c.name == of, shared_file.c.version == seen)
                .values(version=seen + 1, content=sealed)
            )
            if done.rowcount != 1:
                raise FileMoved
        elif self._c.execute(select(shared_file.c.name).where(shared_file.c.name == of)).first() is not None:
            raise FileMoved
        else:
            self._c.execute(insert(shared_file).values(name=of, version=1, content=sealed))
        self.moved()
        return seen + 1

    # --- leases

    def take(self, name: str, holder: str, now_us: int, until_us: int) -> bool:
        """Take a lease that is free, over, or one's own, until a moment; returns whether the holder has it.

        The rows are there from the start: see the migration.
        """
        # INVARIANT: test_a_lease_is_held_by_one_until_it_is_over
        # One that lasts too long was written before the server's clock was set back, and would be nobody's for as long.
        over = or_(lease.c.until_us <= now_us, lease.c.until_us > now_us + _LONGEST_US)
        mine = or_(lease.c.holder == holder, over)
        done = self._c.execute(update(lease).where(lease.c.name == name, mine).values(holder=holder, until_us=until_us))
        return done.rowcount == 1

    def give_back(self, name: str, holder: str) -> None:
        """End a lease that the holder has; another's stays."""
        self._c.execute(update(lease).where(lease.c.name == name, lease.c.holder == holder).values(until_us=0))

    def lease(self, name: str) -> LeaseRow | None:
        """Who holds a lease or held it last, None before the first."""
        row = self._c.execute(select(lease).where(lease.c.name == name)).one_or_none()
        return None if row is None else LeaseRow(*row)

    # --- nodes

    def here(self, row: NodeRow) -> None:
        """A node is there."""
        values = {name: getattr(row, name) for name in NodeRow.__slots__}
        done = self._c.execute(update(node).where(node.c.node_id == row.node_id).values(values))
        if done.rowcount != 1:
            self._c.execute(insert(node).values(values))

    def gone(self, before_us: int) -> int:
        """Forget nodes that were last there before a moment; returns how many."""
        return self._c.execute(delete(node).where(node.c.seen_at_us < before_us)).rowcount

    def gone_node(self, node_id: str) -> None:
        """Forget one node, which ends."""
        self._c.execute(delete(node).where(node.c.node_id == node_id))

    def nodes(self) -> list[NodeRow]:
        """Every node that was ever there and is not forgotten, by id."""
        return [NodeRow(*row) for row in self._c.execute(select(node).order_by(node.c.node_id))]

    def positions(self, buckets: Iterable[int]) -> dict[int, int]:
        """Next stream position of these buckets."""
        rows = self._c.execute(
            select(bucket.c.bucket, bucket.c.next_position).where(bucket.c.bucket.in_(list(buckets)))
        )
        return {row.bucket: row.next_position for row in rows}
