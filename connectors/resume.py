"""Following a log that went on after a loss: what an agency's own people look at, and what their word changes.

`found` asks the broker and checks everything that can be checked; `confirm` follows. Nothing here happens by itself: a
connector that was stopped by a log that went back stays stopped until a person has read what was lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from audit.checkpoint import Checkpoint
from audit.continuation import check_statement, number_of, open_part, subject_of
from audit.note import Verifier
from connectors import hold, operators, statute_lost
from connectors.context import Context
from connectors.fields import shown_moment
from connectors.witness import ReadPath
from schemas.errors import HandslagError
from schemas.hold import Continuation, HoldAnswer, SignedContinuation

_CODE = 12  # hexadecimal digits that a person reads and types: 48 bits against a slip, not against an enemy


@dataclass(frozen=True, slots=True)
class Loss:
    """A continuation that may be followed, and what it means here.

    `ours` is the newest checkpoint that this connector had verified, `more` whether that is more than the operator
    states; `kept` how many leaves are kept of what it has followed so far; `proofs` are leaves proven to us that lie
    in what was lost, `wanted` such as were never proven.
    """

    said: Continuation
    code: str
    ours: Checkpoint | None
    more: bool
    kept: int
    proofs: int
    wanted: int
    hold_id: bytes | None

    def as_json(self) -> dict[str, Any]:
        """Both checkpoints and the loss, for a person or a program."""
        return {
            "old": {"origin": self.said.old_origin, "size": self.said.old_size, "root": self.said.old_root.hex()},
            "new": {"origin": self.said.new_origin, "size": self.said.kept_size, "root": self.said.kept_root.hex()},
            "ours": None
            if self.ours is None
            else {"origin": self.ours.origin, "size": self.ours.size, "root": self.ours.root.hex()},
            "more_than_stated": self.more,
            "lost_leaves": max(0, max(self.said.old_size, self.ours.size if self.ours else 0) - self.said.kept_size),
            "our_proofs_lost": self.proofs,
            "our_proofs_never_came": self.wanted,
            "cause": self.said.cause,
            "administrator": self.said.administrator,
            "reason": self.said.reason,
            "at": shown_moment(self.said.at_us),
            "confirm": self.code,
        }


async def found(ctx: Context) -> Loss:
    """The newest continuation that the broker shows, checked against what this connector holds.

    Raises HS-RESUME-REFUSED with `check` = none (nothing to follow), statement, unsigned (no two administrators signed
    for it), or fork: the kept leaves are not a beginning of the log that we saw.
    """
    answer = await ctx.link.get("/v1/hold", HoldAnswer)
    log = ctx.witness.base_key
    steps = [_checked(ctx, one, log) for one in answer.statements]
    fresh = [one for one in steps if (number_of(ctx.settings.origin, one.new_origin) or 0) > ctx.witness.number]
    if not fresh:
        raise HandslagError("HS-RESUME-REFUSED", check="none")
    said, signed = fresh[-1], answer.statements[-1]
    await signed_for(ctx, fresh)
    kept = min(one.kept_size for one in fresh)
    ours = ctx.witness.opened_newest()
    await same_beginning(ctx, said, kept, ctx.link.raw)
    lost = [index for index in _proven(ctx) if index >= kept]
    stated = any(ours is not None and one.old_origin == ours.origin and ours.size <= one.old_size for one in fresh)
    return Loss(
        said=said,
        code=sha256(signed.statement).hexdigest()[:_CODE],
        ours=ours,
        more=ours is not None and ours.size > kept and not stated,
        kept=kept,
        proofs=len(lost),
        wanted=ctx.spool.memory.proof_counts()[1],
        hold_id=answer.hold_id if answer.active else None,
    )


async def signed_for(ctx: Context, fresh: list[Continuation]) -> None:
    """Check that two administrators signed for every continuation that is news here; raises HS-RESUME-REFUSED.

    A connector that was never shown an act is of a broker of an earlier version, and asks for none.
    """
    # INVARIANT: test_a_log_that_went_on_without_two_administrators_is_not_followed
    if not operators.remembered(ctx).count:
        return
    try:
        await operators.follow(ctx)
    except HandslagError as error:
        if error.code != "HS-ADMIN-ACT-INVALID":
            raise
        raise HandslagError("HS-RESUME-REFUSED", check="unsigned") from None
    signed = operators.remembered(ctx).gone_on
    if any(subject_of(one) not in signed for one in fresh):
        raise HandslagError("HS-RESUME-REFUSED", check="unsigned")


def confirm(ctx: Context, loss: Loss) -> None:
    """Follow: the log's new origin is ours, what stopped this connector is over, the old notes stay as evidence."""
    # INVARIANT: test_only_a_person_makes_a_connector_follow_a_continued_log
    with ctx.spool.transaction():
        ctx.witness.go_on(loss.said, ctx.now())
        ctx.spool.memory.lose_proofs()
        statute_lost.tell(ctx, loss.kept)
        hold.follow(ctx, loss.hold_id or b"-")


def _checked(ctx: Context, one: SignedContinuation, log: Verifier) -> Continuation:
    try:
        return check_statement(one, base=ctx.settings.origin, log=log)
    except HandslagError as error:
        check = str(error.context.get("check", "statement"))
        raise HandslagError("HS-RESUME-REFUSED", check=check) from None


def _proven(ctx: Context) -> list[int]:
    """Leaf indices under the present part of the log that were proven to us."""
    return [index for index, _note in ctx.witness.own_proofs(ctx.spool.memory.proofs())]


async def same_beginning(ctx: Context, said: Continuation, kept: int, fetch: ReadPath) -> None:
    """Check that the largest checkpoint we hold within the kept size is a beginning of the kept tree.

    Raises HS-RESUME-REFUSED with `check` = fork.
    """
    # INVARIANT: test_a_continuation_that_forked_before_the_loss_is_refused
    candidates = [note for _index, note in ctx.witness.own_proofs(ctx.spool.memory.proofs())]
    newest = ctx.witness.newest()
    if newest is not None:
        candidates.append(newest)
    heads = [open_part(note, base=ctx.settings.origin, log=ctx.witness.base_key)[1] for note in set(candidates)]
    inside = [head for head in heads if head.size <= kept]
    if not inside:
        return
    older = max(inside, key=lambda head: head.size)
    new = Checkpoint(older.origin, said.kept_size, said.kept_root)
    try:
        await ctx.witness.prefix(older, new, fetch)
    except HandslagError as error:
        if error.code in {"HS-TRAIL-ROLLBACK", "HS-PROOF-INVALID"}:
            raise HandslagError("HS-RESUME-REFUSED", check="fork") from None
        raise
