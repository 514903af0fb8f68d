"""The stream's sentences of `checks.py` on Apache Kafka, with the real server."""

import pytest

from broker.store.sqlite import SqliteStore
from tests.contract.checks import CHECKS, Bench
from tests.stream.conftest import node, place, topic  # noqa: F401 - fixtures

STREAM = (
    "the_stream_keeps_the_order_of_a_bucket",
    "positions_are_gap_free_whoever_appends",
    "trimmed_records_are_gone_and_positions_go_on",
    "what_is_appended_wakes_who_waits",
)


@pytest.mark.parametrize("name", STREAM)
async def test_kafka_keeps_the_contract_of_the_stream(place, node, name):  # noqa: F811
    store = place.store
    bench = Bench(store, node, store.path, lambda: SqliteStore(store.path, store._cipher))
    await CHECKS[name](bench)
