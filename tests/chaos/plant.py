"""Plants one fault in a recorded history: `python -m tests.chaos.plant` makes histories/*.jsonl from `good-N.jsonl`.

The good ones were recorded by real runs, two of them under faults (their first lines say which). Each function below
changes a copy of the first of them that holds what it needs, in one way, as a broker that breaks one promise would have
made it. Nothing is drawn by chance: the files change only when a recording or a fault does. FAULTS says which rule of
the checker must name it.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from tests.chaos import checker
from tests.chaos.coverage import Ledgers
from tests.chaos.history import Fact, History, read, write

FOLDER = Path(__file__).with_name("histories")
GOOD = tuple(FOLDER / f"good-{number}.jsonl" for number in (1, 2, 3))


def _numbered(history: History) -> None:
    """Lines in the order of their moments, numbered anew: what a connector would have written had it been so."""
    history.facts.sort(key=lambda f: int(f["at"]))
    for unit in history.units:
        for n, f in enumerate((f for f in history.facts if f["unit"] == unit), start=1):
            f["n"] = n


def _drop(history: History, gone: Callable[[Fact], bool]) -> None:
    history.facts = [f for f in history.facts if not gone(f)]
    _numbered(history)


def _again(history: History, fact: Fact, after_us: int, **changed: object) -> None:
    history.facts.append({**copy.deepcopy(fact), "at": fact["at"] + after_us, **changed})
    _numbered(history)


def _whole_way(history: History) -> Iterator[tuple[Fact, Fact, Fact, Fact]]:
    """(received, given, acked, notice to the sender) of deliveries that went their whole way, once."""
    for given in list(history.of("given")):
        same = [f for f in history.facts if f.get("delivery") == given["delivery"]]
        received = [f for f in same if f["what"] == "received"]
        acked = [f for f in same if f["what"] == "acked" and f["verdict"] == "ACK"]
        told = [f for f in history.of("notice") if f["code"] == "delivery_acknowledged" and f["event"] == given["event"]
                and f["role"] == history.units[given["unit"]]]  # fmt: skip
        if len(received) == 1 and len(acked) == 1 and told and received[0]["categories"] == given["categories"]:
            yield received[0], given, acked[0], told[0]


def a_released_section_never_given(history: History) -> None:
    received, _given, _acked, told = next(_whole_way(history))
    _drop(history, lambda f: f.get("delivery") == received["delivery"] or f is told)


def a_message_never_decided(history: History) -> None:
    came = {f["event"] for f in history.of("received")}
    lost = next(f["event"] for f in history.of("decided") if f["event"] not in came)
    _drop(history, lambda f: f["what"] == "decided" and f["event"] == lost)


def acknowledged_to_the_sender_and_not_there(history: History) -> None:
    _received, given, acked, _told = list(_whole_way(history))[1]
    _drop(history, lambda f: f is given or f is acked)


def acknowledged_before_it_was_given(history: History) -> None:
    _received, given, acked, _told = list(_whole_way(history))[2]
    acked["at"], given["at"] = given["at"], acked["at"]
    _numbered(history)


def one_section_of_two_missing(history: History) -> None:
    given = next(given for _r, given, _a, _t in _whole_way(history) if len(given["categories"]) > 1)
    given["categories"].pop()


def given_again_after_a_lost_acknowledgement(history: History) -> None:
    received, given, _acked, _told = next(_whole_way(history))
    _again(history, received, 900_000, hand=2, known="GIVEN")
    _again(history, given, 900_000)


def given_again_by_another_delivery(history: History) -> None:
    received, given, _acked, _told = list(_whole_way(history))[1]
    _again(history, received, 400_000, delivery="0000000000aa")
    _again(history, given, 400_000, delivery="0000000000aa")


def one_section_given_again_with_a_new_one(history: History) -> None:
    received, given, _acked, _told = next(w for w in _whole_way(history) if len(w[1]["categories"]) > 1)
    _again(history, received, 300_000, delivery="0000000000bb")
    _again(history, given, 300_000, delivery="0000000000bb", categories=given["categories"][:1])


def decided_in_another_order(history: History) -> None:
    one, other = _two_in_order(history)
    one["decided_at"], other["decided_at"] = max(one["decided_at"], other["decided_at"]) + 5, one["decided_at"]


def handed_over_in_another_order(history: History) -> None:
    first: dict[tuple[str, str], Fact] = {}
    for f in history.of("received"):
        first.setdefault((f["unit"], f["event"]), f)
    for unit in history.units:
        decided = {(f["event"], f["attempt"]): f for f in history.of("decided", unit=unit)}
        once = checker._released_once(decided.values())
        for earlier, later in _pairs(history, unit):
            for role in once.get(earlier, set()) & once.get(later, set()) if earlier[0] != later[0] else set():
                early, late = (first.get((history.holder(role), e)) for e, _a in (earlier, later))
                if early and late and early["hand"] == late["hand"] == 1:
                    moved = {f["what"]: f for f in history.facts if f.get("delivery") == early["delivery"]}
                    late_at = late["at"]
                    for place, f in enumerate(moved.values(), start=1):
                        f["at"] = max(f["at"], late_at + place)
                    _numbered(history)
                    return
    raise LookupError("no two deliveries in order")


def _pairs(history: History, unit: str) -> Iterator[tuple[tuple[str, int], tuple[str, int]]]:
    """Attempts of a unit of which the first was taken before the second left, or left before it in one bundle."""
    posted: dict[tuple[str, int], int] = {}  # the line of its first bundle
    taken: dict[tuple[str, int], int] = {}
    for f in history.of("posted", "taken", unit=unit):
        for event, attempt in f["events"]:
            (posted if f["what"] == "posted" else taken).setdefault((event, attempt), f["n"])
    rows = list(posted)
    for place, earlier in enumerate(rows):
        for later in rows[place + 1 :]:
            if posted[earlier] == posted[later] or taken.get(earlier, posted[later]) < posted[later]:
                yield earlier, later


def _two_in_order(history: History) -> tuple[Fact, Fact]:
    for unit in history.units:
        decided = {(f["event"], f["attempt"]): f for f in history.of("decided", unit=unit)}
        for earlier, later in _pairs(history, unit):
            if earlier in decided and later in decided and earlier[0] != later[0]:
                return decided[earlier], decided[later]
    raise LookupError("no two messages in order")


def _withdrawn(history: History, do: str, *, partly: bool = False) -> Iterator[tuple[Fact, Fact, int]]:
    """(answer, a delivery received before it of which it took the cover, when something may cover it again)."""
    ledgers = Ledgers.read(history)
    commands = {f["id"]: f for f in history.of("accepted")}
    sender = {f["event"]: f["unit"] for f in history.of("accepted") if "event" in f}
    told = {(f["event"], f["role"]) for f in history.of("notice") if f["code"] == "delivery_cancelled"}
    for answer in (f for f in history.of("answered") if f["do"] == do):
        if partly != bool(commands[answer["id"]].get("scope")):
            continue
        for unit in history.units:
            acts = ledgers.acts[unit]
            ended = [(a, b) for a, b in pairwise(acts) if b.answered == answer["at"]]
            for before, now in ended:
                until = next((a.asked for a in acts if a.seq > now.seq and a.covered - now.covered), 1 << 62)
                for f in history.of("received"):
                    triples = {(history.units[f["unit"]], c, f["purpose"]) for c in f["categories"]}
                    listed = any(f["delivery"] == row[0] for row in answer["affected"])
                    gone = triples & before.covered - now.covered
                    listed |= (f["event"], history.units[f["unit"]]) in told
                    if sender[f["event"]] == unit and f["at"] < answer["at"] and gone and not listed and f["hand"] == 1:
                        yield answer, f, until


def _late(history: History, answer: Fact, received: Fact, until: int) -> bool:
    """Move a delivery's whole way to just after an answer, when nothing covers it then."""
    if until <= answer["at"] + 10 or answer["unit"] == received["unit"]:
        return False
    way = [f for f in history.facts if f.get("delivery") == received["delivery"]]
    for place, f in enumerate(sorted(way, key=lambda f: int(f["n"])), start=1):
        f["at"] = max(f["at"], answer["at"] + place)
    _numbered(history)
    return True


def _first(history: History, cases: Iterable[tuple[Fact, Fact, int]]) -> None:
    if not any(_late(history, *case) for case in cases):
        raise LookupError("no withdrawal with a delivery before it")


def received_after_the_case_was_withdrawn(history: History) -> None:
    cases = ((a, r, u) for a, r, u in _withdrawn(history, "withdraw_case") if _sent_by(history, r) == a["unit"])
    _first(history, cases)


def received_after_another_unit_noted_the_withdrawal(history: History) -> None:
    cases = [(a, r, u) for a, r, u in _withdrawn(history, "withdraw_case") if _sent_by(history, r) != a["unit"]]
    _first(history, reversed(cases))


def received_after_one_consent_was_withdrawn(history: History) -> None:
    _first(history, _withdrawn(history, "withdraw"))


def received_after_one_category_was_withdrawn(history: History) -> None:
    _first(history, _withdrawn(history, "withdraw", partly=True))


def _sent_by(history: History, received: Fact) -> str:
    return next(f["unit"] for f in history.of("accepted") if f.get("event") == received["event"])


def _in_flight(history: History) -> tuple[Fact, list[object], Fact]:
    """(answer, its row, the delivery): one that comes after the answer that lists it as handed over, as it may."""
    for do in ("withdraw", "withdraw_case"):
        for partly in (True, False):
            for answer, received, until in _withdrawn(history, do, partly=partly):
                row = [received["delivery"], received["event"], history.units[received["unit"]], 1, "HANDED"]
                if _sent_by(history, received) == answer["unit"] and _late(history, answer, received, until):
                    answer["affected"].append(row)
                    return answer, row, received
    raise LookupError("nothing can be in flight when a withdrawal is answered")


def in_flight_and_listed(history: History) -> None:
    """No fault: what the others below are made from."""
    _in_flight(history)


def listed_as_stopped_and_received(history: History) -> None:
    _answer, row, _received = _in_flight(history)
    row[4] = "PENDING"


def handed_over_once_more_after_it_was_listed(history: History) -> None:
    _answer, _row, received = _in_flight(history)
    received["hand"] += 1


def listed_by_a_later_answer_only(history: History) -> None:
    answer, row, _received = _in_flight(history)
    later = [f for f in history.of("answered", unit=answer["unit"]) if f["seq"] > answer["seq"]]
    answer["affected"].remove(row)
    later[-1]["affected"].append(row)


def another_delivery_listed_in_its_place(history: History) -> None:
    _answer, row, _received = _in_flight(history)
    row[0] = "0000000000ee"


def a_withdrawal_never_answered(history: History) -> None:
    last = [f for f in history.of("answered") if f["do"] == "withdraw"][-1]
    _drop(history, lambda f: f["what"] == "answered" and f["call"] == last["call"])


def a_withdrawal_recorded_twice(history: History) -> None:
    one = next(f for f in history.of("answered") if f["do"] == "withdraw")
    last = max(f["seq"] for f in history.of("answered", "ledger", unit=one["unit"]))
    _again(history, one, 200_000, seq=last + 1)


def one_ledger_number_for_two_acts(history: History) -> None:
    one, other = [f for f in history.of("answered", unit="police") if f["do"] == "grant"][-2:]
    other["seq"] = one["seq"]


def an_act_nobody_was_told_of(history: History) -> None:
    last = list(history.of("ledger"))[-1]
    later = [f for f in history.of("answered", "ledger", unit=last["unit"]) if f["seq"] > last["seq"]]
    if not later:
        raise LookupError("the last act is told by its absence only")
    _drop(history, lambda f: f["what"] == "ledger" and f["unit"] == last["unit"] and f["seq"] == last["seq"])


def one_attempt_decided_in_two_ways(history: History) -> None:
    one = next(f for f in history.of("decided") if any(s[0] for role in f["roles"].values() for s in role.values()))
    flipped = {r: {c: [not s[0], s[1]] for c, s in parts.items()} for r, parts in one["roles"].items()}
    _again(history, one, 50_000, roles=flipped)


def a_delivery_that_nobody_sent(history: History) -> None:
    received = next(history.of("received"))
    _again(history, received, 10_000, delivery="0000000000cc", event="0000000000cd")


def handed_to_a_role_it_was_not_for(history: History) -> None:
    to = {f["event"]: f["to"] for f in history.of("accepted") if "event" in f}
    received = next(f for f in history.of("received") if len(to[f["event"]]) == 1)
    other = next(u for u, role in history.units.items() if role not in to[received["event"]])
    _again(history, received, 10_000, delivery="0000000000dd", unit=other)


def a_category_that_was_never_sent(history: History) -> None:
    received = next(history.of("received"))
    received["categories"] = [*received["categories"], "IC10"]


def a_line_cut_out(history: History) -> None:
    received = list(history.of("received"))[-1]
    history.facts.remove(received)


def a_clock_that_ran_back(history: History) -> None:
    acked = list(history.of("acked"))[-1]
    acked["at"] -= 60_000_000


def a_history_that_was_cut_off(history: History) -> None:
    history.facts = [f for f in history.facts if f["what"] != "quiet"]


def something_still_under_way(history: History) -> None:
    next(history.of("quiet"))["left"] = {"acks": 1}


FAULTS: dict[Callable[[History], None], str] = {
    a_released_section_never_given: checker.LOST,
    a_message_never_decided: checker.LOST,
    acknowledged_to_the_sender_and_not_there: checker.LOST,
    acknowledged_before_it_was_given: checker.LOST,
    one_section_of_two_missing: checker.LOST,
    given_again_after_a_lost_acknowledgement: checker.TWICE,
    given_again_by_another_delivery: checker.TWICE,
    one_section_given_again_with_a_new_one: checker.TWICE,
    decided_in_another_order: checker.ORDER,
    handed_over_in_another_order: checker.ORDER,
    received_after_the_case_was_withdrawn: checker.AFTER,
    received_after_another_unit_noted_the_withdrawal: checker.AFTER,
    received_after_one_consent_was_withdrawn: checker.AFTER,
    received_after_one_category_was_withdrawn: checker.AFTER,
    listed_as_stopped_and_received: checker.AFTER,
    handed_over_once_more_after_it_was_listed: checker.AFTER,
    listed_by_a_later_answer_only: checker.AFTER,
    another_delivery_listed_in_its_place: checker.AFTER,
    a_withdrawal_never_answered: checker.UNANSWERED,
    a_withdrawal_recorded_twice: checker.UNANSWERED,
    one_ledger_number_for_two_acts: checker.UNANSWERED,
    an_act_nobody_was_told_of: checker.UNANSWERED,
    one_attempt_decided_in_two_ways: checker.UNANSWERED,
    a_delivery_that_nobody_sent: checker.NOBODY,
    handed_to_a_role_it_was_not_for: checker.NOBODY,
    a_category_that_was_never_sent: checker.NOBODY,
    a_line_cut_out: checker.WHOLE,
    a_clock_that_ran_back: checker.WHOLE,
    a_history_that_was_cut_off: checker.WHOLE,
    something_still_under_way: checker.ENDED,
}


def kept(fault: Callable[[History], None]) -> Path:
    """Where the history with this fault lies."""
    return FOLDER / f"{fault.__name__.replace('_', '-')}.jsonl"


def planted(good: Sequence[History], fault: Callable[[History], None]) -> History:
    """A copy of the first good history that holds what the fault needs, with it; raises LookupError when none does."""
    for number, each in enumerate(good, start=1):
        history = copy.deepcopy(each)
        try:
            fault(history)
        except (LookupError, StopIteration):
            continue
        history.about.update(planted=fault.__name__.replace("_", " "), recording=number)
        return history
    raise LookupError(fault.__name__)


def main() -> int:
    """Write every history with its fault anew."""
    good = [read(path) for path in GOOD]
    for fault in FAULTS:
        write(planted(good, fault), kept(fault))
        print(kept(fault).name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
