"""An agency's approval of a provision: signed with the agency's key by whoever reads the text, recorded at the broker.

Nothing that comes with the product is approved. The approval names the text by its hash: when a later version reads
the provision otherwise, it is off again until somebody has read the new text.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from connectors.context import Context
from connectors.fields import shown_moment
from connectors.keys import UnitKeyPair, verify
from consent import provisions
from consent.provisions import Provision
from schemas import limits
from schemas.errors import HandslagError
from schemas.statute import ApprovalRequest, ProvisionApproval, RecordedAnswer

_KEPT = "approvals"
_FILE_BYTES = 16 * 1024


def read_out(provision: Provision) -> dict[str, Any]:
    """The provision as its approval means it, for whoever is to approve it."""
    return {
        "provision": provision.provision_id,
        "sfs": provision.sfs,
        "section": provision.section,
        "kind": provision.kind,
        "balancing": provision.balancing,
        "requires_request": provision.requires_request,
        "age_below": provision.age_below,
        "acute_possible": provision.acute,
        "excluded_secrecy": sorted(provision.excluded_secrecy),
        "exclusions": sorted(provision.exclusions),
        "text_source": provision.text_source,
        "lanes": [
            {"sender": sender, "recipient": recipient, "categories": sorted(lane), "rows": sorted(set(lane.values()))}
            for (sender, recipient), lane in sorted(provision.lanes.items())
        ],
        "hash": provision.hash32.hex(),
    }


def signed(
    agency: str, keys: UnitKeyPair, provision_id: str, reviewer: str, at_us: int, until_us: int, *, acute: bool
) -> dict[str, str]:
    """The content of an approval file; raises `HS-PROVISION-UNKNOWN`, `HS-STATUTE-ACUTE`, `HS-APPROVAL-INVALID`."""
    provision = provisions.shipped().provision(provision_id)
    if acute and not provision.acute:
        raise HandslagError("HS-STATUTE-ACUTE")
    if not reviewer:
        raise HandslagError("HS-APPROVAL-INVALID", field="reviewer")
    raw = ProvisionApproval(
        agency=agency,
        provision_id=provision_id,
        provision_hash=provision.hash32,
        reviewer_ref=reviewer,
        reviewed_at_us=at_us,
        valid_until_us=until_us,
        acute=acute,
    ).to_bytes()
    return {"approval": raw.hex(), "signature": keys.sign(raw).hex(), "agency_key": keys.public.signing.hex()}


async def take(ctx: Context, file: Path) -> ProvisionApproval:
    """Record an approval file at the broker and keep it here; inside the link's context.

    Raises `HS-APPROVAL-INVALID` for a file that this agency's listed key did not sign or that is dated in the future,
    and what the broker raises.
    """
    # INVARIANT: test_an_approval_that_the_agency_did_not_sign_is_not_taken
    try:
        with file.open("rb") as opened:
            value = json.loads(opened.read(_FILE_BYTES))
        raw, signature = bytes.fromhex(value["approval"]), bytes.fromhex(value["signature"])
        told = ProvisionApproval.from_bytes(raw)
    except (OSError, ValueError, KeyError, TypeError, RecursionError, HandslagError):
        raise HandslagError("HS-APPROVAL-INVALID", field="file") from None
    key = ctx.trusted.agency_key(ctx.settings.agency)
    if key is None or told.agency != ctx.settings.agency:
        raise HandslagError("HS-APPROVAL-INVALID", field="agency")
    try:
        verify(key, signature, raw)
    except HandslagError:
        raise HandslagError("HS-APPROVAL-INVALID", field="signature") from None
    if told.reviewed_at_us > ctx.now() + limits.SENT_AHEAD_US:
        raise HandslagError("HS-APPROVAL-INVALID", field="reviewed_at")
    call_id = ctx.random(16)
    request = ApprovalRequest(call_id=call_id, agency_key=key, approval=raw, approval_signature=signature)
    answer = await ctx.kept_call("/v1/provisions:approve", call_id, request, RecordedAnswer)
    with ctx.spool.transaction():
        kept = _kept(ctx)
        kept[told.provision_id] = {"approval": raw.hex(), "signature": signature.hex()}
        ctx.spool.memory.put(_KEPT, json.dumps(kept).encode())
        ctx.spool.memory.want_proof(answer.leaf_hash, "approval", ctx.now())
    return told


def held(ctx: Context, provision_id: str) -> tuple[bytes, bytes] | None:
    """The approval of a provision that was recorded last, with the agency's signature; None when there is none."""
    found = _kept(ctx).get(provision_id)
    return None if found is None else (bytes.fromhex(found["approval"]), bytes.fromhex(found["signature"]))


def standing(ctx: Context) -> list[dict[str, Any]]:
    """Every provision, and whether this agency has approved it for now."""
    rows = []
    for one in provisions.shipped().provisions.values():
        kept = held(ctx, one.provision_id)
        told = None if kept is None else ProvisionApproval.from_bytes(kept[0])
        valid = (
            told is not None
            and told.provision_hash == one.hash32
            and told.reviewed_at_us <= ctx.now() < told.valid_until_us
        )
        rows.append(
            {
                "provision": one.provision_id,
                "sfs": one.sfs,
                "section": one.section,
                "approved": valid,
                "acute": valid and told is not None and told.acute,
                "until": shown_moment(told.valid_until_us) if valid and told is not None else None,
            }
        )
    return rows


def _kept(ctx: Context) -> dict[str, dict[str, str]]:
    raw = ctx.spool.memory.get(_KEPT)
    return {} if raw is None else dict(json.loads(raw))
