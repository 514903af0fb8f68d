"""Looking at the topic of submissions and making it, on the servers of Apache Kafka."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    KafkaError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    for_code,
)

from broker.engine_settings import StreamSettings
from broker.stream import acls
from broker.stream.kafka_clients import admin_options, tls_context
from broker.stream.kafka_topic import described, rights_on
from broker.stream.topic import Found, Wanted
from schemas.errors import HandslagError

_ANSWER_S = 20.0
_SEEN_S = 10.0  # a topic that was just made is known to every server within this
_REFUSED = (ClusterAuthorizationFailedError, TopicAuthorizationFailedError)


async def look(settings: StreamSettings) -> Found | None:
    """The topic as the servers describe it to this certificate; None when there is none to see.

    Raises `HS-STREAM-AWAY`, `HS-STREAM-FORBIDDEN`, `HS-SETTINGS-INVALID`.
    """
    async with _asked(settings) as admin:
        return await _found(admin, settings.topic)


async def missing_rights(settings: StreamSettings) -> tuple[str, ...]:
    """Those rights of a node on its topic that this certificate has not, as `kafka-acls.sh` names them.

    All of them where Kafka names it no such topic: who has any right knows its topic. Raises as `look`.
    """
    async with _asked(settings) as admin:
        has = await rights_on(admin._client, settings.topic)
    return tuple(name for name in acls.OPERATIONS if name not in has)


async def make(settings: StreamSettings, must: Wanted) -> Found:
    """Make the topic and return it as the servers then describe it; somebody else may have made it meanwhile.

    Raises `HS-STREAM-AWAY`, `HS-STREAM-FORBIDDEN`, `HS-STREAM-COPIES` when there are fewer servers than copies.
    """
    new = NewTopic(must.name, must.partitions, must.replication_factor, topic_configs=dict(must.configs))
    async with _asked(settings) as admin:
        answer = await admin.create_topics([new], timeout_ms=int(_ANSWER_S * 1000))
        error = for_code(answer.topic_errors[0][1])
        if error.errno and error is not TopicAlreadyExistsError:
            if error.__name__ == "InvalidReplicationFactorError":
                raise HandslagError("HS-STREAM-COPIES")
            raise error
        async with asyncio.timeout(_SEEN_S):
            while True:
                found = await _found(admin, must.name)
                if found is not None and len(found.copies) and not found.leaderless:
                    return found
                await asyncio.sleep(0.1)


async def _found(admin: Any, topic: str) -> Found | None:
    seen = await described(admin._client, topic)
    if seen is None:
        return None
    topic_id, partitions = seen
    (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    (code, _message, _kind, _name, entries), *_ = answer.resources
    if code:
        raise for_code(code)
    return Found(
        topic_id=topic_id,
        copies=tuple(len(each.replicas) for each in partitions),
        in_sync=tuple(len(each.in_sync) for each in partitions),
        leaderless=sum(each.leader < 0 for each in partitions),
        configs={entry[0]: entry[1] or "" for entry in entries},
    )


@asynccontextmanager
async def _asked(settings: StreamSettings) -> AsyncIterator[Any]:
    """A client for one question; whatever goes wrong has a code of ours."""
    admin = AIOKafkaAdminClient(**admin_options(settings, tls_context(settings)))
    try:
        async with asyncio.timeout(_ANSWER_S):
            await admin.start()
            yield admin
    except _REFUSED:
        raise HandslagError("HS-STREAM-FORBIDDEN") from None
    except (KafkaError, OSError, TimeoutError, ssl.SSLError):
        raise HandslagError("HS-STREAM-AWAY") from None
    finally:
        await admin.close()
