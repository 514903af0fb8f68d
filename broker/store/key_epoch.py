"""Under which epoch of the root key the keys of several nodes are wrapped, and which node still holds an older one.

The epoch is a row of `seat_key` that is nobody's, so that every copy of the keys has it. Whoever makes a key locks that
row for sharing and wraps under its number; who destroys one raises it in the same transaction. So no key under an
older epoch comes after it has risen, and once every row was wrapped again the older root key may go.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from broker.store.keyport import ERASED, SEAT_KEY, Holder, OwnerKind, checked_owner, of, unwrapped, wrapped
from broker.store.rootkey import RootKey
from broker.store.shared_tables import key_holder

PIECE = 50
"""Rows wrapped again in one transaction: some milliseconds, for which nobody destroys a key."""
BEGINNING = ("", b"")
_OWN = of((OwnerKind.EPOCH, b""))
_KEYS = SEAT_KEY.c.owner_kind != OwnerKind.EPOCH.value
_NOW_US = sa.text("trunc(extract(epoch FROM clock_timestamp()) * 1000000)::bigint")


def begin(connection: sa.Connection, root: RootKey) -> None:
    """Make the row of the epoch where there is none yet, above that of every key that was destroyed here before."""
    if connection.execute(sa.select(SEAT_KEY.c.epoch).where(_OWN)).first() is not None:
        return
    newest = connection.execute(sa.select(sa.func.max(SEAT_KEY.c.epoch))).scalar()
    erased = connection.execute(sa.select(SEAT_KEY.c.epoch).where(SEAT_KEY.c.epoch == ERASED).limit(1)).first()
    epoch = root.epoch if newest is None else max(newest, 1) + (erased is not None)
    row = {"owner_kind": OwnerKind.EPOCH.value, "owner_id": b"", "epoch": epoch, "wrapped": b""}
    connection.execute(insert(SEAT_KEY).values(row).on_conflict_do_nothing())


def shared(connection: sa.Connection) -> int:
    """The epoch, which does not rise before this transaction ends."""
    return int(connection.execute(sa.select(SEAT_KEY.c.epoch).where(_OWN).with_for_update(read=True)).scalar_one())


def present(connection: sa.Connection) -> int:
    """The epoch at this moment."""
    return int(connection.execute(sa.select(SEAT_KEY.c.epoch).where(_OWN)).scalar_one())


def rise(connection: sa.Connection) -> None:
    """Raise the epoch; waits for every transaction that makes a key under the present one."""
    connection.execute(sa.update(SEAT_KEY).where(_OWN).values(epoch=SEAT_KEY.c.epoch + 1))


def wrapped_again(
    connection: sa.Connection, root: RootKey, after: tuple[str, bytes] = BEGINNING
) -> tuple[int, tuple[str, bytes] | None]:
    """Wrap some keys of owners `after` one that are under an older epoch again; returns the epoch and the last of them.

    None for the last, when it looked from the beginning, means that there never will be one again. Raises
    HS-KEYS-UNREADABLE for a key that does not open.
    """
    # INVARIANT: test_a_key_made_while_the_epoch_rises_is_not_lost
    epoch, owner = shared(connection), (SEAT_KEY.c.owner_kind, SEAT_KEY.c.owner_id)
    older = sa.and_(_KEYS, SEAT_KEY.c.epoch < epoch, SEAT_KEY.c.epoch != ERASED, sa.tuple_(*owner) > after)
    found = connection.execute(sa.select(SEAT_KEY).where(older).order_by(*owner).limit(PIECE).with_for_update()).all()
    made: list[dict[str, Any]] = []
    for row in found:
        of_row = checked_owner(row.owner_kind, row.owner_id)
        keys = unwrapped(root, of_row, row.epoch, row.wrapped)
        made.append({"kind": row.owner_kind, "id": row.owner_id, "now": wrapped(root, of_row, keys, epoch)})
    if not made:
        return epoch, None
    same = (SEAT_KEY.c.owner_kind == sa.bindparam("kind")) & (SEAT_KEY.c.owner_id == sa.bindparam("id"))
    connection.execute(sa.update(SEAT_KEY).where(same).values(epoch=epoch, wrapped=sa.bindparam("now")), made)
    return epoch, (made[-1]["kind"], made[-1]["id"])


def holds(connection: sa.Connection, node: str, epoch: int) -> None:
    """Note the oldest epoch whose root key a node has."""
    now = {"epoch": epoch, "at_us": _NOW_US}
    row = insert(key_holder).values(node_id=node, **now)
    connection.execute(row.on_conflict_do_update(index_elements=["node_id"], set_=now))


def holding(connection: sa.Connection) -> list[Holder]:
    """Nodes whose root key is older than the epoch, by id."""
    epoch = present(connection)
    rows = connection.execute(sa.select(key_holder).where(key_holder.c.epoch < epoch).order_by(key_holder.c.node_id))
    return [Holder(row.node_id, row.at_us) for row in rows]


def retired(connection: sa.Connection, node: str) -> bool:
    """Forget a node; whether it was known."""
    return connection.execute(sa.delete(key_holder).where(key_holder.c.node_id == node)).rowcount > 0
