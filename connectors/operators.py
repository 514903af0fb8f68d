"""The operator's administrative acts as this connector is shown them: checked, kept, told to the agency.

The first act that a connector sees names the administrators and is remembered; every later one must be signed by two
of them and follow without a gap. Nobody here can stop the operator; but whom it admits and shuts out is seen by all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from audit.administration import ACT, Acts
from audit.entry import open_payload
from audit.merkle import leaf_hash
from connectors import reports
from connectors.context import Context
from connectors.fields import shown_moment
from consent.rules import shipped
from schemas.admin import AdminAct, AdminActsAnswer, SignedAdminAct
from schemas.calls import KeyedEntry
from schemas.checks import sha256
from schemas.errors import HandslagError
from schemas.hold import HoldActsAnswer, HoldActsRequest
from schemas.statements import UnitEntry
from schemas.trail import AuditEntry

_STATE = "admin-acts"
_ALARMED = "admin-alarmed"
_RULES = "admin-rules"
_ACT = "admin-act-{:06d}"
_SIGNED = ACT + 4096
_ENTRY = 64 * 1024


@dataclass(frozen=True, slots=True)
class Shown:
    """One act out of the entry that records it."""

    signed: SignedAdminAct
    leaf: bytes


def remembered(ctx: Context) -> Acts:
    """The acts as far as this connector has seen them."""
    held = ctx.spool.memory.get(_STATE)
    if held is None:
        return Acts.none(ctx.settings.origin)
    data = json.loads(held)
    several = {
        name: frozenset(map(bytes.fromhex, data.get(name, ())))
        for name in ("gone_on", "erased", "restricted", "proposed")
    }
    return Acts(
        ctx.settings.origin,
        data["count"],
        bytes.fromhex(data["head"]),
        _keys(data["administrators"]),
        _keys(data["admitted"]),
        bytes.fromhex(data["rules"]) if data.get("rules") else None,
        steps=tuple(map(bytes.fromhex, data.get("steps", ()))),
        activated=frozenset(map(bytes.fromhex, data.get("activated", data.get("steps", ())))),
        **several,
    )


async def follow(ctx: Context) -> int:
    """Fetch, check and tell every act that is new; returns how many. Raises `HS-ADMIN-ACT-INVALID`, told once."""
    new = 0
    while True:
        acts = remembered(ctx)
        answer = AdminActsAnswer.from_bytes(await ctx.link.raw(f"/v1/acts/{acts.count}"), 16 * 1024 * 1024)
        for each in answer.entries:
            acts = _take(ctx, acts, each)
            new += 1
        if not answer.entries:
            return new


async def give_back(ctx: Context, hold_id: bytes) -> None:
    """Give a restored broker the acts that it lacks, as they were shown here; raises the errors of the call.

    It refuses them when it has made others since: that stays between the operator and the log, and is told here by
    `follow` when they are shown.
    """

    # INVARIANT: test_a_revocation_after_the_copy_is_not_undone
    async def give(*acts: SignedAdminAct) -> int:
        request = HoldActsRequest(hold_id=hold_id, acts=acts)
        return (await ctx.link.call("/v1/hold:acts", request, HoldActsAnswer)).count

    try:
        number = await give()
        while (held := ctx.spool.memory.get(_ACT.format(number + 1))) is not None:
            if await give(SignedAdminAct.from_bytes(held, _SIGNED)) == number:
                return
            number += 1
    except HandslagError as error:
        if error.code not in {"HS-ADMIN-ACT-INVALID", "HS-HOLD-NONE", "HS-CALL-UNKNOWN"}:
            raise


def unsigned(ctx: Context) -> list[str]:
    """Units of the directory that no act admits, each told once; returns those that are new.

    A broker that has no acts at all is of an earlier version, and says nothing here.
    """
    # INVARIANT: test_a_unit_that_nobody_signed_for_is_told
    acts = remembered(ctx)
    if not acts.count or ctx.directory is None:
        return []
    told: list[str] = json.loads(ctx.spool.memory.get(_ALARMED) or b"[]")
    listed = {(UnitEntry.from_bytes(each.entry).unit, sha256(each.entry)) for each in ctx.listed_units()}
    found = sorted(
        code for code in ctx.directory.entries.keys() - set(told) if (code, acts.admitted.get(code)) not in listed
    )
    with ctx.spool.transaction():
        for code in found:
            value = {"kind": "alarm", **reports.error_value(HandslagError("HS-ADMIN-UNSIGNED")), "unit": code}
            ctx.spool.incoming.put(f"unsigned-{sha256(code.encode())[:16].hex()}", "receipts", value)
        if found:
            ctx.spool.memory.put(_ALARMED, json.dumps(sorted([*told, *found])).encode())
    return found


def unsigned_rules(ctx: Context) -> bool:
    """Whether the broker decides by rules that no two administrators put in force; told once for each such file.

    The caller has compared the broker's rules with ours.
    """
    # INVARIANT: test_rules_that_nobody_signed_for_are_told
    acts, base = remembered(ctx), shipped()[1].hash32
    if not acts.count or acts.rules == base:
        return False
    if ctx.spool.memory.get(_RULES) != base:
        with ctx.spool.transaction():
            value = {"kind": "alarm", **reports.error_value(HandslagError("HS-ADMIN-UNSIGNED")), "rules": True}
            ctx.spool.incoming.put(f"unsigned-rules-{base[:8].hex()}", "receipts", value)
            ctx.spool.memory.put(_RULES, base)
    return True


def _take(ctx: Context, acts: Acts, each: KeyedEntry) -> Acts:
    try:
        shown = _opened(each)
        following = acts.applied(shown.signed)
    except HandslagError:
        with ctx.spool.transaction():
            name = f"admin-{sha256(each.entry)[:16].hex()}"
            told = {"kind": "alarm", **reports.error_value(HandslagError("HS-ADMIN-ACT-INVALID"))}
            ctx.spool.incoming.put(name, "receipts", told)
        raise HandslagError("HS-ADMIN-ACT-INVALID", check="shown") from None
    act = AdminAct.from_bytes(shown.signed.act, ACT)
    with ctx.spool.transaction():
        ctx.spool.memory.put(_STATE, _kept(following))
        ctx.spool.memory.put(_ACT.format(act.number), shown.signed.to_bytes())
        ctx.spool.memory.want_proof(shown.leaf, "admin", ctx.now())
        ctx.spool.incoming.put(f"operator-{act.number:06d}", "receipts", _told(act, shown.signed))
    return following


def _opened(each: KeyedEntry) -> Shown:
    """The act in an entry; the entry must be the one whose leaf is named, so that its proof proves the act."""
    if leaf_hash(each.entry) != each.leaf_hash:
        raise HandslagError("HS-ADMIN-ACT-INVALID", check="leaf")
    payload = open_payload(AuditEntry.from_bytes(each.entry, _ENTRY), each.payload, each.key)
    if payload.act is None:
        raise HandslagError("HS-ADMIN-ACT-INVALID", check="entry")
    return Shown(SignedAdminAct.from_bytes(payload.act, _SIGNED), each.leaf_hash)


def _told(act: AdminAct, signed: SignedAdminAct) -> dict[str, Any]:
    return {
        "kind": "operator_act",
        "number": act.number,
        "act": act.kind,
        "made_at": shown_moment(act.made_at_us),
        "units": [each.unit for each in act.targets],
        "administrators": [
            {"name": each.name, "key_sha256": sha256(each.signing_key).hex()} for each in act.administrators
        ],
        "signed_by": [each.name for each in signed.signatures],
        "reason": act.reason,
        "subject": None if act.subject is None else act.subject.hex(),
    }


def _kept(acts: Acts) -> bytes:
    data = {
        "count": acts.count,
        "head": acts.head.hex(),
        "administrators": {name: key.hex() for name, key in acts.administrators.items()},
        "admitted": {unit: subject.hex() for unit, subject in acts.admitted.items()},
        "rules": None if acts.rules is None else acts.rules.hex(),
        "gone_on": sorted(one.hex() for one in acts.gone_on),
        "erased": sorted(one.hex() for one in acts.erased),
        "restricted": sorted(one.hex() for one in acts.restricted),
        "proposed": sorted(one.hex() for one in acts.proposed),
        "steps": [one.hex() for one in acts.steps],
        "activated": sorted(one.hex() for one in acts.activated),
    }
    return json.dumps(data).encode()


def _keys(rows: dict[str, str]) -> Mapping[str, bytes]:
    return MappingProxyType({name: bytes.fromhex(value) for name, value in rows.items()})
