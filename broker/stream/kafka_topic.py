"""Which topic this is: its id (KIP-516), which a topic deleted and made anew under the same name does not share.

aiokafka's own metadata request is older than topic ids, so version 12 of it stands here (Kafka protocol, API key 3).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from aiokafka.errors import TopicAuthorizationFailedError
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    AbstractType,
    Array,
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

_NO_ID = bytes(16)
_OPERATIONS = {"Read": 3, "Write": 4, "Delete": 6, "DescribeConfigs": 10}  # Kafka's AclOperation, a bit of the answer


class _Uuid(AbstractType[bytes]):  # type: ignore[misc]
    @classmethod
    def decode(cls, data: Any) -> bytes:
        return bytes(data.read(16))

    @classmethod
    def encode(cls, value: bytes) -> bytes:
        return value


def _list(*fields: tuple[str, Any]) -> Array:
    return CompactArray(*fields)


class _MetadataResponse(Response):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 12
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            _list(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            _list(
                ("error_code", Int16),
                ("name", CompactString("utf-8")),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    _list(
                        ("error_code", Int16),
                        ("index", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("in_sync", CompactArray(Int32)),
                        ("offline", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _Metadata(RequestStruct):  # type: ignore[misc]
    FLEXIBLE_VERSION = True
    API_KEY = 3
    API_VERSION = 12
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        ("topics", _list(("topic_id", _Uuid), ("name", CompactString("utf-8")), ("tags", TaggedFields))),
        ("allow_auto_topic_creation", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _MetadataRequest(Request[_Metadata]):  # type: ignore[misc]
    API_KEY = 3

    def __init__(self, topic: str, *, rights: bool = False) -> None:
        self._topic, self._rights = topic, rights

    def build(self, request_struct_class: type[_Metadata]) -> _Metadata:
        return request_struct_class([(_NO_ID, self._topic, {})], False, self._rights, {})


class Partition(NamedTuple):
    """One partition: its leader (-1 for none), who keeps copies, and who of them is in sync; ids of servers."""

    leader: int
    replicas: tuple[int, ...]
    in_sync: tuple[int, ...]


async def described(client: Any, topic: str) -> tuple[bytes, list[Partition]] | None:
    """(id of 16 bytes, its partitions) of a topic as any server knows it; None when there is none.

    `client` is aiokafka's; raises its errors, TopicAuthorizationFailedError when this certificate may not know.
    """
    answer = await client.send(client.get_random_node(), _MetadataRequest(topic))
    for code, name, topic_id, _internal, partitions, *_ in answer.topics:
        if code == TopicAuthorizationFailedError.errno:
            raise TopicAuthorizationFailedError
        if name == topic and topic_id != _NO_ID:
            return bytes(topic_id), [Partition(each[2], tuple(each[4]), tuple(each[5])) for each in partitions]
    return None


async def topic_of(client: Any, topic: str) -> tuple[bytes, list[Partition]] | None:
    """As `described`; None also when this certificate may not know whether there is such a topic."""
    try:
        return await described(client, topic)
    except TopicAuthorizationFailedError:
        return None


async def rights_on(client: Any, topic: str) -> frozenset[str]:
    """Those of `acls.OPERATIONS` that this certificate has on the topic (KIP-430); none where there is no topic."""
    answer = await client.send(client.get_random_node(), _MetadataRequest(topic, rights=True))
    has = next((operations for _code, name, _id, _in, _parts, operations, *_ in answer.topics if name == topic), 0)
    return frozenset(name for name, number in _OPERATIONS.items() if has >> number & 1)
