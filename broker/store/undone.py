"""Why a transaction was undone, in words of a closed list: a SQLSTATE, or what stood in the way of asking at all.

What a server says beside its SQLSTATE quotes rows, so nothing else of it is ever told.
"""

from __future__ import annotations

from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

POOL, CONNECT, LOST, OTHER = "pool", "connect", "lost", "other"
REASONS = frozenset({
    "25P03",  # the node was silent inside its transaction for longer than idle_in_transaction_session_timeout
    "40001",  # serialization_failure
    "40P01",  # deadlock_detected
    "53100",  # disk_full
    "53200",  # out_of_memory
    "53300",  # too_many_connections
    "55P03",  # lock_not_available: lock_timeout
    "57014",  # query_canceled: statement_timeout
    "57P01",  # admin_shutdown
    "57P02",  # crash_shutdown
    "57P03",  # cannot_connect_now
    POOL,  # every connection of this node was in use for a second
    CONNECT,  # the server cannot be reached, or lets nobody in
    LOST,  # the connection ended without a word
    OTHER,
})  # fmt: skip
"""PostgreSQL "Appendix A. Error Codes", and four words of our own."""
UNREACHED = frozenset({POOL, CONNECT})


class Undone(Exception):  # noqa: N818 - an answer, not a fault: the work may run again
    """Nothing of a transaction was written, and the work is not to blame; `reason` is one of REASONS."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def reason_of(error: SQLAlchemyError) -> str:
    """The one of REASONS that an error in the middle of a transaction means."""
    if isinstance(error, PoolTimeout):
        return POOL
    return reason_for(sqlstate(error))


def reason_for(state: str | None) -> str:
    """The one of REASONS that a SQLSTATE means; None: the connection ended without one."""
    if state is None:
        return LOST
    return state if state in REASONS else OTHER


def sqlstate(error: BaseException) -> str | None:
    """The five letters that the server gave its refusal; None where it said nothing."""
    return getattr(getattr(error, "orig", None), "sqlstate", None)


def own_fault(error: SQLAlchemyError) -> bool:
    """Whether the work is to blame and would fail again.

    A constraint that does not hold, SQLSTATE class 22 (data) and 42 (syntax, missing table, no right), and a write
    where one reads.
    """
    state = sqlstate(error)
    refused = state is not None and (state[:2] in {"22", "42"} or state == "25006")
    return isinstance(error, IntegrityError) or refused
