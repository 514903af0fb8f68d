"""How the clients of Apache Kafka are set up: every parameter said, none left to a default.

A test compares these dictionaries with the signatures of aiokafka, so that a parameter that comes with a new version
is looked at before it is used. Numbers have their reason beside them; names that end in `_ms` are milliseconds.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from cryptography import x509

from broker.engine_settings import StreamSettings
from broker.transit import OVERHEAD
from schemas import limits
from schemas.errors import HandslagError

RECORD = limits.SUBMISSION + limits.CALL + OVERHEAD  # the largest record of the stream, encrypted
BATCH = 256 * 1024  # records written as one; a larger record goes by itself
REQUEST = 2 * 1024 * 1024  # a record with all that Kafka puts around it; also what the topic must take
FETCH = 1024 * 1024  # of one bucket at once: what a batch of decisions is made of; one larger record still comes
FETCH_ALL = 8 * 1024 * 1024  # of all buckets at once: bounds memory, not progress
REQUEST_MS = 5_000  # one request; a submission that waits longer is not recorded, and the connector comes again
METADATA_MS = 30_000  # how long a moved leader may go unnoticed while nothing fails
BACKOFF_MS = 100
IDLE_MS = 540_000  # below the servers' own ten minutes
CLIENT = "handslag"

# Parameters that are not given, with the reason; a test finds every other one below.
UNSAID: Mapping[str, str] = MappingProxyType(
    {
        "loop": "deprecated: the running loop",
        "api_version": "deprecated: agreed on for each connection",
        "sasl_mechanism": "nobody logs in with a password: certificates only",
        "sasl_plain_username": "as sasl_mechanism",
        "sasl_plain_password": "as sasl_mechanism",
        "sasl_kerberos_service_name": "as sasl_mechanism",
        "sasl_kerberos_domain_name": "as sasl_mechanism",
        "sasl_oauth_token_provider": "as sasl_mechanism",
        "topics": "the consumer is assigned its partitions and subscribes to nothing",
    }
)


def tls_context(settings: StreamSettings) -> ssl.SSLContext | None:
    """TLS 1.3 with the node's own certificate and the servers' names checked; None for servers on this machine.

    Raises `HS-SETTINGS-INVALID` naming the setting.
    """
    if settings.ca_file is None or settings.certificate_file is None or settings.key_file is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_verify_locations(cafile=settings.ca_file)
    except (OSError, ValueError):
        raise HandslagError("HS-SETTINGS-INVALID", field="stream.ca_file") from None
    try:
        context.load_cert_chain(settings.certificate_file, settings.key_file)
    except (OSError, ValueError):
        raise HandslagError("HS-SETTINGS-INVALID", field="stream.certificate_file") from None
    return context


def certificate_ends_s(settings: StreamSettings) -> float:
    """When the node's own certificate for Kafka ends, seconds since 1970; 0 without one.

    Raises `HS-SETTINGS-INVALID` naming the setting.
    """
    if settings.certificate_file is None:
        return 0.0
    try:
        return x509.load_pem_x509_certificate(settings.certificate_file.read_bytes()).not_valid_after_utc.timestamp()
    except (OSError, ValueError):
        raise HandslagError("HS-SETTINGS-INVALID", field="stream.certificate_file") from None


def _shared(settings: StreamSettings, tls: ssl.SSLContext | None) -> dict[str, Any]:
    return {
        "bootstrap_servers": list(settings.bootstrap),
        "client_id": CLIENT,
        "metadata_max_age_ms": METADATA_MS,
        "request_timeout_ms": REQUEST_MS,
        "retry_backoff_ms": BACKOFF_MS,
        "connections_max_idle_ms": IDLE_MS,
        "security_protocol": "PLAINTEXT" if tls is None else "SSL",
        "ssl_context": tls,
    }


def producer_options(settings: StreamSettings, tls: ssl.SSLContext | None) -> Mapping[str, Any]:
    """For `AIOKafkaProducer`: acknowledged by all replicas in sync, and no record twice or out of order by a repeat."""
    return MappingProxyType(
        _shared(settings, tls)
        | {
            "acks": "all",
            "enable_idempotence": True,
            "compression_type": None,  # ciphertext does not shrink
            "max_batch_size": BATCH,
            "max_request_size": REQUEST,
            "linger_ms": 0,  # the driver makes whole batches itself
            "key_serializer": None,  # there is no key: no case and no seat is named
            "value_serializer": None,
            "partitioner": None,  # the bucket is always said
            "transactional_id": None,  # the position lies in the Store: safety does not rest on Kafka's transactions
            "transaction_timeout_ms": 60_000,
        }
    )


def consumer_options(settings: StreamSettings, tls: ssl.SSLContext | None) -> Mapping[str, Any]:
    """For `AIOKafkaConsumer`: no group, no offset kept in Kafka, and none invented when the log lacks one."""
    return MappingProxyType(
        _shared(settings, tls)
        | {
            "group_id": None,
            "group_instance_id": None,
            "auto_offset_reset": "none",  # a position outside the log is a lost stream, not a place to begin
            "enable_auto_commit": False,
            "isolation_level": "read_committed",
            "key_deserializer": None,
            "value_deserializer": None,
            "fetch_max_wait_ms": 50,  # a partition that was just emptied waits for the request under way
            "fetch_min_bytes": 1,
            "fetch_max_bytes": FETCH_ALL,
            "max_partition_fetch_bytes": FETCH,
            "max_poll_records": None,  # all that one request brought; the driver's own buffer takes it
            "check_crcs": True,
            "consumer_timeout_ms": 200,  # how often the fetching routine looks up by itself
            "client_rack": None,
            "exclude_internal_topics": True,
            # of groups, which do not exist here
            "auto_commit_interval_ms": 5_000,
            "partition_assignment_strategy": (),
            "max_poll_interval_ms": 300_000,
            "rebalance_timeout_ms": None,
            "session_timeout_ms": 10_000,
            "heartbeat_interval_ms": 3_000,
        }
    )


def admin_options(settings: StreamSettings, tls: ssl.SSLContext | None) -> Mapping[str, Any]:
    """For `AIOKafkaAdminClient`: deleting what was decided."""
    return MappingProxyType(_shared(settings, tls))
