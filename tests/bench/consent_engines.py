"""Four that answer the same questions: Handslag's `decide`, the same with every record explained, cedarpy, PyCasbin.

Each has the same four verbs. `recorded`: what a store keeps of a seat. `prepared`: that, read and compiled, as it is
kept for the seat's next question; the first question of a seat waits for it. `asked`: a question in the engine's own
form, made outside the clock. `answer`: the decision, made anew each time; `released` reads it, outside the clock too.

The two general engines get less to do and the form that was fastest of those tried. They decide about consents only:
roles, types, categories and purposes that the law opens are not in their policies, because every question of the
workload keeps to them. They are told the holder of a role, and of a withdrawal or suspension only the hours that it
leaves. Cedar gets one batch of three requests with entity ids that need no parsing; PyCasbin one enforcer, compiled
once, and the seat's policies indexed by recipient, category and purpose, so that the matcher sees but those that match.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import casbin
import cedarpy
from casbin.model import FastModel, FastPolicy

from consent.decide import decide
from consent.explain import considered
from consent.ledger import LedgerView
from consent.rules import shipped
from consent.terms import Decision, DecisionRequest
from tests.bench import consent_ledgers
from tests.bench.consent_workload import Ask, Piece, Seat, blocks, pieces

_NO_END = 1_000_000  # hours
_EMPTY = cedarpy.Entities.from_json_str("[]")


class Handslag:
    """`consent.decide.decide`: every section decided with all its reasons, until when it holds, on what it rests."""

    name = "handslag"

    def __init__(self) -> None:
        self._rules = shipped()[1]

    def recorded(self, seat: Seat) -> tuple[bytes, ...]:
        return consent_ledgers.recorded(seat)

    def prepared(self, record: tuple[bytes, ...]) -> LedgerView:
        return consent_ledgers.view(record)

    def asked(self, seat: Seat, ask: Ask) -> DecisionRequest:
        return consent_ledgers.asked(seat, ask)

    def answer(self, view: LedgerView, asked: DecisionRequest) -> Decision:
        return decide(asked, view, self._rules)

    def released(self, answer: Decision, _ask: Ask) -> tuple[bool, ...]:
        return tuple(section.released for section in answer.sections)


class Explained(Handslag):
    """The answer of `POST /v1/decisions:explain`: `decide`, and every record with why it did not apply."""

    name = "explained"

    def answer(self, view: LedgerView, asked: DecisionRequest) -> Any:
        decision = decide(asked, view, self._rules)
        return decision, considered(decision, asked, view, self._rules)

    def released(self, answer: Any, ask: Ask) -> tuple[bool, ...]:
        return super().released(answer[0], ask)


class Cedar:
    """cedarpy: a parsed policy set of the seat's grants alone, one batch of three requests."""

    name = "cedarpy"

    def recorded(self, seat: Seat) -> bytes:
        """Policies as text: one for each span of a grant, one that forbids for each block."""
        lines = [
            f'@id("{place}") permit(principal == {self._principal(seat, role)}, '
            f"action in [{self._listed('Action', one.purposes)}], resource) when {{ "
            f"[{self._listed('Category', one.categories)}].contains(resource) && "
            f"context.at >= {seat.at_us(one.from_h)} && context.at < {seat.at_us(one.until_h)} }};"
            for place, one in enumerate(pieces(seat.shape))
            for role in one.roles
        ]
        lines += [
            f"forbid(principal == {self._principal(seat, role)}, action, resource) when {{ "
            f"[{self._listed('Category', one.categories)}].contains(resource) && "
            f"context.at >= {seat.at_us(one.hour)} }};"
            for one in blocks(seat.shape)
            for role in one.roles
        ]
        return "\n".join(lines).encode()

    def prepared(self, record: bytes) -> Any:
        return cedarpy.PolicySet.from_str(record.decode())

    def asked(self, seat: Seat, ask: Ask) -> Any:
        principal = {"type": "Recipient", "id": _held(seat, ask.role)}
        action = {"type": "Action", "id": ask.purpose}
        context = f'{{"at":{seat.at_us(ask.hour)}}}'
        return [
            {"principal": principal, "action": action, "resource": {"type": "Category", "id": one}, "context": context}
            for one in ask.categories
        ]

    def answer(self, policies: Any, asked: Any) -> Any:
        return cedarpy.is_authorized_batch(asked, policies, _EMPTY)

    def released(self, answer: Any, ask: Ask) -> tuple[bool, ...]:
        if any(one.diagnostics.errors for one in answer):
            raise SystemExit("Cedar could not evaluate a policy")
        return _with_name([one.allowed for one in answer], ask)

    def _principal(self, seat: Seat, role: str) -> str:
        return f'Recipient::"{_held(seat, role)}"'

    def _listed(self, kind: str, ids: tuple[str, ...]) -> str:
        return ", ".join(f'{kind}::"{one}"' for one in ids)


class Casbin:
    """PyCasbin: one fast enforcer, to which the seat's own indexed policies are handed."""

    name = "pycasbin"
    _MODEL = """
    [request_definition]
    r = recipient, category, purpose, at
    [policy_definition]
    p = recipient, category, purpose, from, until, eft
    [policy_effect]
    e = some(where (p_eft == allow)) && !some(where (p_eft == deny))
    [matchers]
    m = r.recipient == p.recipient && r.at >= p.from && r.at < p.until
    """
    _KEY = (0, 1, 2)

    def __init__(self) -> None:
        model = FastModel(self._KEY)
        model.load_model_from_text(self._MODEL)
        self._enforcer = casbin.FastEnforcer(model, cache_key_order=self._KEY)
        self._policies = model["p"]["p"]

    def recorded(self, seat: Seat) -> bytes:
        """Policies as lines of a file: one for each recipient, category and purpose of each span."""
        return "\n".join(",".join(map(str, row)) for row in self._rows(seat)).encode()

    def prepared(self, record: bytes) -> FastPolicy:
        found = FastPolicy(self._KEY)
        for line in record.decode().splitlines():
            recipient, category, purpose, from_us, until_us, effect = line.split(",")
            found.append((recipient, category, purpose, int(from_us), int(until_us), effect))
        return found

    def asked(self, seat: Seat, ask: Ask) -> list[tuple[str, str, str, int]]:
        recipient, at_us = _held(seat, ask.role), seat.at_us(ask.hour)
        return [(recipient, category, ask.purpose, at_us) for category in ask.categories]

    def answer(self, policies: FastPolicy, asked: list[tuple[str, str, str, int]]) -> list[bool]:
        self._policies.policy = policies
        enforce = self._enforcer.enforce
        return [enforce(*one) for one in asked]

    def released(self, answer: list[bool], ask: Ask) -> tuple[bool, ...]:
        return _with_name(answer, ask)

    def _rows(self, seat: Seat) -> Iterator[tuple[Any, ...]]:
        every = tuple(sorted({purpose for given in seat.shape.grants for purpose in given.purposes}))
        spans = [(one, "allow") for one in pieces(seat.shape)]
        spans += [(Piece(one.roles, one.categories, every, one.hour, _NO_END), "deny") for one in blocks(seat.shape)]
        for one, effect in spans:
            from_us, until_us = seat.at_us(one.from_h), seat.at_us(one.until_h)
            for role, category, purpose in itertools.product(one.roles, one.categories, one.purposes):
                yield _held(seat, role), category, purpose, from_us, until_us, effect


ENGINES = (Handslag, Explained, Cedar, Casbin)


def _held(seat: Seat, role: str) -> str:
    return f"{role.rstrip('*')}/{seat.named(role).hex()}"


def _with_name(permitted: list[bool], ask: Ask) -> tuple[bool, ...]:
    """Nothing goes when the category that the event's name tells does not; it is one of the three."""
    named = permitted[ask.categories.index(ask.name)]
    return tuple(named and one for one in permitted)
