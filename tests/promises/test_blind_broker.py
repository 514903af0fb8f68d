"""Promise 3: what the operator stores holds nothing of the content, and nothing that opens it."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.store.inbox import Item
from connectors.keys import SeatKeyPair, UnitKeyPair
from tests.canaries.scan import opened_columns
from tests.promises.case import deliveries, event, grant, ready, sent
from tests.site import Site, assessment

CANARY = "EXEMPEL-KANARIEFÅGEL-7731"
PERSON = "Tolvan Tolvansson"  # the name in every invitation of the site


def stored(folder: Path) -> bytes:
    """Every file of the operator: database, WAL, shared memory, keys."""
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def opened(site: Site, folder: Path) -> bytes:
    """What the operator can read with its own key, where the store is sealed."""
    columns = opened_columns(next(folder.rglob("broker.db")), site.cipher)
    return b"".join(value for values in columns.values() for value in values)


def spellings(text: str) -> list[bytes]:
    return [text.encode(), text.encode("utf-16-le"), text.encode("utf-16-be"), text.encode().hex().encode()]


@pytest.fixture(autouse=True)
def engine():
    """What lies in the files of a server is looked at elsewhere."""


@pytest.fixture
async def site(tmp_path):
    site = await ready(tmp_path)
    yield site
    site.close()


async def told(site: Site) -> None:
    """One event in each place where content lies: waiting undecided, pending, handed over, withheld."""
    sections = assessment(released_by_decision_ref=CANARY)
    await sent(site, sections=sections)
    await grant(site)
    await sent(site, sections=sections)
    await deliveries(site)
    await sent(site, sections=sections)
    await site.submit(site.police, event(site, sections=sections))


async def test_no_content_is_in_any_file(site, tmp_path):
    await told(site)
    files = stored(tmp_path) + opened(site, tmp_path)
    assert b"threat_assessment_completed" in files  # what is there in clear is found by the same look
    for word in (CANARY, PERSON):
        assert not any(spelled in files for spelled in spellings(word))
    merged = site.open(site.lead, site.lead.deliveries[-1]).merged
    assert CANARY in merged.values()  # and it was content


async def test_a_canary_in_clear_is_found(site, tmp_path):
    """Positive control: the same words, put into a column by hand, are seen in the files."""
    await site.store.write(lambda rows: rows.inbox.put([Item(bytes(16), "KV/EXEMPEL/FRI", "NOTICE", CANARY.encode())]))
    assert any(spelled in opened(site, tmp_path) for spelled in spellings(CANARY))
    await site.store.write(lambda rows: rows.events.record_attempts([(bytes(16), 0, bytes(32), CANARY.encode())]))
    assert any(spelled in stored(tmp_path) for spelled in spellings(CANARY))


async def test_no_private_key_is_in_any_file(site, tmp_path):
    await told(site)
    files = stored(tmp_path) + opened(site, tmp_path)
    secrets = [secret for unit in site.units.values() for secret in (*private(unit.seat), *private(unit.keys))]
    assert len(secrets) == 18
    assert not any(secret in files for secret in secrets)
    assert all(unit.seat.public.signing in files for unit in site.units.values())  # the public halves are there


def private(pair: SeatKeyPair | UnitKeyPair) -> tuple[bytes, ...]:
    """Signing key, ML-KEM seed, X25519 key."""
    raw = pair.private_bytes()
    return raw[:32], raw[32:96], raw[96:]


async def test_what_ended_is_out_of_the_files(site, tmp_path):
    """Ciphertext of an acknowledged delivery is overwritten, not only unlinked (`secure_delete`)."""
    await grant(site)
    await sent(site)
    (item,) = await deliveries(site)
    sealed = site.lead.deliveries[-1].sections[0].item
    site.store.truncate_wal()
    assert sealed[40:120] in stored(tmp_path)
    await site.ack(site.lead, item.item_id)
    site.store.truncate_wal()
    assert sealed[40:120] not in stored(tmp_path)
