"""One shape for every refusal: `application/problem+json` (RFC 9457) made from the registry of errors.

The correlation id stands in a header and not in the body, so that answers about an unknown, a foreign and a closed
seat are equal byte for byte.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping

from aiohttp import web

from broker import logs
from schemas.errors import HandslagError

CORRELATION = "Handslag-Correlation"
PROBLEM = "application/problem+json"

# What is refused here is told by the code alone; any word more could tell two cases apart.
_BARE = frozenset({"HS-SEAT-UNKNOWN", "HS-UNIT-UNKNOWN", "HS-INTERNAL"})
# The last net under "context holds product words only": field names, codes and rules look like this, values seldom do.
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.:/ -]{0,63}", re.ASCII)

_log = logging.getLogger("handslag.gateway")


def problem(error: HandslagError, correlation: str) -> web.Response:
    """The answer that tells `error`; equal errors give equal bodies."""
    entry = error.entry
    body = {
        "type": f"urn:handslag:error:{entry.code}",
        "status": entry.status,
        "code": entry.code,
        "title_sv": entry.sv,
        "title_en": entry.en,
        "next_sv": entry.next_sv,
        "next_en": entry.next_en,
        "retriable": entry.retriable,
        "context": _told(error),
    }
    headers = {CORRELATION: correlation}
    if entry.retriable and entry.status in {429, 503}:
        headers["Retry-After"] = str(error.retry_after_s or 1)
    payload = json.dumps(body, ensure_ascii=False, sort_keys=True).encode()
    return web.Response(status=entry.status, body=payload, content_type=PROBLEM, headers=headers)


def internal(fault: Exception, call: str, correlation: str) -> HandslagError:
    """Log a fault that nobody foresaw, by its type and nothing it says, and return the error that tells it."""
    # INVARIANT: test_an_internal_fault_hides_every_value
    logs.event(_log, logging.ERROR, "HS-INTERNAL", call=call, correlation=correlation, exception=type(fault).__name__)
    return HandslagError("HS-INTERNAL")


def _told(error: HandslagError) -> Mapping[str, str | int]:
    if error.code in _BARE:
        return {}
    return {
        key: value for key, value in sorted(error.context.items()) if isinstance(value, int) or _WORD.fullmatch(value)
    }
