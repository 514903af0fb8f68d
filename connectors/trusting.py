"""Before the first run: the other agencies' signatures under the trust list, fetched until two are there.

The broker carries signatures and cannot make one: what counts is the fingerprint in this connector's own
configuration, which its administrator compared by phone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path

from connectors import files, keys, trust
from connectors import settings as configuration
from connectors.link import Link
from connectors.settings import Settings
from connectors.trust import TrustList
from schemas.errors import HandslagError
from schemas.trust_calls import TrustAnswer, TrustRequest

_log = logging.getLogger("handslag.connector")


async def complete(config: Path, ended: asyncio.Event) -> None:
    """Wait until two agencies have signed the list that this connector was told by phone, or until `ended`.

    Returns at once when nothing is missing, and when something else than a signature is wrong: who loads the list
    says so.
    """
    settings = configuration.load(config)
    listed = waiting_list(settings)
    if listed is None:
        return
    _log.warning("trust: waiting for the signature of another agency")
    async with Link(settings, lambda: None) as link:
        while not ended.is_set():
            pause = settings.poll_s
            try:
                own = listed.signatures.get(settings.agency)
                answer = await link.call("/v1/trust", TrustRequest(signature=own), TrustAnswer)
                listed = merged(listed, answer)
                if len(listed.signatures) >= trust.SIGNERS:
                    files.write_atomic(settings.trust_file, trust.rendered(listed).encode())
                    return
            except HandslagError as error:
                if not error.entry.retriable:  # every refusal is an entry of the trail: do not write one a second
                    _log.warning("trust: %s", error.code)
                    pause = settings.directory_s
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), pause)


def waiting_list(settings: Settings) -> TrustList | None:
    """The configured list, when all it lacks are signatures; None otherwise."""
    try:
        listed = trust.parse(settings.trust_file.read_text(encoding="utf-8"))
        trust.trusted(listed, settings.trust_fingerprint)
    except (OSError, UnicodeDecodeError):
        return None
    except HandslagError as error:
        return listed if error.context.get("check") == "signers" else None
    return None


def merged(listed: TrustList, answer: TrustAnswer) -> TrustList:
    """The list with those signatures of the answer that hold over it; the answer's own statement is not looked at."""
    # INVARIANT: test_a_signature_that_the_broker_made_up_is_not_counted
    listed_keys = {each.agency: each.signing_key for each in listed.statement.agencies}
    data = listed.statement.to_bytes()
    found = dict(listed.signatures)
    for each in answer.signatures:
        if each.agency in listed_keys:
            with contextlib.suppress(HandslagError):
                keys.verify(listed_keys[each.agency], each.signature, data)
                found.setdefault(each.agency, each.signature)
    return TrustList(listed.statement, found)
