"""Bytes that are no HTTP request: counted, never logged one by one, because a flood of them would fill the disk."""

from __future__ import annotations

import logging
from collections.abc import Callable

from aiohttp import http_exceptions

from broker import logs


class _Counted(logging.Filter):
    def __init__(self, told: Callable[[str], None]) -> None:
        super().__init__()
        self._told = told

    def filter(self, record: logging.LogRecord) -> bool:
        fault = record.exc_info[0] if record.exc_info else None
        if fault is None or not issubclass(fault, http_exceptions.HttpProcessingError):
            return True
        self._told("request")
        return False


def http_logger(told: Callable[[str], None]) -> logging.Logger:
    """The gateway's own HTTP logger; `told` gets `request` for bytes that are none. Other faults keep their line."""
    # INVARIANT: test_bytes_that_are_no_request_are_counted_and_not_logged
    logger = logs.http_logger("handslag.http.gateway")
    kept = [each for each in logger.filters if not isinstance(each, _Counted)]
    logger.filters = [_Counted(told), *kept]
    return logger
