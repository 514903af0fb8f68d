"""The operator's acts in the running broker: recorded in the trail, shown to everybody, and asked before an effect."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from audit.administration import ACT, Acts
from broker import ruling
from broker.context import Context
from broker.store.admin import ActRow
from broker.store.port import Rows
from consent.rules import parse
from schemas.admin import ADMIT, AdminAct, AdminActsAnswer, SignedAdminAct
from schemas.calls import KeyedEntry
from schemas.errors import HandslagError
from schemas.trail import Payload

PAGE = 100


async def recorded(context: Context, signed: Sequence[SignedAdminAct]) -> int:
    """Record every act that the trail has not, in order, each with its entry; returns how many were new.

    Raises `HS-ADMIN-ACT-INVALID` when the acts are not those recorded before.
    """
    known = await context.store.read(lambda rows: rows.admin.hashes())
    given = [ActRow.hash_of(each.act) for each in signed]
    # INVARIANT: test_an_act_that_was_recorded_is_never_another_one
    if given[: len(known)] != known:
        raise HandslagError("HS-ADMIN-ACT-INVALID", check="recorded")
    await ruling.noted(context, signed[: len(known)])
    for number, each in enumerate(signed[len(known) :], start=len(known) + 1):
        at_us = context.now_us()
        entry = context.recorder.about_operator("ADMIN", Payload(act=each.to_bytes(), decided_at_us=at_us), at_us)
        row = ActRow(number, ActRow.hash_of(each.act), entry.entry_id, at_us)

        def work(rows: Rows, row: ActRow = row, entry: object = entry, act: bytes = each.act) -> None:
            ruling.effect(context, rows, act, row.at_us)
            rows.admin.put(row)
            rows.entries.insert([entry])  # type: ignore[list-item]

        await context.store.write(work)
    return len(signed) - len(known)


async def refused(context: Context, signed: Sequence[SignedAdminAct], units: Iterable[str], code: str) -> None:
    """An entry of the operator: the newest act that admits these units was signed, and refused with a code.

    What two signed is recorded before it is done; a trail that ended there would tell of something that never was.
    """
    # INVARIANT: test_an_act_that_the_node_refused_is_recorded_as_refused
    wanted, at_us = set(units), context.now_us()
    meant = next((each for each in reversed(signed) if _admits(each, wanted)), None)
    if meant is not None:
        payload = Payload(act=meant.to_bytes(), code=code, decided_at_us=at_us)
        entry = context.recorder.about_operator("ADMIN", payload, at_us)
        await context.store.write(lambda rows: rows.entries.insert([entry]))


def _admits(signed: SignedAdminAct, units: set[str]) -> bool:
    act = AdminAct.from_bytes(signed.act, ACT)
    return act.kind == ADMIT and not units.isdisjoint(target.unit for target in act.targets)


async def acts(context: Context, after: int) -> AdminActsAnswer:
    """Answer `GET /v1/acts/N`: the entries of the acts after number N, at most `PAGE`; the same for everybody."""
    keys = context.recorder.vault.operator()
    found = await context.store.read(lambda rows: rows.admin.entries(after, PAGE))
    return AdminActsAnswer(
        entries=tuple(
            KeyedEntry(number=number, entry=raw, payload=blob, key=keys.dek(entry_id), leaf_hash=leaf)
            for number, entry_id, raw, leaf, blob in found
        )
    )


def require_admitted(chain: Acts, unit: str, subject: bytes) -> None:
    """Raise `HS-ADMIN-UNSIGNED` unless two administrators admitted this very entry of the unit.

    INVARIANT: test_a_unit_that_nobody_signed_for_is_not_admitted.
    """
    if chain.admitted.get(unit) != subject:
        raise HandslagError("HS-ADMIN-UNSIGNED", check="unit")


def require_rules(chain: Acts, rules_hash: bytes) -> None:
    """Raise `HS-ADMIN-UNSIGNED` unless two administrators signed that these rules take force.

    INVARIANT: test_rules_that_nobody_signed_for_do_not_take_force.
    """
    if chain.rules != rules_hash:
        raise HandslagError("HS-ADMIN-UNSIGNED", check="rules")


def described(act: AdminAct) -> dict[str, Any]:
    """An act for a person or as JSON."""
    return {
        "number": act.number,
        "kind": act.kind,
        "made_at_us": act.made_at_us,
        "units": [each.unit for each in act.targets],
        "administrators": [each.name for each in act.administrators],
        "reason": act.reason,
        "subject": act.subject.hex() if act.subject is not None else None,
        "rules": parse(act.rules).version if act.rules is not None else None,
    }
