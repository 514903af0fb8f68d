"""A user who serves without owning the tables: everything works, and nothing of the trail can be changed."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import ProgrammingError

from broker.engine_settings import StoreSettings
from broker.store import grants
from broker.store.migrate import migrate_server
from broker.store.opening import open_server
from broker.store.postgresql import PostgresStore
from broker.store.postgresql_engine import MIGRATING, engine_for
from schemas.errors import HandslagError
from tests.engines import PATIENT
from tests.postgres.conftest import CIPHER
from tests.promises.case import deliveries, grant, ready, sent
from tests.promises.trail import trail
from tests.site import Site


@pytest.fixture
def serving(postgres, migrated):
    """Settings of a user who owns nothing."""
    password = postgres.password_file.read_text()
    postgres.sql(f"CREATE ROLE serving LOGIN PASSWORD '{password}'")
    postgres.sql("GRANT SET ON PARAMETER deadlock_timeout TO serving")
    name = migrated.settings.database
    postgres.sql(" ".join(grants.statements("serving")), name)
    yield migrated.settings.model_copy(update={"user": "serving"})
    postgres.sql("DROP OWNED BY serving", name)
    postgres.sql("REVOKE SET ON PARAMETER deadlock_timeout FROM serving")
    postgres.sql("DROP ROLE serving")


async def test_the_serving_user_cannot_change_what_the_trail_rests_on(serving, migrated, tmp_path, monkeypatch):
    """It serves a whole case; and each statement that the owner's trigger alone would stop is refused by rights."""
    monkeypatch.setattr(Site, "databases", staticmethod(lambda: migrated))

    def store(_self, cipher, rows):
        return PostgresStore(serving, cipher, rows, server_clock=False, session=PATIENT)

    monkeypatch.setattr(type(migrated), "store", store)
    site = await ready(tmp_path)
    await grant(site)
    await sent(site)
    (item,) = await deliveries(site)
    await site.ack(site.lead, item.item_id)
    assert [one.operation for one in await trail(site, site.police.seat_id)][-1] == "ACK"
    for statement in (
        "UPDATE entry SET leaf_hash = entry_id", "DELETE FROM entry", "TRUNCATE entry", "UPDATE payload SET blob = ''",
        "UPDATE leaf SET entry_number = NULL", "DELETE FROM leaf", "UPDATE checkpoint SET note = ''",
        "DELETE FROM checkpoint", "UPDATE ledger_event SET event = ''", "UPDATE admin_act SET number = 9",
        "ALTER TABLE entry DISABLE TRIGGER entry_no_change", "DROP TRIGGER entry_no_change ON entry",
        "CREATE TABLE another (a int)",
    ):  # fmt: skip
        with pytest.raises(ProgrammingError, match=r"permission denied|must be owner"):
            await site.store.write(lambda rows, statement=statement: rows.gate._c.exec_driver_sql(statement))
    site.close()


def test_a_user_without_rights_opens_newest_tables_and_no_older_ones(serving, postgres, database):
    open_server(serving, lambda: CIPHER).close()
    owner = StoreSettings(**database)
    engine = engine_for(owner, MIGRATING, connections=1)
    migrate_server(engine, "0018")
    postgres.sql("GRANT SELECT ON ALL TABLES IN SCHEMA public TO serving", owner.database)
    with pytest.raises(HandslagError) as raised:
        open_server(owner.model_copy(update={"user": "serving"}), lambda: CIPHER)
    assert raised.value.code == "HS-STORE-OLDER"
    migrate_server(engine)
    engine.dispose()
    postgres.sql("DROP OWNED BY serving", owner.database)


@pytest.mark.parametrize("name", ["", "a b", 'x"; DROP TABLE entry; --', "Å"])
def test_a_name_that_is_no_plain_name_is_refused(name):
    with pytest.raises(HandslagError) as raised:
        grants.statements(name)
    assert raised.value.code == "HS-SETTINGS-INVALID"
