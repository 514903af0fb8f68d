"""One JSON object a line, UTC, codes and numbers only: what the operator may read of a person is nothing.

A record's own message is written as it stands, so callers pass product words. What libraries log is cut down to
logger, level and exception type, because their messages quote the input.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

PREFIX = "handslag"


class JsonLine(logging.Formatter):
    """Formats a record as one line of JSON without exception text, stack, path or arguments."""

    def format(self, record: logging.LogRecord) -> str:
        """Time, level, logger, and event with its fields; of a foreign record only the exception's type."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
        }
        # INVARIANT: test_a_foreign_log_record_loses_its_text
        if record.name == PREFIX or record.name.startswith(PREFIX + "."):
            line["event"] = str(record.msg)
            line.update(getattr(record, "fields", {}))
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = record.exc_info[0].__name__
        return json.dumps(line, ensure_ascii=False)


def configure(stream: TextIO = sys.stderr, level: int = logging.INFO) -> None:
    """Send the records of the process to `stream` as JSON lines: our own from `level` up, others from WARNING up."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLine())
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler], force=True)
    logging.getLogger(PREFIX).setLevel(level)  # what libraries tell in passing says nothing once their text is cut


def event(logger: logging.Logger, level: int, name: str, **fields: str | int | float) -> None:
    """Log an event by name with fields; neither may hold a value of any input."""
    logger.log(level, name, extra={"fields": fields})


def quiet_loop_handler(_loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    """For `loop.set_exception_handler`: what kind of fault reached the loop, without its text."""
    fault = context.get("exception")
    event(logging.getLogger("handslag.loop"), logging.ERROR, "HS-INTERNAL", exception=type(fault).__name__)


class _Wordless(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        fault = record.exc_info[0] if record.exc_info else None
        record.msg, record.args, record.exc_info, record.exc_text = "HTTP-FAULT", (), None, None
        record.fields = {"exception": fault.__name__} if fault is not None else {}
        return True


def http_logger(name: str = "handslag.http") -> logging.Logger:
    """The logger given to an HTTP server in place of its own, which would quote the bytes it could not read."""
    # INVARIANT: test_bytes_that_are_no_request_are_not_logged
    logger = logging.getLogger(name)
    if not logger.filters:
        logger.addFilter(_Wordless())
    return logger
