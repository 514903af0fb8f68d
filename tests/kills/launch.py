"""Starts the real command after arming one place: `launch.py PLACE PASS LOG COMMAND...`; PLACE `-` arms none.

The product has no hooks. The launcher wraps the one function that a place names; the PASS-th time through it, the
place's name is written to LOG (append, O_DSYNC) and the process sends SIGKILL to itself. Everything else is the
command as an operator or an agency starts it.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

Hit = Callable[[], None]


class Killer:
    """Counts passes; the last one is the process's last."""

    def __init__(self, place: str, passes: int, log: str) -> None:
        self.place = place
        self.left = passes
        self.log = log
        self.lock = threading.Lock()

    def __call__(self) -> None:
        with self.lock:
            self.left -= 1
            if self.left:
                return
            file = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_DSYNC, 0o600)
            os.write(file, f"{self.place} {os.getpid()} {time.time_ns()}\n".encode())
            os.kill(os.getpid(), signal.SIGKILL)
            signal.pause()


Always = Callable[..., bool]


def _always(*_: Any) -> bool:
    return True


def before(owner: Any, name: str, hit: Hit, when: Always = _always) -> None:
    """Pass the place on entry of `owner.name`; `when` sees the arguments."""
    real = getattr(owner, name)

    @functools.wraps(real)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if when(*args, **kwargs):
            hit()
        return real(*args, **kwargs)

    setattr(owner, name, wrapped)


def after(owner: Any, name: str, hit: Hit, when: Always = _always) -> None:
    """Pass the place when `owner.name` has returned; `when` sees the result and the arguments."""
    real = getattr(owner, name)

    @functools.wraps(real)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        result = real(*args, **kwargs)
        if when(result, *args, **kwargs):
            hit()
        return result

    setattr(owner, name, wrapped)


def awaited(owner: Any, name: str, hit: Hit, when: Always = _always) -> None:
    """As `after`, for a coroutine function."""
    real = getattr(owner, name)

    @functools.wraps(real)
    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        result = await real(*args, **kwargs)
        if when(result, *args, **kwargs):
            hit()
        return result

    setattr(owner, name, wrapped)


# --- the connector's places


def spool_written(hit: Hit) -> None:
    from connectors import executor

    after(executor, "submit", hit)


def send_posting(hit: Hit) -> None:
    from connectors.spool.outgoing import Outgoing

    after(Outgoing, "posting", hit)


def inbox_stored(hit: Hit) -> None:
    from connectors import inbox

    def stored(_result: Any, ctx: Any, item: Any) -> bool:
        return ctx.spool.incoming.waits_for_adapter(item.item_id) is not None

    after(inbox, "take", hit, stored)


def adapter_noted(hit: Hit) -> None:
    from connectors.spool.incoming import Incoming

    after(Incoming, "written", hit, lambda _result, _self, item: item.folder == "out")


def _given(ctx: Any) -> bool:
    return any(ctx.spool.incoming.known(ack.item_id) == "GIVEN" for ack in ctx.spool.incoming.acks())


def ack_before(hit: Hit) -> None:
    from connectors import inbox

    before(inbox, "send_acks", hit, _given)


def ack_answered(hit: Hit) -> None:
    from connectors.spool.incoming import Incoming

    before(Incoming, "acked", hit, lambda self, ack: self.known(ack.item_id) == "GIVEN")


def withdrawal_told(hit: Hit) -> None:
    from connectors import executor

    for kind in ("withdraw", "withdraw_case"):
        real = executor._RUN[kind]

        async def wrapped(*args: Any, real: Any = real) -> Any:
            result = await real(*args)
            hit()
            return result

        executor._RUN[kind] = wrapped


# --- the broker's places


class Marked:
    """Whether the open group commit of the writer thread holds what a place is about."""

    def __init__(self) -> None:
        self.on = False

    def mark(self, *_: Any) -> bool:
        self.on = True
        return False


def _commits(hit: Hit, marked: Marked, *, late: bool) -> None:
    """Pass at the writer's COMMIT of a marked group: before it, or after it when `late`."""
    from sqlalchemy import Connection

    real = Connection.exec_driver_sql

    @functools.wraps(real)
    def wrapped(self: Any, statement: str, *args: Any, **kwargs: Any) -> Any:
        writing = threading.current_thread().name == "store-write"
        ours = writing and marked.on and statement == "COMMIT"
        if ours and not late:
            hit()
        result = real(self, statement, *args, **kwargs)
        if ours:
            marked.on = False
            if late:
                hit()
        return result

    Connection.exec_driver_sql = wrapped  # type: ignore[method-assign]


def store_before_commit(hit: Hit) -> None:
    from broker import pipeline

    marked = Marked()
    after(pipeline, "_commit", hit, marked.mark)
    _commits(hit, marked, late=False)


def store_after_commit(hit: Hit) -> None:
    from broker import pipeline

    marked = Marked()
    after(pipeline, "_commit", hit, marked.mark)
    _commits(hit, marked, late=True)


def stream_in_append(hit: Hit) -> None:
    from broker.store.stream import StreamRows

    after(StreamRows, "append", hit)


def stream_appended(hit: Hit) -> None:
    from broker.stream.embedded import EmbeddedStream

    awaited(EmbeddedStream, "append", hit)


def reply_submit(hit: Hit) -> None:
    from broker.core import BrokerCore

    awaited(BrokerCore, "submit", hit, lambda answer, *_: answer.accepted > 0)


def reply_ack(hit: Hit) -> None:
    from broker.core import BrokerCore

    awaited(BrokerCore, "ack", hit, lambda answer, *_: any(one.leaf_hash for one in answer.results))


def handed_unanswered(hit: Hit) -> None:
    from broker.core import BrokerCore

    awaited(BrokerCore, "fetch", hit, lambda answer, *_: any(item.kind == "DELIVERY" for item in answer.items))


def _withdraws(writes: Any) -> bool:
    return any(write.act.act in {"WITHDRAW", "WITHDRAW_ALL"} for write in writes)


def withdrawal_bumped(hit: Hit) -> None:
    from broker.acts import _Transaction

    after(_Transaction, "_narrow", hit, lambda _result, _self, _rows, writes, _bump: _withdraws(writes))


def withdrawal_committed(hit: Hit) -> None:
    from broker.acts import _Transaction

    marked = Marked()
    after(_Transaction, "_finish", hit, lambda _r, _self, _rows, writes, *_: _withdraws(writes) and marked.mark())
    _commits(hit, marked, late=True)


def sealer_head_committed(hit: Hit) -> None:
    from broker.sealer import Sealer

    awaited(Sealer, "_seal", hit, lambda entries, *_: entries > 0)


def sealer_unsigned(hit: Hit) -> None:
    from broker.sealer import Sealer

    before(Sealer, "_sign", hit)


def sealer_unpublished(hit: Hit) -> None:
    from broker import sealer

    after(sealer, "sign_checkpoint", hit)


INSTALL: dict[str, Callable[[Hit], None]] = {
    "spool.written": spool_written,
    "send.posting": send_posting,
    "inbox.stored": inbox_stored,
    "adapter.noted": adapter_noted,
    "ack.before": ack_before,
    "ack.answered": ack_answered,
    "withdrawal.told": withdrawal_told,
    "store.before-commit": store_before_commit,
    "store.after-commit": store_after_commit,
    "stream.in-append": stream_in_append,
    "stream.appended": stream_appended,
    "reply.submit": reply_submit,
    "reply.ack": reply_ack,
    "handed.unanswered": handed_unanswered,
    "withdrawal.bumped": withdrawal_bumped,
    "withdrawal.committed": withdrawal_committed,
    "sealer.head-committed": sealer_head_committed,
    "sealer.unsigned": sealer_unsigned,
    "sealer.unpublished": sealer_unpublished,
}


def main() -> None:
    """Arm the place and run the command to its end."""
    place, passes, log, *command = sys.argv[1:]
    if place != "-":
        INSTALL[place](Killer(place, int(passes), log))
    import handslag

    handslag.main(command)


if __name__ == "__main__":
    main()
