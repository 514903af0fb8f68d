"""When a unit's connector called last, and what it told of itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass, replace
from pathlib import Path

from sqlalchemy import Connection, create_engine, delete, insert, select
from sqlalchemy.exc import SQLAlchemyError

from broker.engine_settings import StoreSettings
from broker.store.cipher import ColumnCipher
from broker.store.postgresql_engine import READING, checked, engine_for
from broker.store.tables import contact
from schemas.errors import HandslagError


@dataclass(frozen=True, slots=True)
class ContactRow:
    """The last contact of one unit; `clock_offset_us` is its clock minus ours, when it told its clock."""

    unit: str
    at_us: int
    version: str | None
    clock_offset_us: int | None


class ContactRows:
    """Verbs on `contact`."""

    def __init__(self, connection: Connection, cipher: ColumnCipher) -> None:
        self._c = connection
        self._cipher = cipher

    def put(self, rows: Iterable[ContactRow]) -> None:
        """Keep the newest contact of each unit; one that another node heard later stays."""
        for row in rows:
            kept = replace(row, unit=self._cipher.handle("contact", row.unit))
            later = select(contact.c.unit).where(contact.c.unit == kept.unit, contact.c.at_us > kept.at_us)
            if self._c.execute(later).first() is not None:
                continue
            self._c.execute(delete(contact).where(contact.c.unit == kept.unit))
            self._c.execute(insert(contact).values(astuple(kept)))

    def all(self) -> list[ContactRow]:
        """Every contact, by unit code."""
        rows = [ContactRow(*row) for row in self._c.execute(select(contact))]
        return sorted(
            (replace(row, unit=self._cipher.code("contact", row.unit)) for row in rows), key=lambda row: row.unit
        )


def offline(database: Path, cipher: Callable[[], ColumnCipher]) -> list[ContactRow]:
    """The contacts of a broker that does not run, read without writing; none when there is no store yet.

    `cipher` is asked only when there is one. Raises `HS-NOT-READY` for a store that cannot be read, and what `cipher`
    raises.
    """
    if not database.is_file():
        return []
    engine = create_engine(f"sqlite:///file:{database}?mode=ro&uri=true")
    try:
        with engine.connect() as connection:
            return ContactRows(connection, cipher()).all()
    except SQLAlchemyError:
        raise HandslagError("HS-NOT-READY") from None
    finally:
        engine.dispose()


def offline_server(settings: StoreSettings, cipher: Callable[[], ColumnCipher]) -> list[ContactRow]:
    """The same from a server, whether a node runs or not; none before the first start.

    Raises `HS-STORE-AWAY`, `HS-STORE-UNSUITABLE`, `HS-NOT-READY`, and what `cipher` raises.
    """
    engine = engine_for(settings, READING, connections=1)
    try:
        checked(engine)
        with engine.connect() as connection:
            if not connection.exec_driver_sql("SELECT to_regclass('contact') IS NOT NULL").scalar_one():
                return []
            return ContactRows(connection, cipher()).all()
    except SQLAlchemyError:
        raise HandslagError("HS-NOT-READY") from None
    finally:
        engine.dispose()
