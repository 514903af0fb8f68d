"""What the broker tells of its own state: what waits, how late the evidence is; and a look that fails harms nobody."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

import pytest

from audit.checkpoint import Checkpoint
from broker.hold import RESTORED, Keeper, Seen
from broker.lookout import Surroundings, look
from schemas.errors import HandslagError
from tests.gateway.support import settings_for
from tests.promises.case import event, grant, ready
from tests.site import ORIGIN, START


@pytest.fixture
async def site(tmp_path):
    site = await ready(tmp_path)
    yield site
    site.close()


def told(site, name):
    return float(re.search(rf"^handslag_{name} (\S+)$", site.context.metrics.render().decode(), re.MULTILINE)[1])


def surroundings(site, tmp_path, *, contradicted=False):
    return Surroundings(site.context, settings_for(tmp_path, tmp_path / "broker"), lambda: contradicted)


async def test_what_is_not_decided_and_what_is_not_fetched_are_seen_with_their_age(site):
    await grant(site)
    await look(site.context)
    assert (told(site, "stream_submissions"), told(site, "deliveries_pending")) == (0, 0)
    await site.submit(site.police, event(site))
    site.clock.us += 90_000_000
    await look(site.context)
    assert told(site, "stream_submissions") == 1
    assert 90 <= told(site, "stream_oldest_age_seconds") < 91
    await site.decide()
    site.clock.us += 30_000_000
    await look(site.context)
    assert (told(site, "stream_submissions"), told(site, "stream_oldest_age_seconds")) == (0, 0)
    assert told(site, "deliveries_pending") == 1
    assert 30 <= told(site, "delivery_oldest_pending_age_seconds") < 31


async def test_what_waits_for_the_probe_is_nobody_who_waits(site):
    await grant(site)
    await site.submit(site.police, event(site))
    await site.decide()
    rows = site.context.directory.all()
    site.context.directory.replace(replace(row, probe=row.unit == site.lead.code) for row in rows)
    await look(site.context)
    assert told(site, "deliveries_pending") == 0
    site.context.directory.replace(rows)
    await look(site.context)
    assert told(site, "deliveries_pending") == 1  # positive control


async def test_entries_that_nobody_seals_grow_old(site, tmp_path):
    site.clock.us += 200_000_000
    await surroundings(site, tmp_path).look()
    assert told(site, "trail_unsealed_entries") > 0
    assert told(site, "trail_oldest_unsealed_age_seconds") >= 200
    assert told(site, "disk_free_bytes") > 0
    assert told(site, "store_bytes") > 0
    assert told(site, "log_contradicted") == 0
    await surroundings(site, tmp_path, contradicted=True).look()
    assert told(site, "log_contradicted") == 1


async def test_the_most_silent_unit_and_the_clock_that_is_off_are_seen_but_not_named(site, tmp_path):
    codes = [row.unit for row in site.context.directory.all()]
    site.clock.us = START + 10_000_000_000
    for code in codes[:-1]:
        site.context.contacts.note(code, site.clock.us, "0.1.0", site.clock.us)
    site.context.contacts.note(codes[-1], site.clock.us - 120_000_000, "0.1.0", site.clock.us)
    await surroundings(site, tmp_path).look()
    assert 120 <= told(site, "unit_longest_silence_seconds") < 121
    assert told(site, "clock_offset_largest_seconds") == 120
    assert told(site, "clock_offset_middle_seconds") == 0
    text = site.context.metrics.render().decode()
    assert not any(code in text for code in codes)


async def test_an_admission_that_cannot_be_read_does_not_end_the_broker(site, tmp_path):
    folder = tmp_path / "broker/admissions"
    folder.mkdir()
    (folder / "x.json").write_text("{")
    outside = surroundings(site, tmp_path)
    with pytest.raises(HandslagError):
        await outside.look()
    with pytest.raises(TimeoutError):  # it goes on until it is told to stop
        await asyncio.wait_for(outside.run(), 0.5)


async def test_seats_that_are_held_after_a_restore_are_counted(site, tmp_path):
    await surroundings(site, tmp_path).look()
    assert told(site, "held_seats") == 0
    head = await site.store.read(lambda rows: rows.log.head())
    await Keeper(site.context).begin(RESTORED, Seen(1, Checkpoint(ORIGIN, *head)))
    await surroundings(site, tmp_path).look()
    assert told(site, "held_seats") == 3
