"""A store with as many cases as a bench wants: one real case, played through the verbs, and copies of its rows.

The copies have ids, cases and buckets of their own and share keys and ledger with the first, so that a submission can
come from them and costs what it costs from a seat of its own. The first hundred belong to the units of the first case,
the others to units that nobody speaks for: what a unit is answered grows with its own seats, as it should.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator, Sequence
from itertools import count as count_from
from typing import Any

from sqlalchemy import insert, select

from broker.store.bulk import insert_all
from broker.store.port import Rows, Store
from broker.store.tables import BUCKETS, case, entry, ledger_event, payload, seat
from tests.site import LEAD, Site, assessment, to_unit

GRANTS = 5
"""Grants of each sending seat: one of them covers the events of the benches."""
OWN = 100
"""Copies that belong to the units of the first case."""
_OTHER_UNITS = 250
_FIRST_VERSION = 1_000_000  # positions on the knowledge axis that no act of the bench itself reaches
_CHUNK = 2_000  # cases in one transaction
_PIECE = 5_000  # entries in one
_PURPOSES = ("THREAT_ASSESSMENT", "INTAKE", "THREAT_ASSESSMENT", "INTAKE", "THREAT_ASSESSMENT")


async def first_case(site: Site) -> None:
    """A case whose police seat has given five grants."""
    await site.whole_case()
    for number, purpose in enumerate(_PURPOSES):
        await site.grant(site.police, [to_unit(site.lead.code)], ["IC04", "IC06"], [purpose], days=30 + number)


async def copies(site: Site, count: int, seed: int) -> list[tuple[bytes, ...]]:
    """Copy the case `count` times; returns each one's seats, the police's first."""
    rows = await site.store.read(lambda read: _of_case(read, site.police.seat_id))
    chance = random.Random(seed)
    versions = count_from(_FIRST_VERSION)
    made: list[tuple[bytes, ...]] = []
    others = [site.cipher.handle("seat", f"SOC/EXEMPEL/{number}") for number in range(_OTHER_UNITS)]
    while len(made) < count:
        size = min(_CHUNK if made else OWN, count - len(made))
        units = others if made else []
        made += await site.store.write(
            lambda into, size=size, units=units: _copied(into, rows, size, chance, versions, units)
        )
        if len(made) % (_CHUNK * 10) == 0:
            print(f"{len(made):,} of {count:,} cases", file=sys.stderr, flush=True)
    return made


def _of_case(rows: Rows, seat_id: bytes) -> dict[str, Any]:
    found = rows.cases.seat(seat_id)
    assert found is not None
    connection = rows.gate._c
    seats = connection.execute(select(seat).where(seat.c.case_id == found.case_id)).mappings().all()
    return {
        "police": seat_id,
        "case": dict(connection.execute(select(case).where(case.c.case_id == found.case_id)).mappings().one()),
        "seats": [dict(one) for one in seats],
        "ledger": [
            dict(one)
            for one in connection.execute(
                select(ledger_event).where(ledger_event.c.seat_id.in_([one["seat_id"] for one in seats]))
            ).mappings()
        ],
    }


def _copied(
    rows: Rows, of: dict[str, Any], count: int, chance: random.Random, versions: Iterator[int], units: Sequence[str]
) -> list[tuple[bytes, ...]]:
    cases, seats, ledgers, made = [], [], [], []
    for _ in range(count):
        case_id, bucket = chance.randbytes(16), chance.randrange(BUCKETS)
        ids = {one["seat_id"]: chance.randbytes(16) for one in of["seats"]}
        place = {"case_id": case_id, "bucket": bucket}
        cases.append({**of["case"], **place, "case_tag": chance.randbytes(16)})
        for one in of["seats"]:
            unit = chance.choice(units) if units else one["unit"]
            seats.append({**one, **place, "seat_id": ids[one["seat_id"]], "unit": unit})
        ledgers += [
            {**one, "seat_id": ids[one["seat_id"]], "bucket": bucket, "gate_version": next(versions)}
            for one in of["ledger"]
        ]
        made.append((ids[of["police"]], *(new for old, new in ids.items() if old != of["police"])))
    for table, values in ((case, cases), (seat, seats), (ledger_event, ledgers)):
        rows.gate._c.execute(insert(table), values)
    return made


def submissions(site: Site, cases: Sequence[tuple[bytes, ...]], count: int, chance: random.Random) -> list[Any]:
    """Sealed events of two sections, each from the police's seat of a case drawn from `cases`.

    The seats drawn get their keys: without them nothing is recorded about a seat, and nothing released.
    """
    own, made = site.police.seat_id, []
    for _ in range(count):
        seats = chance.choice(cases)
        for seat_id in seats:
            site.vault.seat(seat_id)
        site.police.seat_id = seats[0]
        sections, released = assessment(), frozenset({"IC04", "IC06"})
        made.append(
            site.sealed(
                site.police, "threat_assessment_completed", sections, (LEAD,), "THREAT_ASSESSMENT", released=released
            )
        )
    site.police.seat_id = own
    return made


async def entries(store: Store, like: bytes, count: int) -> None:
    """Add `count` sealed entries with random ids and handles; `like` is the id of a real one."""

    def of(rows: Rows) -> tuple[dict[str, Any], dict[str, Any]]:
        connection = rows.gate._c
        one = connection.execute(select(entry).where(entry.c.entry_id == like)).mappings().one()
        blob = connection.execute(select(payload).where(payload.c.entry_id == like)).mappings().one()
        return {key: value for key, value in one.items() if key != "number"}, dict(blob)

    row, blob = await store.read(of)

    done = 0
    while done < count:
        # made before the transaction begins: a server ends one that is silent
        ids = [os.urandom(16) for _ in range(min(_PIECE, count - done))]
        hashed = [{**row, "entry_id": one, "leaf_hash": os.urandom(32), "handle": os.urandom(16)} for one in ids]
        blobs = [{**blob, "entry_id": one} for one in ids]

        def add(rows: Rows, entries: list[dict[str, Any]] = hashed, payloads: list[dict[str, Any]] = blobs) -> None:
            insert_all(rows.gate._c, entry, entries)
            insert_all(rows.gate._c, payload, payloads)

        await store.write(add)
        done += len(ids)
        if done % 500_000 == 0:
            print(f"{done:,} of {count:,} entries", file=sys.stderr, flush=True)


def one_entry(rows: Rows) -> bytes:
    """Id of the newest entry."""
    newest = select(entry.c.entry_id).order_by(entry.c.number.desc()).limit(1)
    return bytes(rows.gate._c.execute(newest).scalar_one())
