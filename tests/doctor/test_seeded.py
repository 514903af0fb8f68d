"""Every planted fault is named, and nothing else is."""

from __future__ import annotations

import pytest

from schemas.faults import faults
from tests.doctor.sampled import sampled
from tests.doctor.seed import SEEDED, planted_codes
from tests.doctor.seed_stream import STREAM

SLOW = {
    "connector a connector that met a smaller log",
    "connector a broker put back with its anchor",
    "connector a host that says nothing",
    "connector a database of yesterday",
    "connector a second configuration on one data folder",
    "broker a store put back under a running broker",
    "broker a store put back under its anchor",
    "broker a broker that a connector contradicts",
    "broker a broker that hangs",
}


@pytest.mark.parametrize("name", sampled(SEEDED, SLOW))
def test_a_planted_fault_is_named_and_nothing_else(site, name):
    seeded = SEEDED[name]
    found = seeded.examined(site)
    assert found.faults == seeded.faults, found.text
    assert found.follow <= seeded.follow, found.text
    assert found.code == 1
    for secret in (str(site.folder), "EXEMPEL-CANARY", "PRIVATE KEY", "KONSULT", "exempel.invalid"):
        assert secret not in found.text


def test_every_fault_of_the_table_is_planted():
    assert {code for code, fault in faults().items() if fault.counts} == planted_codes() | STREAM
    assert len(planted_codes()) >= 20
