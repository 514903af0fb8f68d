"""The table of /v1: path, body, bound and the method of the core that answers."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from audit.tiles import parse_tile_path
from broker.gateway import bounds
from broker.gateway.port import Core
from schemas import calls as records
from schemas import (
    capsule,
    catalogue,
    explain,
    hold,
    instances,
    joins,
    limits,
    rekey,
    rules,
    said,
    statute,
    trust_calls,
)
from schemas.errors import HandslagError
from schemas.records import Record


@dataclass(frozen=True, slots=True)
class RecordCall:
    """A POST whose body and answer are one record each.

    `limit` bounds the body in bytes, `check` what its fields may ask for, `lane` is a key of `bounds.LANES`.
    """

    name: str
    request: type[Record]
    answer: Callable[[Core, str, Any], Awaitable[Record]]
    limit: int = limits.CALL
    status: int = 200
    lane: str = "other"
    check: Callable[[Any], None] | None = None


@dataclass(frozen=True, slots=True)
class ListCall:
    """A GET of something that is the same for everybody; `rest` of the path comes without a leading slash."""

    name: str
    content_type: str
    answer: Callable[[Core, str], Awaitable[bytes]]


POSTS: Mapping[str, RecordCall] = {
    "/v1/submissions": RecordCall(
        "submit",
        records.SubmitRequest,
        lambda core, unit, request: core.submit(unit, request),
        limit=limits.BUNDLE_BYTES,
        status=202,
        lane="bulk",
        check=bounds.check_bundle,
    ),
    "/v1/inbox:fetch": RecordCall(
        "fetch",
        records.FetchRequest,
        lambda core, unit, request: core.fetch(unit, request),
        check=bounds.check_fetch,
    ),
    "/v1/inbox:ack": RecordCall(
        "ack", records.AckRequest, lambda core, unit, request: core.ack(unit, request), check=bounds.check_acks
    ),
    "/v1/consents": RecordCall(
        "consents",
        records.ConsentsRequest,
        lambda core, unit, request: core.consents(unit, request),
        lane="consents",
    ),
    "/v1/disclosures:record": RecordCall(
        "said", said.DisclosureRequest, lambda core, unit, request: core.record_disclosure(unit, request)
    ),
    "/v1/disclosures:statutory": RecordCall(
        "statute",
        statute.StatuteRequest,
        lambda core, unit, request: core.disclose(unit, request),
        limit=limits.SUBMISSION + limits.CALL,
    ),
    "/v1/disclosures:confirm": RecordCall(
        "statute_confirm",
        statute.SecondRequest,
        lambda core, unit, request: core.confirm_disclosure(unit, request),
    ),
    "/v1/provisions:approve": RecordCall(
        "approve", statute.ApprovalRequest, lambda core, unit, request: core.approve_provision(unit, request)
    ),
    "/v1/decisions:explain": RecordCall(
        "explain", explain.ExplainRequest, lambda core, unit, request: core.explain(unit, request)
    ),
    "/v1/decisions:simulate": RecordCall(
        "simulate", explain.SimulateRequest, lambda core, unit, request: core.simulate(unit, request)
    ),
    "/v1/annulments:list": RecordCall(
        "annulments", said.AnnulmentsRequest, lambda core, unit, request: core.annulments(unit, request)
    ),
    "/v1/annulments:answer": RecordCall(
        "annul_answer", said.AnnulAnswerRequest, lambda core, unit, request: core.annul_answer(unit, request)
    ),
    "/v1/corrections": RecordCall(
        "correct", said.CorrectRequest, lambda core, unit, request: core.correct(unit, request)
    ),
    "/v1/cases:open": RecordCall(
        "open", records.OpenRequest, lambda core, unit, request: core.open_case(unit, request)
    ),
    "/v1/cases:join": RecordCall("join", joins.JoinRequest, lambda core, unit, request: core.join_cases(unit, request)),
    "/v1/cases:separate": RecordCall(
        "separate", joins.SeparateRequest, lambda core, unit, request: core.separate_cases(unit, request)
    ),
    "/v1/seats:invite": RecordCall(
        "invite",
        records.InviteRequest,
        lambda core, unit, request: core.invite(unit, request),
        limit=limits.SUBMISSION + limits.CALL,
        lane="bulk",
    ),
    "/v1/seats:accept": RecordCall(
        "accept", records.AcceptRequest, lambda core, unit, request: core.accept(unit, request)
    ),
    "/v1/seats:state": RecordCall("state", records.StateRequest, lambda core, unit, request: core.state(unit, request)),
    "/v1/seats:close": RecordCall("close", records.CloseRequest, lambda core, unit, request: core.close(unit, request)),
    "/v1/seats:destroyed": RecordCall(
        "destroyed", records.DestroyedRequest, lambda core, unit, request: core.destroyed(unit, request)
    ),
    "/v1/seats:lost": RecordCall(
        "lost", rekey.LostSeatsRequest, lambda core, unit, request: core.lost_seats(unit, request)
    ),
    "/v1/seats:rekey": RecordCall("rekey", rekey.RekeyRequest, lambda core, unit, request: core.rekey(unit, request)),
    "/v1/seats:pass": RecordCall("pass", records.PassRequest, lambda core, unit, request: core.pass_on(unit, request)),
    "/v1/capsules:look": RecordCall("look", capsule.LookRequest, lambda core, unit, request: core.look(unit, request)),
    "/v1/instances": RecordCall(
        "instance", instances.InstanceRequest, lambda core, unit, request: core.announce(unit, request)
    ),
    "/v1/compromised": RecordCall(
        "compromised",
        instances.CompromisedRequest,
        lambda core, unit, request: core.compromised(unit, request),
        lane="consents",
    ),
    "/v1/ledger:fetch": RecordCall(
        "ledger", records.LedgerFetchRequest, lambda core, unit, request: core.ledger_fetch(unit, request)
    ),
    "/v1/audit:fetch": RecordCall(
        "audit", records.AuditFetchRequest, lambda core, unit, request: core.audit_fetch(unit, request)
    ),
    "/v1/recipients:name": RecordCall(
        "recipient", records.RecipientRequest, lambda core, unit, request: core.recipient(unit, request)
    ),
    "/v1/proofs": RecordCall(
        "proofs",
        records.ProofsRequest,
        lambda core, unit, request: core.proofs(unit, request),
        check=bounds.check_proofs,
    ),
    "/v1/rules:state": RecordCall(
        "rules_state", rules.RulesStateRequest, lambda core, unit, request: core.rules_state(unit, request)
    ),
    "/v1/trust": RecordCall("trust", trust_calls.TrustRequest, lambda core, unit, request: core.trust(unit, request)),
    "/v1/hold:replay": RecordCall(
        "replay",
        hold.ReplayRequest,
        lambda core, unit, request: core.replay(unit, request),
        limit=4 * limits.CALL,
        lane="consents",
    ),
    "/v1/hold:acts": RecordCall(
        "hold_acts",
        hold.HoldActsRequest,
        lambda core, unit, request: core.hold_acts(unit, request),
        limit=limits.SUBMISSION,
        lane="consents",
    ),
    "/v1/hold:confirm": RecordCall(
        "confirm", hold.ConfirmRequest, lambda core, unit, request: core.confirm(unit, request), lane="consents"
    ),
}

# What a broker that is behind still answers: a withdrawal never waits for anything, nor does a key that is gone; what
# was said is only written down; and the log shows itself.
_BEHIND = (
    "/v1/consents",
    "/v1/seats:state",
    "/v1/seats:close",
    "/v1/seats:destroyed",
    "/v1/disclosures:record",
    "/v1/hold",
    "/v1/ledger:fetch",
    "/v1/audit:fetch",
    "/v1/proofs",
    "/v1/checkpoint",
    "/v1/tile/",
    "/v1/units",
    "/v1/rules",
    "/v1/acts/",
)
BEHIND_CODES = frozenset({"HS-BROKER-BEHIND", "HS-HOLD", "HS-LOG-CONTINUED"})
"""What a connector is told whose memory is of a log that this broker no longer has."""

_NUMBER = 9  # digits of an act's number

NOT_YET: Mapping[str, str] = {"/v1/checkpoint/cosign": "cosign"}


async def _units(core: Core, _rest: str) -> bytes:
    return (await core.units()).to_bytes()


async def _acts(core: Core, rest: str) -> bytes:
    if not rest.isascii() or not rest.isdigit() or len(rest) > _NUMBER:
        raise HandslagError("HS-CALL-UNKNOWN")
    return (await core.acts(int(rest))).to_bytes()


async def _rules(core: Core, _rest: str) -> bytes:
    return await core.rules()


async def _hold(core: Core, _rest: str) -> bytes:
    return (await core.hold()).to_bytes()


async def _checkpoint(core: Core, _rest: str) -> bytes:
    return (await core.checkpoint()).encode()


async def _tile(core: Core, rest: str) -> bytes:
    try:
        level, n, width = parse_tile_path(f"tile/{rest}")
    except HandslagError:
        raise HandslagError("HS-TILE-UNKNOWN") from None  # a spelling of the caller, not a proof that fails
    return await core.tile(level, n, width)


async def _schemas(_core: Core, _rest: str) -> bytes:
    return _schema_list()


async def _schema(_core: Core, rest: str) -> bytes:
    return json.dumps(catalogue.by_name(rest).source, ensure_ascii=False).encode()


@cache
def _schema_list() -> bytes:
    rows = [
        {"name": entry.name, "fingerprint": entry.header[2:].hex(), "project_hash": entry.project_hash.hex()}
        for entry in sorted(catalogue.loaded().values(), key=lambda entry: entry.name)
    ]
    return json.dumps({"schemas": rows}).encode()


GETS: Mapping[str, ListCall] = {
    "/v1/units": ListCall("units", bounds.AVRO, _units),
    "/v1/rules": ListCall("rules", "application/toml", _rules),
    "/v1/schemas": ListCall("schemas", "application/json", _schemas),
    "/v1/hold": ListCall("hold", bounds.AVRO, _hold),
    "/v1/checkpoint": ListCall("checkpoint", "text/plain", _checkpoint),
}
FAMILIES: Mapping[str, ListCall] = {
    "/v1/acts/": ListCall("acts", bounds.AVRO, _acts),
    "/v1/schemas/": ListCall("schemas", "application/json", _schema),
    "/v1/tile/": ListCall("tile", "application/octet-stream", _tile),
}


def answered_behind(path: str) -> bool:
    """Whether a call is answered by a broker whose log is older than one that a connector has seen."""
    # INVARIANT: test_a_broker_that_is_behind_still_takes_a_withdrawal_and_shows_its_log
    return path.startswith(_BEHIND)


def answered_all_the_same(code: str, path: str) -> bool:
    """Whether a call is answered although the caller's memory or number stand against it.

    A restored connector announces its number under that number; and whoever says that its keys were stolen is believed
    by its signature alone.
    """
    if path == "/v1/compromised":
        # INVARIANT: test_a_connector_that_was_taken_over_can_still_close_its_unit
        return code in BEHIND_CODES | {"HS-INSTANCE-OLD", "HS-INSTANCE-NEW"}
    if code in BEHIND_CODES:
        return answered_behind(path)
    return code == "HS-INSTANCE-NEW" and path == "/v1/instances"


def listed(path: str) -> tuple[ListCall, str]:
    """The GET call of `path` and what follows its family's prefix; raises `HS-CALL-UNKNOWN`."""
    call = GETS.get(path)
    if call is not None:
        return call, ""
    for prefix, family in FAMILIES.items():
        if path.startswith(prefix):
            return family, path.removeprefix(prefix)
    raise HandslagError("HS-CALL-UNKNOWN")


def name_of(method: str, path: str) -> str:
    """The call's name for metrics and logs, never a part of the path: one of `metrics.CALLS`."""
    if method == "POST":
        return POSTS[path].name if path in POSTS else NOT_YET.get(path, "unknown")
    try:
        return listed(path)[0].name if method == "GET" else "unknown"
    except HandslagError:
        return "unknown"
