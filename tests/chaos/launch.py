"""Starts the real command of a process of a chaos run.

    launch.py connector UNIT FACTS COMMAND...      writes down what the connector records (recorder.py)
    launch.py node NAME FOLDER COMMAND...          follows FOLDER/NAME.arm, FOLDER/NAME.clock; writes FOLDER/NAME.trace

The product has no hooks. A node's launcher wraps the functions that PLACES name. When the word in NAME.arm is
`PLACE ACTION` and the node passes that place, the file is removed, the trace says where the node is and what its own
database driver says of the transaction at that instant, and then the node stops (`stop`, SIGSTOP) or kills itself
(`kill`, SIGKILL). Every COMMIT and ROLLBACK after a stop is in the trace too. NAME.clock holds microseconds by which
this node's wall clock is wrong; monotonic clocks and the machine's clock are as they are.
"""

from __future__ import annotations

import contextvars
import functools
import importlib
import importlib.util
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.kills.launch import after, awaited

_SIGNALS = {"stop": signal.SIGSTOP, "kill": signal.SIGKILL}
_LOOK_S = 0.05


class Tracer:
    """The trace of one node, and what its arm file tells it to do."""

    def __init__(self, folder: Path, name: str) -> None:
        self._arm = folder / f"{name}.arm"
        self._file = os.open(folder / f"{name}.trace", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._lock = threading.Lock()
        self._stopped: set[int] = set()

    def note(self, what: str, **values: Any) -> None:
        """Append one line."""
        head = {"at": time.monotonic_ns() // 1000, "pid": os.getpid(), "what": what}
        os.write(self._file, json.dumps({**head, **values}).encode() + b"\n")

    def passed(self, place: str, connection: Any = None, committed: list[str] | None = None) -> None:
        """Stop or die here when armed with this place.

        `connection` is the open one of a unit of work; `committed` is what this call had made durable when it passed.
        """
        try:
            armed, action = self._arm.read_text(encoding="ascii").split()
        except (OSError, ValueError):
            return
        with self._lock:
            if armed != place or not self._arm.exists():
                return
            self._arm.unlink()
        number = _number(connection)
        self.note(action, place=place, transaction=number, open=_open(connection), committed=committed)
        if number is not None:
            self._stopped.add(number)
        signal.pthread_kill(threading.get_ident(), _SIGNALS[action])  # to this thread: not one line more before it acts
        self.note("continued", place=place, transaction=number, open=_open(connection))

    def ended(self, how: str, number: int | None) -> None:
        """A transaction ended; only one that was stopped inside is in the trace."""
        if number in self._stopped:
            self._stopped.discard(number)
            self.note(how, transaction=number)


def _driver(connection: Any) -> Any:
    """The driver's own connection below SQLAlchemy's."""
    found = getattr(connection, "connection", connection)
    return getattr(found, "dbapi_connection", found)


def _number(connection: Any) -> int | None:
    return None if connection is None else id(_driver(connection))


def _open(connection: Any) -> bool | None:
    """What the driver says: is a transaction open on this connection?"""
    if connection is None:
        return None
    driver = _driver(connection)
    if hasattr(driver, "in_transaction"):
        return bool(driver.in_transaction)
    return bool(driver.info.transaction_status.name in {"INTRANS", "ACTIVE"})


def _ends(tracer: Tracer) -> None:
    """COMMIT and ROLLBACK, which every Store driver says itself, and a session that its server ended."""
    from sqlalchemy import Connection, Engine, event

    def failed(context: Any) -> None:
        if context.is_disconnect and context.connection is not None:
            tracer.ended("session gone", _number(context.connection))

    event.listen(Engine, "handle_error", failed)

    said = Connection.exec_driver_sql

    def exec_driver_sql(self: Any, statement: str, *args: Any, **kwargs: Any) -> Any:
        if statement not in {"COMMIT", "ROLLBACK"}:
            return said(self, statement, *args, **kwargs)
        number = _number(self)
        try:
            result = said(self, statement, *args, **kwargs)
        except BaseException:
            tracer.ended(f"{statement} failed", number)
            raise
        tracer.ended(statement, number)
        return result

    Connection.exec_driver_sql = exec_driver_sql  # type: ignore[method-assign]


def _inner_faults(tracer: Tracer) -> None:
    """What a node calls HS-INTERNAL in its log, by code alone, is in the trace with where it came from."""
    from broker import logs

    real = logs.event

    def event(logger: Any, level: int, name: str, **fields: Any) -> None:
        if name == "HS-INTERNAL":
            tracer.note("internal", fault=traceback.format_exc()[-3000:], **fields)
        real(logger, level, name, **fields)

    logs.event = event


def _holds(tracer: Tracer) -> None:
    """Why a node believes that its Store went back is in the trace: both sides of the comparison."""
    from broker.sealer import Sealer

    real = Sealer._check

    def check(self: Any, committed: Any, anchored: Any) -> None:
        try:
            real(self, committed, anchored)
        except Exception as error:
            latest = committed.latest and committed.latest.note
            root_at = committed.root_at and committed.root_at.hex()
            tracer.note("contradiction", fault=repr(error), head=repr(committed.head), root_at=root_at, latest=latest,
                        anchored=anchored.body())  # fmt: skip
            raise

    Sealer._check = check  # type: ignore[method-assign]


Pass = Callable[..., None]


def batch_inside(hit: Pass) -> None:
    from broker import pipeline

    real = pipeline._commit

    def commit(rows: Any, *args: Any) -> None:
        real(rows, *args)
        hit(rows.gate._c)

    pipeline._commit = commit


def withdrawal_inside(hit: Pass) -> None:
    from broker.acts import _Transaction
    from tests.kills.launch import _withdraws

    def seen(_result: Any, _self: Any, rows: Any, writes: Any, _bump: Any) -> bool:
        if _withdraws(writes):
            hit(rows.gate._c)
        return False

    after(_Transaction, "_narrow", lambda: None, seen)


def hand_over_inside(hit: Pass) -> None:
    from broker.store.deliveries import DeliveryRows

    def seen(handed: Any, self: Any, *_: Any) -> bool:
        if handed:
            hit(self._c)
        return False

    after(DeliveryRows, "hand", lambda: None, seen)


def batch_decided(hit: Pass) -> None:
    from broker import pipeline

    awaited(pipeline, "prepare", hit)


def hand_over_prepared(hit: Pass) -> None:
    from broker import handover

    after(handover, "_prepare", hit)


_COMMITTED: contextvars.ContextVar[list[str] | None] = contextvars.ContextVar("committed", default=None)
_DURABLE = (  # where a call makes something durable before it is answered
    ("broker.store.sqlite", "SqliteStore", "write"),
    ("broker.store.postgresql", "PostgresStore", "write"),
    ("broker.stream.kafka", "KafkaStream", "append"),
)


def _durable() -> None:
    """Note in the call's own context whatever it made durable."""
    for module, owner, name in _DURABLE:
        if importlib.util.find_spec(module) is None:
            continue
        kind = getattr(importlib.import_module(module), owner)
        real = getattr(kind, name)

        @functools.wraps(real)
        async def wrapped(*args: Any, real: Any = real, what: str = f"{owner}.{name}", **kwargs: Any) -> Any:
            result = await real(*args, **kwargs)
            committed = _COMMITTED.get()
            if committed is not None:
                committed.append(what)
            return result

        setattr(kind, name, wrapped)


def _unanswered(name: str, when: Callable[..., bool]) -> Callable[[Pass], None]:
    """The place between the last COMMIT of a call and its reply."""

    def install(hit: Pass) -> None:
        from broker.core import BrokerCore

        real = getattr(BrokerCore, name)

        @functools.wraps(real)
        async def wrapped(self: Any, unit: str, request: Any) -> Any:
            committed: list[str] = []
            _COMMITTED.set(committed)
            answer = await real(self, unit, request)
            if when(answer, request):
                hit(committed=committed)
            return answer

        setattr(BrokerCore, name, wrapped)

    return install


def _is_withdrawal(_answer: Any, request: Any) -> bool:
    from schemas import codec
    from schemas.acts import CaseWithdrawal, ConsentAct

    whole = codec.name_of(request.act) == CaseWithdrawal.SCHEMA
    return whole or ConsentAct.from_bytes(request.act).act == "WITHDRAW"


PLACES: dict[str, Callable[[Pass], None]] = {
    "batch.decided": batch_decided,
    "hand-over.prepared": hand_over_prepared,
    "batch.inside": batch_inside,
    "withdrawal.inside": withdrawal_inside,
    "hand-over.inside": hand_over_inside,
    "submit.unanswered": _unanswered("submit", lambda answer, _: answer.accepted > 0),
    "hand-over.unanswered": _unanswered("fetch", lambda answer, _: any(i.kind == "DELIVERY" for i in answer.items)),
    "ack.unanswered": _unanswered("ack", lambda answer, _: any(one.leaf_hash for one in answer.results)),
    "withdrawal.unanswered": _unanswered("consents", _is_withdrawal),
}
BEFORE = frozenset({"batch.decided", "hand-over.prepared"})
INSIDE = frozenset(name for name in PLACES if name.endswith(".inside"))
UNANSWERED = frozenset(name for name in PLACES if name.endswith(".unanswered"))


def _wrong_clock(path: Path) -> None:
    """This process's wall clock, wrong by what the file says; put in before anything reads the time."""
    real, offset = time.time_ns, [0]

    def follow() -> None:
        while True:
            try:
                offset[0] = int(path.read_text(encoding="ascii")) * 1000
            except (OSError, ValueError):
                offset[0] = 0
            time.sleep(_LOOK_S)

    time.time_ns = lambda: real() + offset[0]
    time.time = lambda: (real() + offset[0]) / 1e9
    threading.Thread(target=follow, daemon=True, name="wrong-clock").start()


def main() -> None:
    """Wrap what the kind of process asks for, then run the command to its end."""
    kind, name, where, *command = sys.argv[1:]
    if kind == "connector":
        from tests.chaos import recorder

        recorder.install(recorder.Recorder(where, name))
    else:
        _wrong_clock(Path(where) / f"{name}.clock")
        tracer = Tracer(Path(where), name)
        _ends(tracer)
        _inner_faults(tracer)
        _holds(tracer)
        _durable()
        for place, install in PLACES.items():
            install(functools.partial(tracer.passed, place))
    import handslag

    handslag.main(command)


if __name__ == "__main__":
    main()
