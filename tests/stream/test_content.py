"""What is gone is gone on servers too: content lies in database and log under keys of days, and those are destroyed."""

import contextlib
import os
from dataclasses import replace
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from sqlalchemy import select

from broker.engine_settings import StreamSettings
from broker.forgetting import Forgetting
from broker.metrics import Metrics
from broker.store.cipher import KEPT_HEAD, KEPT_MARK
from broker.store.tables import delivery, delivery_section
from broker.transit import Days, KeyFile, day_of
from schemas.errors import HandslagError
from schemas.trail import Payload
from tests.promises.case import deliveries, event, grant, notices, ready, states
from tests.site import DAY
from tests.stream.conftest import Patient, started
from tests.units import START


class Clock:
    us = START

    def __call__(self):
        return self.us


def windows(canary, size=24):
    """Parts of a long ciphertext behind its head: a server may cut it, but none of these parts comes by chance."""
    return [canary[at : at + size] for at in range(len(canary) // 4, len(canary) - size, max(1, len(canary) // 6))]


def found(folders, canaries):
    """Names of canaries of which a part lies in any file below the folders."""
    hits = set()
    for folder in folders:
        for path in (Path(at) / name for at, _folders, names in os.walk(folder) for name in names):
            with contextlib.suppress(OSError):  # what a server removed meanwhile, as folders that walk passes over
                data = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
                hits |= {name for name, text in canaries.items() if any(part in data for part in windows(text))}
    return hits


@pytest.fixture
def keys(tmp_path):
    KeyFile.create(tmp_path / "transit.key", day_of(START))
    return KeyFile(tmp_path / "transit.key")


@pytest.fixture
async def made(tmp_path, migrated, keys):
    """A case on PostgreSQL, with or without keys of days."""
    opened = []

    async def make(*, sealed=True):
        days = Days(keys, Clock())

        def store(cipher, rows):
            cipher.days = days if sealed else None
            return migrated.store(cipher, rows)

        site = await ready(tmp_path / f"site{len(opened)}", store=store)
        days.now_us = site.clock
        opened.append(site)
        return site, days

    yield make
    for site in opened:
        site.close()


@pytest.fixture
async def kafka_stream(tmp_path, kafka, topic, keys):
    opened = []

    async def carry(site):
        settings = StreamSettings(
            engine="kafka", bootstrap=kafka.bootstrap, topic=topic, transit_key_file=tmp_path / "transit.key"
        )

        def entry(at_us):
            return site.context.recorder.about_operator("ADMIN", Payload(code="HS-STREAM-GENERATION"), at_us)

        stream = Patient(settings, site.store, keys, Metrics(), site.clock, entry)
        await started(stream)
        opened.append(stream)
        site.context = replace(site.context, stream=stream)
        return stream

    yield carry
    for stream in opened:
        await stream.close()


async def lived(site):
    """Events that are acknowledged, withheld, withdrawn before and after the hand-over; the ciphertext of each."""
    canaries = {}

    async def one(name, **how):
        sealed = event(site, **how)
        for section in sealed.sections:
            canaries[f"{name}/{section.category}"] = section.item
        await site.submit(site.police, sealed)

    await one("withheld")
    await site.decide()
    consent = await grant(site)
    await one("acknowledged")
    await site.decide()
    for item in await deliveries(site):
        await site.ack(site.lead, item.item_id)
    await one("handed")
    await site.decide()
    assert await deliveries(site)
    await one("waiting")
    await site.decide()
    await site.act(site.police, "WITHDRAW", consent)
    assert set(await states(site)) == {"ACKED", "CANCELLED", "RECALLED"}
    return canaries


def gone(keys, raw):
    with pytest.raises(HandslagError) as raised:
        keys.open(b"delivery_section.item", raw[KEPT_HEAD:], keys.ratchet.day)
    return raised.value.code


def lasting(site):
    """An event that is still worth something after days."""
    return event(site, valid_until_us=site.clock() + 20 * DAY)


async def column(site, which):
    """Everything that lies in a column, as it lies."""
    return await site.store.read(
        lambda rows: list(rows.gate._c.execute(select(which).where(which.is_not(None))).scalars())
    )


async def test_no_content_lies_in_the_database_or_in_kafka_as_it_was_sent(
    made, kafka_stream, postgres, kafka, keys, tmp_path
):
    """After withholding, acknowledgement and withdrawal: heap, write-ahead log, Kafka's log, the node's own folder."""
    site, days = await made()
    stream = await kafka_stream(site)
    canaries = await lived(site)
    await stream.forget()
    postgres.sql("CHECKPOINT")
    folders = [postgres.data, kafka.folder, tmp_path]
    assert any((postgres.data / "pg_wal").iterdir())
    assert found(folders, canaries) == set()
    days.now_us.us += 3 * DAY
    await stream.forget()
    assert keys.ratchet.day == days.today() - 1


async def test_with_the_keys_of_days_switched_off_it_is_found(made, postgres, kafka, topic):
    """Positive control: the scan reads where content lies, also after it was deleted."""
    site, _days = await made(sealed=False)
    canaries = await lived(site)
    postgres.sql("CHECKPOINT")
    released = {name for name in canaries if not name.startswith("withheld")}
    assert found([postgres.data], canaries) == released
    async with AIOKafkaProducer(bootstrap_servers=list(kafka.bootstrap)) as producer:
        await producer.send_and_wait(topic, b"".join(canaries.values()), partition=1)
    assert found([kafka.folder], canaries) == set(canaries)


async def test_content_is_sealed_anew_before_its_key_goes(made, keys):
    """An open delivery survives the days, what was deleted meanwhile does not."""
    site, days = await made()
    await grant(site)
    await site.submit(site.police, lasting(site))
    await site.submit(site.police, lasting(site))
    await site.decide()
    forgetting = Forgetting(site.context, days, strict=True)
    await forgetting.start()
    first = await column(site, delivery_section.c.item)
    assert first
    assert all(raw.startswith(KEPT_MARK + days.tag) for raw in first)
    assert all(raw.startswith(KEPT_MARK + days.tag) for raw in await column(site, delivery.c.body))
    old = keys.ratchet
    site.clock.us += 3 * DAY
    await forgetting.let_go(days)
    assert keys.ratchet.day == old.day + 2
    assert {gone(keys, raw) for raw in first} == {"HS-TRANSIT-GONE"}  # what dead rows and logs still hold
    now = await column(site, delivery_section.c.item)
    assert len(now) == len(first)
    assert not set(now) & set(first)
    assert len(await deliveries(site)) == 2
    for one in site.lead.deliveries[-2:]:
        assert site.open(site.lead, one)


async def test_what_lay_in_the_clear_is_sealed_by_the_first_pass(made, keys):
    """As after a move from a file: there were no keys of days before."""
    site, days = await made(sealed=False)
    await grant(site)
    await site.submit(site.police, lasting(site))
    await site.decide()
    site.cipher.days = days
    forgetting = Forgetting(site.context, days, strict=True)
    await forgetting.start()
    assert await forgetting.renewed(days.today())
    assert all(raw.startswith(KEPT_MARK) for raw in await column(site, delivery_section.c.item))
    assert await deliveries(site)


async def test_what_nobody_can_open_goes_back_to_its_sender(made, keys):
    """A copy that is older than its keys: no inbox stands still, and the sender seals it anew."""
    site, days = await made()
    await grant(site)
    await site.submit(site.police, lasting(site))
    await site.decide()
    site.clock.us += 3 * DAY
    keys.destroy_before(days.today() - 1)
    await site.submit(site.police, lasting(site))
    await site.decide()
    assert len(await deliveries(site)) == 1  # the new one; the other is no obstacle
    forgetting = Forgetting(site.context, days, strict=True)
    await forgetting.start()
    assert await forgetting.give_back() == 1
    assert sorted(await states(site)) == ["HANDED", "RESEAL"]
    assert len(await notices(site, "delivery_reseal")) == 1
    assert await forgetting.give_back() == 0


async def test_a_node_with_other_keys_gives_nothing_back(made, keys, tmp_path):
    site, _days = await made()
    await grant(site)
    await site.submit(site.police, lasting(site))
    await site.decide()
    for instead in (False, True):
        path = tmp_path / f"other-{instead}.key"
        KeyFile.create(path, day_of(site.clock()), instead=instead)
        other = Days(KeyFile(path), site.clock)
        site.cipher.days = other
        forgetting = Forgetting(site.context, other, strict=True)
        if not instead:
            with pytest.raises(HandslagError) as raised:
                await forgetting.start()
            assert raised.value.code == "HS-TRANSIT-OTHER"
            assert await states(site) == ["PENDING"]
            continue
        await forgetting.start()
        assert await forgetting.give_back() == 1
        assert await states(site) == ["RESEAL"]


async def test_what_waits_in_the_stores_own_stream_keeps_its_key(made, keys, postgres):
    site, days = await made()
    await grant(site)
    sealed = lasting(site)
    await site.submit(site.police, sealed)
    postgres.sql("CHECKPOINT")
    assert found([postgres.data], {section.category: section.item for section in sealed.sections}) == set()
    site.clock.us += 3 * DAY
    forgetting = Forgetting(site.context, days, strict=True)
    first = keys.ratchet.day
    await forgetting.let_go(days)
    assert keys.ratchet.day == first
    assert await site.decide() == 1
    await forgetting.let_go(days)
    assert keys.ratchet.day == first + 2
    assert await states(site) == ["PENDING"]


def test_a_chain_that_stands_in_says_so_for_ever(tmp_path):
    KeyFile.create(tmp_path / "a.key", 5, instead=True)
    KeyFile.create(tmp_path / "b.key", 5)
    assert not KeyFile(tmp_path / "b.key").instead
    keys = KeyFile(tmp_path / "a.key")
    keys.destroy_before(9)
    assert KeyFile(tmp_path / "a.key").instead
