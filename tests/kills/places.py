"""The named places of a kill: which process, which of the six spots, what the process is in the middle of.

Pure data, shared by the launcher (which wraps one function per place), the driver (which spreads the kills) and the
report (which says where each fell).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """One place. `share` is its weight when kills are spread; `passes` bounds which pass through it kills."""

    name: str
    process: str
    group: str
    meaning: str
    share: int
    passes: int = 3


SPOOL = "after the spool write"
BEFORE = "before the store commit"
AFTER = "after the store commit"
REPLY = "between commit and reply"
HANDED = "between hand-over and acknowledgement"
WITHDRAWAL = "inside a withdrawal"
SEALER = "in the sealer"
GROUPS = (SPOOL, BEFORE, AFTER, REPLY, HANDED, WITHDRAWAL, SEALER)

PLACES = {
    place.name: place
    for place in (
        Place("spool.written", "connector", SPOOL, "command durable, its input file not removed", 6),
        Place("send.posting", "connector", REPLY, "bundle marked as perhaps arrived, its answer not seen", 2),
        Place("inbox.stored", "connector", HANDED, "opened content stored, adapter file not written", 3),
        Place("adapter.noted", "connector", HANDED, "hidden file written and noted as given, not yet named", 2),
        Place("ack.before", "connector", HANDED, "given to the adapter, not acknowledged", 2),
        Place("ack.answered", "connector", HANDED, "acknowledgement recorded by the broker, not noted here", 2),
        Place("withdrawal.told", "connector", WITHDRAWAL, "broker's answer kept, result not told", 2, passes=1),
        Place("store.before-commit", "broker", BEFORE, "a batch of decisions written, not committed", 5),
        Place("store.after-commit", "broker", AFTER, "a batch of decisions committed, nobody told", 5),
        Place("stream.in-append", "broker", BEFORE, "submissions appended, not committed", 1),
        Place("stream.appended", "broker", REPLY, "submissions committed to the stream, not answered", 2),
        Place("reply.submit", "broker", REPLY, "bundle taken, 202 not sent", 2),
        Place("reply.ack", "broker", REPLY, "acknowledgements committed, not answered", 2),
        Place("handed.unanswered", "broker", HANDED, "HANDED committed, no byte of it sent", 2),
        Place("withdrawal.bumped", "broker", WITHDRAWAL, "gate bumped, deliveries shrunk, not committed", 3, passes=1),
        Place("withdrawal.committed", "broker", WITHDRAWAL, "withdrawal committed, not answered", 3, passes=1),
        Place("sealer.head-committed", "broker", SEALER, "head committed, not anchored", 2),
        Place("sealer.unsigned", "broker", SEALER, "head anchored, not signed", 2),
        Place("sealer.unpublished", "broker", SEALER, "checkpoint signed, not stored", 2),
    )
}


def spread(process: str, kills: int) -> list[str]:
    """The places of `kills` kills of the broker or the connectors, by share and interleaved."""
    turns = sorted(
        ((turn + 0.5) / place.share, place.name)
        for place in PLACES.values()
        if place.process == process
        for turn in range(place.share)
    )
    return [turns[index % len(turns)][1] for index in range(kills)]


def fair(kills: int) -> dict[str, list[str]]:
    """Kills of each kind of process in proportion to the shares of its places."""
    total = sum(p.share for p in PLACES.values())
    broker = round(kills * sum(p.share for p in PLACES.values() if p.process == "broker") / total)
    return {"broker": spread("broker", broker), "connector": spread("connector", kills - broker)}
