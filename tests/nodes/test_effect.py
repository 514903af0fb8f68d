"""What one node is told takes effect on the other at its next call: nothing is served from memory alone."""

import asyncio
import os
import time
from dataclasses import replace

import psycopg
import pytest

from audit.checkpoint import Checkpoint
from broker import admissions
from broker.actfiles import private_key, signed_by
from broker.anchor import Anchor
from broker.engine_settings import StoreSettings
from broker.hold import WITNESS, Seen
from broker.store import rootkey
from broker.store.erasures import BEGUN, ErasureRow
from schemas.admin import RULES
from schemas.errors import HandslagError
from tests.hold.test_node import beats, went_on
from tests.nodes.opened import POLICE, node, nodes, unit_row


@pytest.fixture
async def pair(tmp_path, migrated_database):
    async with nodes(tmp_path, migrated_database) as made:
        yield made


async def admitted(one):
    row = unit_row()
    await one.store.write(lambda rows: rows.units.put(row))
    return row


async def test_what_another_node_revoked_is_refused_here_at_the_next_call(pair):
    here, there = pair
    row = await admitted(there)
    assert await here.core.unit_of(row.certificate) == POLICE
    await there.core.revoke(POLICE)
    assert here.context.directory.unit_of(row.certificate) == POLICE  # memory alone would have served it
    assert await here.core.unit_of(row.certificate) is None


async def test_another_instance_that_another_node_took_counts_here(pair):
    here, there = pair
    row = await admitted(there)
    await here.core.unit_of(row.certificate)
    await here.core.seen(POLICE, 1, None)
    await there.store.write(lambda rows: rows.units.raise_instance(POLICE, 2))
    await here.core.unit_of(row.certificate)
    with pytest.raises(HandslagError, match="HS-INSTANCE-OLD"):
        await here.core.seen(POLICE, 1, None)


async def test_a_hold_begun_on_one_node_holds_the_other_and_the_log_goes_on_from_either(pair):
    here, there = pair
    await beats(there, 2)
    await here.sealer.follow()
    lost = Checkpoint(there.settings.origin, 10_000, os.urandom(32))
    await there.core.begin_hold(WITNESS, Seen(1, lost))
    with pytest.raises(HandslagError, match="HS-TRAIL-ROLLBACK"):
        await there.sealer.beat()
    await here.core.unit_of(b"x" * 32)
    assert here.core.keeper.silent
    assert await here.core.readiness() == ("HS-HOLD",)
    with pytest.raises(HandslagError, match="HS-TRAIL-ROLLBACK"):
        await here.sealer.beat()

    await here.core.begin_hold(WITNESS, Seen(1, replace(lost, size=10_001)))  # it keeps the newest that anybody showed
    holds = await there.store.read(lambda rows: rows.hold.active())
    assert holds.seen_size == 10_001

    await went_on(here, "the server was lost")
    await there.core.unit_of(b"x" * 32)
    assert not there.core.keeper.silent
    assert there.sealer.origin == here.sealer.origin == there.log.origin(2)
    size = await there.sealer.beat()
    assert await here.sealer.follow() == size
    assert here.sealer.known == there.sealer.known
    await there.core.begin_hold(WITNESS, Seen(1, lost))  # what was stated begins no second hold, at no node
    assert not there.core.keeper.silent


async def test_a_node_that_was_away_when_the_log_went_on_starts_with_it(tmp_path, migrated_database):
    async with nodes(tmp_path, migrated_database) as (here, there):
        away = there.settings
        await beats(here, 1)
        there.store.close()
        await here.core.begin_hold(WITNESS, Seen(1, Checkpoint(here.settings.origin, 10_000, os.urandom(32))))
        await went_on(here, "the server was lost")
        async with node(away) as back:
            assert back.sealer.origin == back.log.origin(2)
            assert await back.sealer.beat() > 0


async def test_a_store_behind_the_anchor_of_any_node_begins_a_hold(tmp_path, postgres, migrated_database):
    """A failover to a copy that lagged behind: the nodes go on running, and only one of them had seen the rest."""
    name = migrated_database["database"]
    async with nodes(tmp_path, migrated_database) as (here, there):
        await beats(there, 2)
        await here.sealer.follow()
        _closed(postgres, name)
        postgres.sql(f'CREATE DATABASE "{name}-lagged" OWNER handslag TEMPLATE "{name}"')
        await beats(here, 2)
        seen = here.sealer.known
        _closed(postgres, name)
        postgres.sql(f'ALTER DATABASE "{name}" RENAME TO "{name}-lost"')
        postgres.sql(f'ALTER DATABASE "{name}-lagged" RENAME TO "{name}"')
        with pytest.raises(HandslagError, match="HS-HOLD"):
            await here.core.unit_of(b"x" * 32)
        assert here.core.keeper.silent
        row = await there.store.read(lambda rows: rows.hold.active())
        assert (row.cause, row.seen_size) == ("ANCHOR", seen.size)
        assert not there.core.keeper.silent
        await there.core.unit_of(b"x" * 32)
        assert await there.core.readiness() == ("HS-HOLD",)
    postgres.drop(f"{name}-lost")


def _closed(postgres, name):
    """Every session ended, as by a server that is restarted."""
    postgres.sql(
        f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{name}'"
        " AND pid <> pg_backend_pid()"
    )


async def test_a_key_that_another_node_destroyed_is_forgotten_here(pair):
    here, there = pair
    seat_id = os.urandom(16)
    key = there.vault.create("SEAT", seat_id)
    assert here.vault.get("SEAT", seat_id) == key
    there.vault.erase(seat_id)
    row = ErasureRow(1, BEGUN, seat_id, "RETENTION_OVER", bytes(16), None, None, 1)
    assert here.vault.get("SEAT", seat_id) == key  # in memory
    await there.store.write(lambda rows: rows.erasures.put(row))
    await here.core.unit_of(b"x" * 32)
    assert here.vault.get("SEAT", seat_id) is None
    for one in pair:
        with pytest.raises(HandslagError, match="HS-SEAT-ERASED"):
            one.vault.create("SEAT", seat_id)


async def test_two_nodes_that_make_one_key_get_the_same(pair):
    here, there = pair
    owner = os.urandom(16)
    assert here.vault.create("SEAT", owner) == there.vault.create("SEAT", owner)
    assert here.vault.columns() == there.vault.columns()


async def test_acts_and_admissions_of_one_node_lie_in_the_folder_of_the_other(pair):
    here, there = pair
    assert len(there.files.all()) == len(here.files.all()) == 2  # made with the first folder, and nowhere else
    path = there.settings.data_dir / admissions.FOLDER
    path.mkdir(exist_ok=True)
    (path / "regions.toml").write_bytes(b"# EXEMPEL\n")
    await there.shared.look()
    await here.core.unit_of(b"x" * 32)
    assert (here.settings.data_dir / admissions.FOLDER / "regions.toml").read_bytes() == b"# EXEMPEL\n"


async def test_while_other_rules_are_in_force_nothing_is_answered(pair):
    here, there = pair
    named, files = here.settings.administration, here.files
    signed = files.draft(RULES, 1, subject=os.urandom(32))
    for key in (named.first_key_file, named.second_key_file):
        signed = signed_by(signed, private_key(key), files.chain)
    files.append(signed)
    await here.core.record_acts(files.all())
    for one in (there, here):
        with pytest.raises(HandslagError, match="HS-NOT-READY"):  # retriable: the version that has them will answer
            await one.core.unit_of(b"x" * 32)
        with pytest.raises(HandslagError, match="HS-NOT-READY"):
            await one.core.readiness()


async def test_a_further_node_with_another_root_key_is_refused(tmp_path, migrated_database):
    async with nodes(tmp_path, migrated_database, 1) as (one,):
        other = tmp_path / "other.key"
        rootkey.create(other)
        with pytest.raises(HandslagError, match="HS-KEYS-UNREADABLE"):
            async with node(one.settings.model_copy(update={"root_key_file": other})):
                pass
        with pytest.raises(HandslagError, match="HS-KEYS-INCOMPLETE"):
            async with node(one.settings.model_copy(update={"root_key_file": tmp_path / "none.key"})):
                pass
        assert not (tmp_path / "none.key").exists()


async def test_a_lost_half_of_the_shared_keys_is_never_made_anew(tmp_path, migrated_database):
    async with nodes(tmp_path, migrated_database, 1) as (one,):
        await beats(one, 1)
        settings = StoreSettings(**migrated_database)
    with psycopg.connect(
        host=settings.host, port=settings.port, dbname=settings.database, user=settings.user,
        password=settings.password_file.read_text(),
    ) as session:  # fmt: skip
        session.execute("DELETE FROM seat_key")
    with pytest.raises(HandslagError, match="HS-KEYS-INCOMPLETE"):
        async with node(one.settings):
            pass


async def test_what_one_node_commits_wakes_who_waits_at_another(pair):
    here, there = pair
    heard = asyncio.Event()
    here.others.bell._heard["stream"] = heard.set
    tasks = [asyncio.create_task(one.others.bell.run()) for one in pair]
    await asyncio.wait_for(heard.wait(), 10)  # it listens
    await asyncio.sleep(0.2)
    heard.clear()
    await there.context.stream.append({3: [b"EXEMPEL"]}, POLICE)
    await asyncio.wait_for(heard.wait(), 10)
    assert await here.context.stream.waiting() == [3]
    for task in tasks:
        task.cancel()


async def test_calls_that_come_together_share_a_look_that_began_after_they_came(pair):
    here, there = pair
    row = await admitted(there)
    looks, honest = [], here.store.read

    async def counted(query):
        looks.append(query)
        return await honest(query)

    here.store.read = counted
    await here.core.unit_of(row.certificate)
    looks.clear()
    assert await asyncio.gather(*(here.core.unit_of(row.certificate) for _ in range(100))) == [POLICE] * 100
    assert len(looks) <= 2  # the first one, and one that began after all others had come
    first = asyncio.create_task(here.core.unit_of(row.certificate))
    await asyncio.sleep(0)  # its look is under way
    await there.store.write(lambda rows: rows.units.revoke(POLICE, 1))
    assert await here.core.unit_of(row.certificate) is None
    await first


async def test_a_store_that_does_not_answer_refuses_everybody_at_once(pair):
    here, there = pair
    row = await admitted(there)
    await here.core.unit_of(row.certificate)
    here.store.close()
    began = time.monotonic()
    told = await asyncio.gather(*(here.core.unit_of(row.certificate) for _ in range(100)), return_exceptions=True)
    assert {error.code for error in told} == {"HS-NOT-READY"}
    assert time.monotonic() - began < 10


async def test_a_log_that_grows_while_a_node_looks_is_no_contradiction(pair):
    here, _there = pair
    await beats(here, 1)
    honest, grown = here.store.read, []

    async def slow(query):
        answer = await honest(query)
        if not grown:
            grown.append(True)
            await beats(here, 1)  # committed and anchored after the snapshot was taken
        return answer

    here.store.read = slow
    await here.core.unit_of(b"x" * 32)
    assert grown
    assert not here.core.keeper.active


async def test_an_act_that_lost_disturbs_no_call(pair):
    here, there = pair
    named = here.settings.administration
    for one, reason in ((there, "first"), (here, "second")):
        signed = one.files.draft(RULES, 1, subject=here.context.rules.hash32, reason=reason)
        for key in (named.first_key_file, named.second_key_file):
            signed = signed_by(signed, private_key(key), one.files.chain)
        one.files.append(signed)
        if one is there:
            await there.shared.sync()
            won = (there.settings.data_dir / "acts/000003.act").read_bytes()
    await here.core.unit_of(b"x" * 32)
    assert (here.settings.data_dir / "acts/000003.act").read_bytes() == won


async def test_every_node_remembers_what_any_node_published(pair):
    here, there = pair
    await beats(there, 2)
    size = await here.sealer.follow()
    anchored = [Anchor(one.settings.data_dir / "anchor", one.settings.origin).read() for one in pair]
    assert anchored[0] == anchored[1]
    assert anchored[0].size == size > 0
    await here.sealer.beat()  # and goes on from there
    assert await there.sealer.follow() > size
