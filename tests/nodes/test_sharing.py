"""Who works on which bucket: every bucket has one worker, and a node that comes or goes moves no others."""

from hypothesis import given
from hypothesis import strategies as st

from broker.sharing import LIVE_US, STUCK_S, Share, live, owner
from broker.store.shared import NodeRow
from broker.store.tables import BUCKETS

NAMES = st.sets(st.text("0123456789abcdef", min_size=8, max_size=8), min_size=2, max_size=6)
ALL = range(BUCKETS)


@given(NAMES)
def test_every_bucket_goes_to_exactly_one_node(names):
    shares = [Share(name) for name in names]
    for share in shares:
        share.among(names)
    parts = [share.mine(ALL) for share in shares]
    assert sorted(bucket for part in parts for bucket in part) == list(ALL)


@given(NAMES)
def test_a_node_that_leaves_moves_only_its_own_buckets(names):
    leaves = sorted(names)[0]
    for bucket in ALL:
        before, after = owner(bucket, names), owner(bucket, names - {leaves})
        assert after == before or before == leaves


def test_the_buckets_are_spread():
    names = ["aaaaaaaa", "bbbbbbbb", "cccccccc", "dddddddd"]
    parts = [sum(owner(bucket, names) == name for bucket in ALL) for name in names]
    assert min(parts) >= 8


def test_a_node_alone_or_unsure_who_is_there_works_on_everything():
    share = Share("aaaaaaaa")
    assert share.mine(ALL) == list(ALL)
    share.among(())
    assert share.mine(ALL) == list(ALL)
    assert owner(1, ()) is None


def test_a_bucket_that_nobody_works_on_is_taken():
    share = Share("aaaaaaaa")
    assert share.stuck({3: 7, 5: 1}, 100.0) == []
    assert share.stuck({3: 7, 5: 2}, 100.0 + STUCK_S) == [3]  # 5 moves: somebody works on it
    assert share.stuck({3: 8, 5: 2}, 101.0 + STUCK_S) == []
    assert share.stuck({5: 2}, 100.0 + 2 * STUCK_S) == [5]
    assert share.stuck({3: 8}, 200.0) == []  # it was empty meanwhile


def test_who_was_not_seen_or_ends_is_not_counted_on():
    now = 10 * LIVE_US
    rows = [
        NodeRow("a", 0, now, "1", True),
        NodeRow("b", 0, now - LIVE_US, "1", True),
        NodeRow("c", 0, now, "1", False),
    ]
    assert live(rows, now) == {"a"}
    assert live(rows, now - 2 * LIVE_US) == frozenset()
