"""Where nothing is wrong, the doctor says so."""

from __future__ import annotations

import pytest

from schemas.faults import faults
from tests.doctor.sampled import sampled
from tests.doctor.sound import WELL


@pytest.mark.parametrize("name", sampled(WELL, slow={"connector running", "connector many cases"}))
def test_no_false_alarm_on_a_sound_set_up(site, name):
    found = WELL[name].examined(site)
    assert (found.faults, found.follow, found.code) == (frozenset(), frozenset(), 0), found.text
    assert not [code for code in found.notices if faults()[code].counts]


def test_there_are_twenty_sound_set_ups():
    assert len(WELL) >= 20
