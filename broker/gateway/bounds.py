"""What may come in: bodies bounded while they are read, headers of one spelling, a share of the room per unit."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import hdrs, web

from schemas import limits
from schemas.calls import AckRequest, FetchRequest, ProofsRequest, SubmitRequest
from schemas.errors import HandslagError

AVRO = "application/vnd.handslag.avro"
INSTANCE = "Handslag-Instance"
CHECKPOINT = "Handslag-Checkpoint"
BODY_SECONDS = 30.0  # a bundle of 8 MiB over 3 Mbit/s; a slower line sends smaller bundles
VERSION = "Handslag-Version"
CLOCK = "Handslag-Clock"
_INSTANCE = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
_VERSION = re.compile(r"[0-9][0-9A-Za-z.+-]{0,31}", re.ASCII)
_CLOCK = re.compile(r"[1-9][0-9]{0,16}", re.ASCII)  # microseconds, for another thousand years

# How many calls of one unit may be under way, by lane: bulk calls hold megabytes each; consents have a lane of their
# own, so that a withdrawal finds room when everything else is full.
LANES = {"bulk": 4, "consents": 32, "other": 32}


async def read_body(request: web.BaseRequest, limit: int) -> bytes:
    """The body, at most `limit` bytes; a declared size over it is refused before a byte is read.

    Raises `HS-CONTENT-TYPE`, `HS-TOO-LARGE`, `HS-BODY-LATE`.
    """
    # INVARIANT: test_an_oversize_body_is_refused_unread
    encoding = request.headers.get(hdrs.CONTENT_ENCODING, "identity")
    if request.content_type != AVRO or encoding.lower() != "identity":
        raise HandslagError("HS-CONTENT-TYPE")
    if (request.content_length or 0) > limit:
        raise HandslagError("HS-TOO-LARGE", limit=limit)
    await _go_on(request)
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > limit:
                    raise HandslagError("HS-TOO-LARGE", limit=limit)
    except (TimeoutError, ConnectionError, web.PayloadAccessError, web.RequestPayloadError):
        raise HandslagError("HS-BODY-LATE") from None
    return bytes(body)


async def _go_on(request: web.BaseRequest) -> None:
    """Ask a client that waits for it (RFC 9110 section 10.1.1) to send its body."""
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer itself has not begun


def identity_headers(request: web.BaseRequest) -> tuple[int, str | None]:
    """The connector's instance number and the newest signed note it has verified, or None before the first.

    Raises `HS-HEADER-INVALID` when one is missing, repeated or of another form.
    """
    instances = request.headers.getall(INSTANCE, [])
    notes = request.headers.getall(CHECKPOINT, [])
    if len(instances) != 1 or not _INSTANCE.fullmatch(instances[0]):
        raise HandslagError("HS-HEADER-INVALID", header=INSTANCE)
    if not notes:
        return int(instances[0]), None
    try:
        (note,) = notes
        return int(instances[0]), base64.b64decode(note, validate=True).decode("utf-8")
    except (ValueError, binascii.Error):
        raise HandslagError("HS-HEADER-INVALID", header=CHECKPOINT) from None


def told_about_itself(request: web.BaseRequest) -> tuple[str | None, int | None]:
    """The connector's version and its clock in microseconds UTC, each None when it is absent or of another form.

    They serve whoever looks after connectors and decide nothing: a withdrawal is not refused for their sake.
    """
    version, clock = request.headers.get(VERSION, ""), request.headers.get(CLOCK, "")
    return (version if _VERSION.fullmatch(version) else None, int(clock) if _CLOCK.fullmatch(clock) else None)


class UnderWay:
    """Counts calls under way per unit and lane, and refuses those over `LANES` with `HS-BUSY`."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()

    @contextmanager
    def room(self, unit: str, lane: str) -> Iterator[None]:
        """Hold one place of the lane for the block."""
        place = (unit, lane)
        if self._counts[place] >= LANES[lane]:
            raise HandslagError("HS-BUSY")
        self._counts[place] += 1
        try:
            yield
        finally:
            self._counts[place] -= 1
            if not self._counts[place]:
                del self._counts[place]


def check_bundle(request: SubmitRequest) -> None:
    """A bundle has 1 to 500 submissions; raises `HS-BUNDLE-INVALID`."""
    if not 1 <= len(request.submissions) <= limits.BUNDLE_COUNT:
        raise HandslagError("HS-BUNDLE-INVALID", limit=limits.BUNDLE_COUNT)


def check_fetch(request: FetchRequest) -> None:
    """A fetch asks for 1 to 200 items and waits at most 20 seconds; raises `HS-TOO-LARGE`."""
    if not 1 <= request.limit <= limits.INBOX_ITEMS:
        raise HandslagError("HS-TOO-LARGE", limit=limits.INBOX_ITEMS)
    if not 0 <= (request.wait_ms or 0) <= limits.WAIT_MS:
        raise HandslagError("HS-TOO-LARGE", limit=limits.WAIT_MS)
    if len(request.without or ()) > limits.SEATS_WITHOUT:
        raise HandslagError("HS-TOO-LARGE", limit=limits.SEATS_WITHOUT)


def check_acks(request: AckRequest) -> None:
    """An acknowledgement names at most what one fetch gives; raises `HS-TOO-LARGE`."""
    if len(request.acks) > limits.INBOX_ITEMS:
        raise HandslagError("HS-TOO-LARGE", limit=limits.INBOX_ITEMS)


def check_proofs(request: ProofsRequest) -> None:
    """At most 500 leaf hashes in one call; raises `HS-TOO-LARGE`."""
    if len(request.leaf_hashes) > limits.PROOFS:
        raise HandslagError("HS-TOO-LARGE", limit=limits.PROOFS)
