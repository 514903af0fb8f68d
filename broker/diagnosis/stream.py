"""What the doctor sees of a stream on Apache Kafka, with the node's own certificate: as `handslag stream check`."""

from __future__ import annotations

import asyncio

from broker.diagnosis.facts import StreamFacts
from broker.engine_settings import StreamSettings
from broker.stream import kafka_setup, topic
from schemas.errors import HandslagError


def seen(settings: StreamSettings) -> StreamFacts | None:
    """The topic and this node's rights on it; None where the stream lies in the Store. Changes nothing."""
    if settings.engine != "kafka":
        return None
    return asyncio.run(_seen(settings))


async def _seen(settings: StreamSettings) -> StreamFacts:
    missing: tuple[str, ...] = ()
    try:
        missing = await kafka_setup.missing_rights(settings)
        found = await kafka_setup.look(settings)
    except HandslagError as error:
        return StreamFacts(code=error.code, missing_rights=missing)
    if found is None:
        return StreamFacts(differs=("topic",))  # of rights on a topic that is not there Kafka says nothing
    return StreamFacts(
        differs=tuple(each.name for each in topic.differences(topic.wanted(settings), found)),
        missing_rights=missing,
        refusing_writes=sum(each < settings.min_insync_replicas for each in found.in_sync),
        leaderless=found.leaderless,
    )
