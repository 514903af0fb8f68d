"""Quotas of a unit: pure buckets, and what of a bundle finds room."""

import pytest

from broker.quota import BYTES, CALLS, SUBMISSIONS, Bucket, Limits, Quotas
from schemas.errors import HandslagError

UNIT, OTHER = "SOC/EXEMPEL/KONSULT", "POL/EXEMPEL/SYD"


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def spent(quotas, unit, name):
    """Calls until one is refused."""
    for count in range(100_000):
        try:
            if quotas.call(unit, name):
                return count, None
        except HandslagError as error:
            return count, error
    raise AssertionError("never refused")


def test_a_bucket_fills_with_time_and_never_over_its_size():
    bucket = Bucket(2.0, 10.0, 0.0)
    bucket.take(10)
    assert bucket.missing_s(1, 0.0) == 0.5
    assert bucket.missing_s(1, 0.5) == 0
    assert bucket.missing_s(10, 1000.0) == 0
    assert bucket.missing_s(11, 1000.0) == 0  # more than it holds waits until it is full, and leaves a debt
    bucket.take(11)
    assert bucket.missing_s(1, 1000.0) == 1.0
    assert bucket.missing_s(1, 0.0) == 1.0  # a clock that runs back fills nothing


def test_one_unit_over_its_quota_takes_nothing_from_another(clock):
    told = []
    quotas = Quotas(Limits(calls_per_second=3), clock, told.append)
    count, error = spent(quotas, UNIT, "proofs")
    assert (count, error.code, error.retry_after_s, told) == (30, "HS-QUOTA", 1, [CALLS])
    assert quotas.call(OTHER, "proofs") is False
    clock.now += 1
    assert spent(quotas, UNIT, "units")[0] == 3


def test_calls_that_may_be_urgent_go_on_with_the_reserve_and_give_it_back(clock):
    quotas = Quotas(Limits(calls_per_second=1, urgent_per_minute=10), clock)
    assert spent(quotas, UNIT, "proofs")[0] == 10
    for _ in range(50):
        assert quotas.call(UNIT, "submit") is True
        assert quotas.not_urgent(UNIT).code == "HS-QUOTA"  # nothing reserved in it: the reserve is whole again
    for _ in range(10):
        assert quotas.call(UNIT, "consents") is True
    with pytest.raises(HandslagError, match="HS-QUOTA"):  # the reserve is bounded too
        quotas.call(UNIT, "consents")


def test_all_of_a_bundle_or_nothing(clock):
    quotas = Quotas(Limits(submissions_per_minute=10, bytes_per_minute=1000), clock)
    with pytest.raises(HandslagError):
        quotas.take(UNIT, {SUBMISSIONS: 5, BYTES: 900}) or quotas.take(UNIT, {SUBMISSIONS: 5, BYTES: 900})
    quotas.take(UNIT, {SUBMISSIONS: 5, BYTES: 100})  # the refused one took no submissions either
    with pytest.raises(HandslagError) as caught:
        quotas.take(UNIT, {SUBMISSIONS: 1, BYTES: 1})
    assert caught.value.retry_after_s == 6


def test_a_node_that_starts_anew_refuses_nothing_for_what_was_before(clock):
    limits = Limits(calls_per_second=1)
    spent(Quotas(limits, clock), UNIT, "proofs")
    assert Quotas(limits, clock).call(UNIT, "proofs") is False
