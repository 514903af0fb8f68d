"""After the whole erase command on PostgreSQL and Apache Kafka: what lies where, and what still opens it.

Looked for in the data folders of both servers, write-ahead log included, and in the broker's own folder with its keys:

- the ciphertext of everything that was sent, withheld, delivered or waiting: nowhere, in no file;
- the seat's key in the clear: nowhere, in no file;
- the seat's key as it lay wrapped in its row, and the contents of the seat's audit entries: a server keeps those bytes,
  and this says so; with everything that the node has left, its root key and its column key, neither opens.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa
from aiokafka import AIOKafkaProducer

from audit.entry import AuditEntry, open_payload
from audit.vault import SeatKeys
from broker import control
from broker.engine_settings import StoreSettings
from broker.handlers import handlers
from broker.node import now_us
from broker.store import rootkey
from broker.store.keyport import SEAT_KEY
from broker.store.postgresql_engine import MIGRATING, engine_for
from broker.store.tables import entry, payload
from broker.transit import KeyFile, day_of
from schemas.errors import HandslagError
from schemas.identifiers import shown
from tests.evil.house import POLICE, UNITS, assessment, house, request_assessment
from tests.gateway.test_cli import run
from tests.nodes.test_key_epoch import opens
from tests.stream.test_content import windows

GROUND = "RETENTION_OVER"


@pytest.fixture
async def home(tmp_path, database, kafka, topic):
    """Broker on both servers, two agencies' connectors, and the folders of all three."""
    KeyFile.create(tmp_path / "transit.key", day_of(now_us()))
    stream = {"engine": "kafka", "bootstrap": list(kafka.bootstrap), "topic": topic,
              "transit_key_file": str(tmp_path / "transit.key")}  # fmt: skip
    async with house(tmp_path, servers={"store": database, "stream": stream}) as made:
        yield made


@dataclass(frozen=True)
class Seat:
    """Everything secret of a seat before it is erased."""

    seat_id: bytes
    keys: SeatKeys
    wrapped: bytes
    epoch: int
    payloads: list[tuple[AuditEntry, bytes, bytes]]
    """Entry, its content as the table holds it, and without the column's seal."""


async def seat_of(home, agency, ref) -> Seat:
    seat_id = agency.ctx.identities.get(ref).seat_id
    keys = home.node.recorder.vault.get("SEAT", seat_id)
    rows = sa.select(entry.c.bytes, payload.c.blob).join(payload, payload.c.entry_id == entry.c.entry_id)

    def look(rows_of):
        wrapped = rows_of.gate._c.execute(SEAT_KEY.select().where(SEAT_KEY.c.owner_id == seat_id)).one()
        own = rows_of.gate._c.execute(rows.where(entry.c.handle == keys.handle(1))).all()
        opened = [(AuditEntry.from_bytes(rows_of.cipher.open("entry.bytes", one.bytes)), one.blob,
                   rows_of.cipher.open("payload.blob", one.blob)) for one in own]  # fmt: skip
        return Seat(seat_id, keys, wrapped.wrapped, wrapped.epoch, opened)

    return await home.node.store.read(look)


async def lived(home, until) -> dict[str, bytes]:
    """An invitation that is withheld, events that are delivered and acknowledged, one that waits; their ciphertext."""
    home.social.command(do="open_case", ref="EX-0", role="social_services_lead")
    await home.settle(1)
    home.social.command(do="invite", ref="EX-0", unit=UNITS["police"].unit, role=POLICE, contact="Konsult EXEMPEL",
                        person={"name": "Tolvan Tolvansson", "personal_identity_number": "191212121212"})  # fmt: skip
    await home.settle(1)
    outcomes = [role["outcome"]["code"] for one in home.social.files("receipts", kind="result") if "receipt" in one
                for role in one["receipt"]["roles"]]  # fmt: skip
    assert "WITHHELD" in outcomes
    await home.case("EX-1", "K-1")
    home.social.command(**request_assessment("EX-1"))
    await until(lambda: home.police.files("out", kind="delivery"))
    home.police.command(**assessment("K-1"))
    await until(lambda: home.social.files("out", kind="delivery"))
    await home.settle(3)
    home.police.command(**assessment("K-1", "LOW"))
    await home.police.beat()  # it lies with the broker, and nobody has fetched it, when the seat closes
    every = [*home.liar.submissions, *(one.submission for one in home.liar.invitations)]
    return {f"{number}/{at}": item for number, one in enumerate(every) for at, item in enumerate(one.section_items)}


@pytest.fixture
def until(home):
    async def wait(met, rounds=40):
        for _ in range(rounds):
            await home.settle(1)
            if met():
                return
            await asyncio.sleep(0.1)
        raise AssertionError("not seen in time")

    return wait


async def erased(home, tmp_path, seat_id) -> list[dict]:
    """`handslag erase` as it is typed; what `handslag erase status` says then."""
    config = tmp_path / "broker" / "broker.toml"

    async def typed(*words):
        code, out, err = await asyncio.to_thread(run, *words, "--config", config, "--json")
        assert code == 0, out + err
        return json.loads(out)

    with control.sole_node(home.node.settings.data_dir):
        async with control.serve_control(home.node.settings.data_dir, handlers(home.liar._core, home.node.served)):
            drawn = ("--seat-id", shown(seat_id), "--ground", GROUND, "--draft", tmp_path / "e.json")
            await typed("erase", "draft", *drawn)
            return await typed("erase", "status")


def scanned(tmp_path, postgres, kafka) -> list:
    """The folders that are looked through; the server writes first what it holds in memory."""
    postgres.sql("CHECKPOINT")
    assert any((postgres.data / "pg_wal").iterdir())
    return [postgres.data, kafka.folder, tmp_path / "broker"]


def files(folder, since_s):
    """The bytes of every file written since, without long runs of zeros; servers remove some of them meanwhile."""
    for place, _folders, names in os.walk(folder):
        for path in (Path(place) / name for name in names):
            with contextlib.suppress(OSError):
                if path.is_file() and not path.is_symlink() and path.stat().st_mtime >= since_s:
                    yield path.read_bytes().replace(bytes(1024), b"")


def lie(folder, secrets: dict[str, bytes], since_s: float) -> set[str]:
    """Names of secrets that lie in any file: short ones whole, as bytes or as digits, long ones by a part."""
    wanted = {name: windows(one) if len(one) > 64 else [one, one.hex().encode()] for name, one in secrets.items()}
    hits = set()
    for data in files(folder, since_s):
        hits |= {name for name, parts in wanted.items() if name not in hits and any(one in data for one in parts)}
    return hits


def payload_opens(of: AuditEntry, blob: bytes, keys: SeatKeys) -> bool:
    try:
        open_payload(of, blob, keys.dek(of.entry_id))
    except HandslagError:
        return False
    return True


async def test_nothing_of_an_erased_seat_opens_on_any_server(home, until, postgres, kafka, tmp_path):
    """Withheld, acknowledged, waiting, closed, erased: the strongest that is true on servers that keep everything."""
    began_s = time.time() - 60.0
    canaries = await lived(home, until)
    assert len(canaries) > 5
    police = await seat_of(home, home.police, "K-1")
    lead = await seat_of(home, home.social, "EX-1")
    root_key = home.node.settings.root_key_file
    (tmp_path / "copy.key").write_bytes(root_key.read_bytes())
    (tmp_path / "copy.key").chmod(0o600)
    home.police.command(do="close", ref="K-1")
    await home.settle(5)

    told = await erased(home, tmp_path, police.seat_id)
    assert [row["state"] for row in told["acts"]] == ["DONE"]
    assert (told["root_key_epoch"], told["waits_for"]) == (2, [])

    rows = {f"payload/{number}": blob for number, (_of, blob, _raw) in enumerate(police.payloads)}
    secrets = {**canaries, **rows, "key": police.keys.sk, "wrapped": police.wrapped}
    server, *others = [lie(folder, secrets, began_s) for folder in scanned(tmp_path, postgres, kafka)]
    assert others == [set(), set()]
    # What the server keeps, and that it does not open: neither with the root key nor with any that follows from it.
    assert server == {*rows, "wrapped"}
    assert len(rows) > 4
    assert not opens(root_key, police.seat_id, police.epoch, police.wrapped)
    assert opens(
        tmp_path / "copy.key", police.seat_id, police.epoch, police.wrapped
    )  # control: a copy from before does
    assert rootkey.load(root_key).oldest == 2
    vault = home.node.recorder.vault
    assert vault.get("SEAT", police.seat_id) is None
    left = [vault.operator(), vault.get("SEAT", lead.seat_id), SeatKeys(vault.columns())]
    assert not any(payload_opens(of, raw, keys) for of, _blob, raw in police.payloads for keys in left)
    assert all(payload_opens(of, raw, police.keys) for of, _blob, raw in police.payloads)  # control: its own key does
    # The other seat of the case is whole.
    assert vault.get("SEAT", lead.seat_id).sk == lead.keys.sk
    assert all(payload_opens(of, raw, vault.get("SEAT", lead.seat_id)) for of, _blob, raw in lead.payloads)


async def test_the_scan_finds_what_lies_there_in_the_clear(database, topic, postgres, kafka, tmp_path):
    """Positive control, for each folder and each kind of secret that is looked for."""
    began_s = time.time() - 1.0
    (tmp_path / "broker").mkdir()
    secret, content = b"\x07EXEMPEL" * 4, bytes(range(64)) * 9
    async with AIOKafkaProducer(bootstrap_servers=list(kafka.bootstrap)) as producer:
        await producer.send_and_wait(topic, secret + content, partition=1)
    engine = engine_for(StoreSettings(**database), MIGRATING, connections=1)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE exempel (a bytea, b bytea)")
        connection.execute(sa.text("INSERT INTO exempel VALUES (:a, :b)"), {"a": secret, "b": content})
        connection.exec_driver_sql("DELETE FROM exempel")
    engine.dispose()
    (tmp_path / "broker" / "some.key").write_text(secret.hex())
    wanted = {"secret": secret, "content": content}
    server, stream, own = [lie(folder, wanted, began_s) for folder in scanned(tmp_path, postgres, kafka)]
    assert server == stream == {"secret", "content"}
    assert own == {"secret"}
