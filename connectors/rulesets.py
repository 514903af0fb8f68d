"""Rule sets on top of the installation's own: followed by what administrators signed and this unit itself approved.

The broker's word opens nothing here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256

from audit.administration import ACT
from connectors import operators, reports
from connectors.context import Context
from connectors.ruled import FILE, STATE, files
from consent.rules import Rules, parse, shipped
from consent.rules_change import effective, informed
from consent.rules_diff import changes, sentences
from schemas import limits
from schemas.admin import ACTIVATE, RULES, AdminAct, SignedAdminAct
from schemas.errors import HandslagError
from schemas.rules import RulesApproval, RulesStateAnswer, RulesStateRequest, SignedApproval

_APPROVED = "rules-approvals"
_SEEN = "rules-approvals-seen"
_ACT = "admin-act-{:06d}"
_SIGNED = ACT + 4096


async def follow(ctx: Context) -> None:
    """Take what was proposed and put in force, give the broker approvals it lacks, and decide by the outcome.

    Asks nothing where nobody ever proposed a rule set. Raises `HS-RULES-INVALID` for a file that this version cannot
    read, `HS-RULES-OTHER` when the broker decides this unit's releases by other rules.
    """
    acts = operators.remembered(ctx)
    if not acts.proposed:
        return
    known = _take(ctx)
    # INVARIANT: test_a_file_that_cannot_be_read_is_missed_only_when_it_is_in_force
    if not known.keys() >= set(acts.steps):
        raise HandslagError("HS-RULES-INVALID", field="file")
    places, fit = _places(ctx), _fit(ctx)
    # One without a place was given by an earlier version: the broker has its entry, which has its place.
    mine = {each: signed for each, signed in approvals(ctx).items() if each in fit or each.hex() not in places}
    answer = await ctx.link.call("/v1/rules:state", RulesStateRequest(), RulesStateAnswer)
    lacking = (mine.keys() & fit) - {one.rules_hash for one in answer.approvals}
    if lacking:
        request = RulesStateRequest(approvals=tuple(mine[each] for each in sorted(lacking)))
        answer = await ctx.link.call("/v1/rules:state", request, RulesStateAnswer)
    # INVARIANT: test_an_approval_that_only_the_broker_remembers_opens_nothing
    approved = {one.rules_hash for one in answer.approvals} & mine.keys()
    with ctx.spool.transaction():
        for one in answer.approvals:
            if one.rules_hash in lacking:
                ctx.spool.memory.want_proof(one.leaf_hash, "rules", ctx.now())
        state = {"steps": [each.hex() for each in acts.steps], "approved": sorted(each.hex() for each in approved)}
        ctx.spool.memory.put(STATE, json.dumps(state).encode())
        _tell_lapsed(ctx)
    ctx.in_force = (shipped()[1], *(known[each] for each in acts.steps))
    ctx.rules = effective(ctx.in_force, approved)
    if answer.effective != ctx.rules.hash32:
        raise HandslagError("HS-RULES-OTHER")


def taken(ctx: Context) -> list[tuple[float, bytes]]:
    """Number and hash of every rule set that took force, also of the operator's installation, in order."""
    found: list[tuple[float, bytes]] = []
    for number in range(1, operators.remembered(ctx).count + 1):
        held = ctx.spool.memory.get(_ACT.format(number))
        if held is not None:
            act = AdminAct.from_bytes(SignedAdminAct.from_bytes(held, _SIGNED).act, ACT)
            if act.kind in {ACTIVATE, RULES} and act.subject is not None:
                found.append((number, act.subject if act.kind == ACTIVATE else b""))
    return found


def approved(ctx: Context, rules_hash: bytes) -> bool | None:
    """Whether this unit's approval of a rule set counts, as last followed: None where it has to be given anew."""
    if rules_hash not in approvals(ctx):
        return False
    if rules_hash.hex() in json.loads(ctx.spool.memory.get(STATE) or b'{"approved": []}')["approved"]:
        return True
    place, took = _places(ctx).get(rules_hash.hex()), taken(ctx)
    waits = place is not None and rules_hash not in {each for _, each in took}
    return True if waits and informed(place or 0, took, rules_hash) else None


def _tell_lapsed(ctx: Context) -> None:
    """Tell the agency, once for each approval, that it has to be given anew: until then nothing opens for this unit.

    Not of a rule set that took force and does not hold any more: nobody can approve it into force again.
    """
    # INVARIANT: test_an_approval_that_lapsed_is_told
    acts, places, fit = operators.remembered(ctx), _places(ctx), _fit(ctx)
    for rules in files(ctx.spool.memory):
        over = rules.hash32 in acts.activated and rules.hash32 not in acts.steps
        # INVARIANT: test_an_approval_given_while_the_broker_answers_has_not_lapsed
        if over or rules.hash32 in fit or approved(ctx, rules.hash32) is not None:
            continue
        value = {
            "kind": "rules_approval_lapsed",
            **reports.words("notice", "rules_approval_lapsed"),
            "version": rules.version,
            "hash": rules.hash32.hex(),
            "in_force": rules.hash32 in acts.steps,
        }
        place = places.get(rules.hash32.hex(), 0)
        ctx.spool.incoming.put(f"rules-lapsed-{rules.hash32[:16].hex()}-{place}", "receipts", value)


def _fit(ctx: Context) -> set[bytes]:
    """Rule sets in force for which an approval given at the place that is kept counts.

    The broker is given no other: until a rule set is in force nobody knows what will come in between.
    """
    # INVARIANT: test_an_approval_before_a_closing_is_given_anew
    places, took = _places(ctx), taken(ctx)
    return {each for _, each in took if each.hex() in places and informed(places[each.hex()], took, each)}


def _places(ctx: Context) -> dict[str, int]:
    """How many acts this connector had seen when it approved, by the hash of the file."""
    places: dict[str, int] = json.loads(ctx.spool.memory.get(_SEEN) or b"{}")
    return places


def approvals(ctx: Context) -> Mapping[bytes, SignedApproval]:
    """What this unit approved, by the hash of the file."""
    held: list[str] = json.loads(ctx.spool.memory.get(_APPROVED) or b"[]")
    signed = [SignedApproval.from_bytes(bytes.fromhex(each), limits.ACT * 2) for each in held]
    return {RulesApproval.from_bytes(each.approval).rules_hash: each for each in signed}


def approve(ctx: Context, rules: Rules, actor: str, seen: int | None = None) -> SignedApproval:
    """Sign, with the unit's key, that a rule set may open what it opens for this unit's releases; kept, not sent.

    `seen`: how many acts there were when whoever approves was shown what it opens; those there are now if not given.
    """
    approval = RulesApproval(
        origin=ctx.settings.origin,
        unit=ctx.settings.unit,
        rules_hash=rules.hash32,
        actor_ref=actor,
        assurance="ASSERTED",
        approved_at_us=ctx.now(),
    ).to_bytes()
    signed = SignedApproval(approval=approval, signature=ctx.unit_keys.sign(approval))
    with ctx.spool.transaction():
        if not approved(ctx, rules.hash32):
            kept = {**approvals(ctx), rules.hash32: signed}
            place = operators.remembered(ctx).count if seen is None else seen
            places = {**_places(ctx), rules.hash32.hex(): place}
            ctx.spool.memory.put(_APPROVED, json.dumps([each.to_bytes().hex() for each in kept.values()]).encode())
            ctx.spool.memory.put(_SEEN, json.dumps(places).encode())
    return signed


def proposed(ctx: Context) -> list[Rules]:
    """Every rule set that was proposed, as far as this connector has seen the acts, in order."""
    return list(_take(ctx).values())


def _take(ctx: Context) -> dict[bytes, Rules]:
    """The proposed files by hash; those that are new are kept and told."""
    known = {each.hash32: each for each in files(ctx.spool.memory)}
    for number in range(1, operators.remembered(ctx).count + 1):
        held = ctx.spool.memory.get(_ACT.format(number))
        if held is None:
            continue
        act = AdminAct.from_bytes(SignedAdminAct.from_bytes(held, _SIGNED).act, ACT)
        if act.rules is not None and sha256(act.rules).digest() not in known:
            try:
                rules = parse(act.rules)
            except HandslagError:
                continue  # of a later version, say: it is missed when it is put in force, and not before
            known[rules.hash32] = rules
            _keep(ctx, act.rules, rules)
    return known


def _keep(ctx: Context, file: bytes, rules: Rules) -> None:
    found = changes(ctx.rules, rules)
    told = {language: list(sentences(found, language)) for language in ("sv", "en")}
    value = {
        "kind": "rules_proposed",
        "version": rules.version,
        "hash": rules.hash32.hex(),
        "in_force_from": rules.in_force_from.isoformat(),
        "opens": any(one.opens for one in found),
        "closes": any(one.closes for one in found),
        **told,
    }
    with ctx.spool.transaction():
        listed: list[str] = json.loads(ctx.spool.memory.get(FILE) or b"[]")
        ctx.spool.memory.put(f"{FILE}-{rules.hash32.hex()}", file)
        ctx.spool.memory.put(FILE, json.dumps([*listed, rules.hash32.hex()]).encode())
        ctx.spool.incoming.put(f"rules-{rules.hash32[:16].hex()}", "receipts", value)
