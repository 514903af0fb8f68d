"""Before a new seat key is published: it must not exist on one disk only."""

from __future__ import annotations

from connectors.context import Context


async def kept(ctx: Context) -> None:
    """Return once a backup that holds every key of this connector is durable.

    Returns at once while no backup is set up: the key lies in the connector's own file, durable there before this.
    """
    _ = ctx
