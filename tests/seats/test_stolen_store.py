"""Who takes the broker's file without its keys does not learn which unit sits where: not from a column, nor from bytes.

The play fills every table that knows a unit. What is scanned is what a thief has: `broker.db` and its write-ahead log.
"""

import asyncio
import contextlib
import os
import shutil
import sqlite3

import pytest

from broker.store.annulments import AnnulNoticeRow
from broker.store.cipher import ColumnCipher
from broker.store.contacts import ContactRow
from broker.store.conversion import EMPTY, HANDLES, SEALED
from broker.store.instances import InstanceRow, Memory
from broker.store.joins import JoinRow
from broker.store.rules import ApprovalRow
from broker.store.statutes import AcuteRow, one_time
from broker.store.tables import metadata
from schemas.errors import HandslagError
from tests.canaries.scan import spellings
from tests.promises.case import event, grant, ready, sent
from tests.site import UNITS, to_unit

# The public directory of units, each with its certificate and its agency's signature: who takes part is no secret, who
# sits in which seat is.
DIRECTORY = {("unit", "unit"), ("unit", "agency"), ("unit", "controller"), ("unit", "entry")}
DISCLOSURES, DECIDER = (bytes([1]) * 16, bytes([2]) * 16), bytes([3]) * 32  # two of one person


async def played(tmp_path):
    """A case with a row in every table that knows a unit; the log was empty when the units had been admitted."""
    site = await ready(tmp_path)
    await grant(site)
    await sent(site)
    await site.submit(site.police, event(site))  # waits in the stream
    await site.grant(site.lead, [to_unit(UNITS["prison_probation"])], ["IC01", "IC12"], ["INTAKE"])
    await site.invite(site.probation)  # again, and never answered
    code = site.police.code
    notice = AnnulNoticeRow(os.urandom(16), site.lead.seat_id, os.urandom(16), os.urandom(16), code, "IC04", "HANDED",
                            "WRONG_PERSON", 1)  # fmt: skip

    def work(rows):
        rows.annulments.put([notice])
        rows.joins.put(JoinRow(os.urandom(16), code, site.police.seat_id, os.urandom(16), bytes(16), bytes(16), 1))
        rows.shared.put_file("admissions/exempel.json", code.encode(), 0)
        rows.contacts.put([ContactRow(code, 1, "0.1.0", 0)])
        rows.instances.remember(code, Memory(seen_size=1))
        rows.statutes.approve(site.police.code.rsplit("/", 1)[0], "EXEMPEL-1", 1, bytes(32))
        for disclosure in DISCLOSURES:
            rows.statutes.await_second(
                AcuteRow(disclosure, site.police.seat_id, site.lead.seat_id, os.urandom(16), os.urandom(32),
                         one_time(disclosure, DECIDER), one_time(disclosure, b"handl-7"), 2**60)
            )  # fmt: skip
        rows.rules.approve(ApprovalRow(code, os.urandom(32), os.urandom(16), os.urandom(32), 1))
        rows.instances.take(InstanceRow(code, 2, os.urandom(16), code.encode(), b"answer", 1))

    await site.store.write(work)
    return site


@pytest.fixture(scope="module")
def taken(tmp_path_factory):
    """The site, and a copy of what lay on its disk."""
    folder = tmp_path_factory.mktemp("taken")

    async def play():
        site = await played(folder)
        (folder / "copy").mkdir()
        for path in (folder / "broker").glob("broker.db*"):
            shutil.copy(path, folder / "copy")
        site.close()
        return site

    return asyncio.run(play()), folder / "copy"


@pytest.fixture
def stolen(taken, tmp_path):
    """As `taken`, with files of this test's own."""
    site, copy = taken
    for path in copy.glob("broker.db*"):
        shutil.copy(path, tmp_path)
    return site, tmp_path / "broker.db"


CODES = tuple(UNITS.values())


AGENCIES = {code.rsplit("/", 1)[0] for code in CODES}


def needles(codes=CODES):
    agencies = {code.rsplit("/", 1)[0] for code in codes}
    return {spelled for code in {*codes, *agencies} for _name, spelled in spellings(code)}


def naming(database, codes=CODES):
    """(table, column) of every value in which a unit or an agency stands, in whatever spelling."""
    wanted, found = needles(codes), set()
    with contextlib.closing(sqlite3.connect(database)) as store:
        for (table,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            rows = store.execute(f'SELECT * FROM "{table}"')
            columns = [column[0] for column in rows.description]
            for row in rows:
                for column, value in zip(columns, row, strict=True):
                    raw = value if isinstance(value, bytes) else str(value).encode()
                    if any(needle in raw for needle in wanted):
                        found.add((table, column))
    return found


def test_a_stolen_store_does_not_tell_which_unit_sits_where(stolen):
    _site, database = stolen
    assert naming(database) == DIRECTORY


def test_every_table_that_knows_a_unit_was_filled(stolen):
    """Positive control: the columns that are sealed hold something, and with the key it is what is looked for."""
    site, database = stolen
    with contextlib.closing(sqlite3.connect(database)) as store:
        for table, columns in HANDLES.items():
            for column in columns:
                codes = {site.cipher.code(table, row[0]) for row in store.execute(f"SELECT {column} FROM {table}")}
                assert codes & (set(UNITS.values()) | AGENCIES), (table, column)
        named = set()
        for table, columns in SEALED.items():
            for column in columns:
                rows = store.execute(f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL").fetchall()
                assert rows, (table, column)
                opened = [site.cipher.open(f"{table}.{column}", row[0]) for row in rows]
                if any(needle in value for value in opened for needle in needles()):
                    named.add((table, column))
    assert named >= {
        ("invitation", "envelope"), ("invitation", "acceptance"), ("ledger_event", "event"), ("stream", "record"),
        ("inbox_item", "body"), ("entry", "bytes"), ("instance", "request"), ("shared_file", "content"),
    }  # fmt: skip


def test_the_bytes_of_file_and_log_name_nobody_but_the_directory(stolen):
    _site, database = stolen
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as store:
        store.execute("PRAGMA secure_delete=ON")
        store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert any(code.encode() in database.read_bytes() for code in UNITS.values())  # the directory
        store.execute("DELETE FROM unit")
        store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = database.read_bytes()
    assert [needle for needle in needles() if needle in data] == []


def test_no_public_key_of_the_directory_recognises_anything(stolen):
    """A unit's signature, or the id of its key, would tell who made or may open what, with no name beside it."""
    site, database = stolen
    data = b"".join(path.read_bytes() for path in database.parent.glob("broker.db*"))
    for unit in site.units.values():
        assert unit.keys.key_id not in data
    opened = []
    with contextlib.closing(sqlite3.connect(database)) as store:
        opened = [site.cipher.open("delivery.body", body) for (body,) in
                  store.execute("SELECT body FROM delivery WHERE body IS NOT NULL")]  # fmt: skip
        signed = [site.cipher.open("invitation.envelope", raw) for (raw,) in
                  store.execute("SELECT envelope FROM invitation")]  # fmt: skip
    assert any(site.probation.keys.key_id in body for body in opened)  # positive control: it is what a body names
    signature = site.lead.keys.sign(site._invitation)
    assert any(signature in raw for raw in signed)
    assert signature not in data


def test_the_length_of_a_unit_code_does_not_show(stolen):
    _site, database = stolen
    with contextlib.closing(sqlite3.connect(database)) as store:
        lengths = {len(row[0]) for table, columns in HANDLES.items() for column in columns
                   for row in store.execute(f"SELECT {column} FROM {table}")}  # fmt: skip
        sealed = {len(row[0]) for table, columns in SEALED.items() for column in columns
                  for row in store.execute(f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL")}  # fmt: skip
        owners = {row[0] for row in store.execute("SELECT owner FROM entry")}
    assert len(lengths) == 1
    assert {(length - 3 - 16) % 256 for length in sealed} == {0}  # the mark, the SIV, whole blocks
    assert owners == {""}


def test_handles_of_two_tables_do_not_meet(stolen):
    site, _database = stolen
    code = site.police.code
    assert len({site.cipher.handle(table, code) for table in HANDLES}) == len(HANDLES)
    assert site.cipher.handle("seat", code) != ColumnCipher(bytes(32)).handle("seat", code)


def test_the_same_decider_does_not_show_in_a_stolen_store(stolen):
    site, database = stolen
    with contextlib.closing(sqlite3.connect(database)) as store:
        rows = store.execute("SELECT disclosure_id, decider_key, decider_hash FROM acute").fetchall()
    assert {row[0] for row in rows} == set(DISCLOSURES)
    assert len({row[1] for row in rows}) == len({row[2] for row in rows}) == 2
    for disclosure, key, reference in rows:  # and with the key outside the file it is known again
        assert site.cipher.open("acute.decider_key", key) == one_time(disclosure, DECIDER)
        assert site.cipher.open("acute.decider_hash", reference) == one_time(disclosure, b"handl-7")


def test_the_list_of_columns_covers_every_table():
    """A new table or column that holds text or bytes is looked at by hand, and put into one of these lists."""
    # No unit in them, and nothing of its making: ids, hashes, keys of seats and members, ciphertext to seats, codes.
    free = {
        "acute": {"disclosure_id", "seat_id", "recipient_seat", "event_id", "statement_hash", "state"},
        "admin_act": {"act_hash", "entry_id"},
        "annul_notice": {"notice_id", "seat_id", "consent_id", "delivery_id", "categories", "state_before", "ground",
                         "verdict", "reason"},
        "approval": {"provision_id", "hash"},
        "attempt": {"event_id", "attempt_hash", "receipt"},
        "beat": {"seed", "entry_id"},
        "case_join": {"join_id", "seat_id", "other_seat_id", "case_id", "other_case_id"},
        "call": {"call_id", "request_hash", "answer"},
        "checkpoint": {"note"},
        "column_key": {"proof"},
        "contact": {"version"},
        "continuation": {"hold_id", "statement", "signature", "entry_id"},
        "crossing": {"seat_id", "origin_case"},
        "delivery": {"delivery_id", "case_id", "event_id", "event_type", "purpose", "action", "sender_seat",
                     "recipient_seat", "role", "invitation_id", "state", "ack_entry", "ack_leaf"},
        "delivery_section": {"delivery_id", "digest", "event_id", "recipient_seat", "category", "persons", "grants",
                             "item", "wrapped_key"},
        "earlier_ground": {"delivery_id", "digest", "consent_id"},
        "entry": {"entry_id", "handle", "operation", "outcome", "reason_class", "leaf_hash"},
        "erasure": {"state", "seat_id", "ground", "act_entry", "handle", "begin_entry"},
        "event_memory": {"event_id", "seat_id", "fingerprint"},
        "exit_case": {"case_id", "case_tag"},
        "head": {"root"},
        "hold": {"hold_id", "cause", "seen_origin", "seen_root", "seen_note"},
        "hold_seat": {"seat_id", "hold_id", "case_id", "state", "confirmation", "signature"},
        "hold_withdrawal": {"case_id", "hold_id"},
        "inbox_item": {"item_id", "kind"},
        "instance": {"restore_id"},
        "invitation": {"invitation_id", "case_id", "inviter_seat", "role", "state", "hash", "seat_id"},
        "ledger_event": {"seat_id"},
        "payload": {"entry_id"},
        "rekey": {"seat_id", "rekey", "hpke_key"},
        "rekey_signature": {"seat_id", "member", "signature"},
        "key_holder": {"node_id"},
        "lease": {"name", "holder"},
        "node": {"node_id", "version"},
        "rule_approval": {"rules_hash", "entry_id", "leaf_hash"},
        "rule_recheck": {"delivery_id"},
        "rule_set": {"rules_hash", "file"},
        "rule_step": {"base_hash", "rules_hash"},
        "seat": {"seat_id", "case_id", "role", "member", "state", "head", "signing_key", "seat_key_id",
                 "recipient_sealed", "recipient_own", "previous_signing_key", "previous_key_id", "chain"},
        "shared_file": {"name"},  # a handle of the file's name
        "statement": {"case_id", "member", "kind", "signer", "signed"},
        "stream_origin": {"topic_id", "chain", "cause"},
        "succession": {"seat_id", "case_id", "seat_key_id"},
        "tile": {"hashes"},
        "unit": {"unit", "agency", "controller", "certificate", "entry", "agency_signature", "signing_key", "hpke_key"},
        "unit_memory": {"recovery_key", "compromised_key"},
        "void_case": {"case_id", "ground"},
    }  # fmt: skip
    for table in metadata.tables.values():
        listed = set()
        for which in (HANDLES, SEALED, EMPTY):
            listed |= set(which.get(table.name, ()))
        textual = {column.name for column in table.columns if column.type.python_type in {str, bytes}}
        assert textual == listed | free.get(table.name, set()), table.name


def test_what_was_never_sealed_does_not_open():
    cipher = ColumnCipher(bytes(32))
    sealed = cipher.seal("entry.bytes", b"x" * 300)
    assert cipher.open("entry.bytes", sealed) == b"x" * 300
    assert cipher.open("entry.bytes", cipher.seal("entry.bytes", b"")) == b""
    for wrong in (lambda: cipher.open("entry.bytes", b"x" * 300), lambda: cipher.open("delivery.body", sealed),
                  lambda: cipher.open("entry.bytes", sealed[:-1]), lambda: cipher.code("seat", "KV/EXEMPEL/FRI"),
                  lambda: cipher.code("seat", cipher.handle("delivery", "KV/EXEMPEL/FRI")),
                  lambda: ColumnCipher(b"1" * 32).code("seat", cipher.handle("seat", "KV/EXEMPEL/FRI"))):  # fmt: skip
        with pytest.raises(HandslagError) as refused:
            wrong()
        assert refused.value.code == "HS-KEYS-UNREADABLE"
    with pytest.raises(HandslagError):
        cipher.handle("seat", "X" * 65)
