"""What a node holds in memory and another node may have changed: contacts, what a connector surely has seen."""

from broker import instances
from broker.contacts import Contacts, heard_elsewhere, kept
from tests.site import Site

MINUTE_US = 60_000_000


async def test_a_unit_that_calls_another_node_is_not_silent(tmp_path):
    site = Site(tmp_path)
    unit = site.police.code
    here, there = Contacts(), Contacts()
    here.note(unit, MINUTE_US, "0.1.0", None)
    there.note(unit, 9 * MINUTE_US, "0.1.0", None)
    assert await kept(site.store, there) == await kept(site.store, here) == 1  # the earlier one is written last
    await heard_elsewhere(site.store, here)
    assert here.of(unit).at_us == 9 * MINUTE_US
    assert here.longest_silence_s([(unit, 0)], 10 * MINUTE_US) == 60
    assert here.changed() == []  # what another node wrote is not written again
    site.close()


async def test_a_copy_at_another_node_is_refused_within_minutes(tmp_path):
    site = Site(tmp_path)
    await site.admit()
    clock, unit = [0.0], site.police.code
    here, there = (instances.Shown(site.store, lambda: clock[0]) for _ in range(2))
    assert await there.check(unit, 10)  # the copy, at the node that has not seen the other one
    assert await here.check(unit, 100)
    clock[0] += 2 * instances.SURE_S
    assert await here.check(unit, 101)  # 100 is sure by now, and durable
    assert not await there.check(unit, 10)
    site.close()


async def test_an_older_instance_makes_nothing_durable(tmp_path):
    site = Site(tmp_path)
    await site.admit()
    clock, unit = [0.0], site.police.code
    shown = instances.Shown(site.store, lambda: clock[0])
    assert await shown.check(unit, 100, 0)
    await site.store.write(lambda rows: rows.units.raise_instance(unit, 2))  # at another node
    clock[0] += 2 * instances.SURE_S
    assert await shown.check(unit, 101, 0)
    assert (await site.store.read(lambda rows: rows.instances.memory(unit))).seen_size == 0
    site.close()
