"""What was disclosed without consent and is not in a log that went on after a loss: told to the agency, once.

It is not given back by itself, as a consent is: giving it back would disclose it once more, and nothing but two people
does that. Approvals and words of second persons only record, and are given back (`giving_back.py`).
"""

from __future__ import annotations

from audit import tlogproof
from connectors import reports, sealing, statute_book
from connectors.context import Context
from connectors.fields import shown_moment
from schemas import limits
from schemas.checks import sha256
from schemas.errors import HandslagError
from schemas.identifiers import shown
from schemas.statute import StatuteAnswer, StatuteRequest, StatutoryDisclosure


def tell(ctx: Context, kept_size: int) -> int:
    """Queue a file for every decision that is not proven to lie in the kept leaves, `kept_size` of them.

    In the transaction that follows the log; returns how many. One whose proof had not come before the loss is told too:
    a person is asked about it once too often rather than never.
    """
    # INVARIANT: test_what_went_on_a_law_and_was_lost_is_told_to_who_decided_it
    found = 0
    for request, answer in ctx.spool.memory.calls("/v1/disclosures:statutory"):
        if answer is None:
            continue
        proof = ctx.spool.memory.proof(StatuteAnswer.from_bytes(answer, limits.CALL).leaf_hash)
        if proof is None or tlogproof.parse(proof).index >= kept_size:
            _tell(ctx, StatuteRequest.from_bytes(request, sealing.SEALED_BYTES).disclosure.statement)
            found += 1
    return found


def _tell(ctx: Context, statement: bytes) -> None:
    told = StatutoryDisclosure.from_bytes(statement)
    row = statute_book.book(ctx).get(told.disclosure_id.hex())
    value = {
        "kind": "alarm",
        "ref": None if row is None else row["ref"],
        "disclosure": shown(told.disclosure_id),
        "to": told.role,
        "categories": list(told.categories),
        "acute": told.acute,
        "decided_at": shown_moment(told.decided_at_us),
        **reports.error_value(HandslagError("HS-STATUTE-LOST")),
    }
    ctx.spool.incoming.put(f"statute-lost-{sha256(statement).hex()}", "receipts", value)
    if row is not None:
        statute_book.put(ctx, told.disclosure_id, {**row, "lost": True})
