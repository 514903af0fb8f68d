"""The incident file of an annulled consent: what happened, who was told what, what to do first, and the 72 hours.

Opened at the moment the annulment is noted, also offline, from what this connector knows; written anew when the broker
has listed every release, and with every recipient's answer. It stays at the agency: the broker has no incident.
"""

from __future__ import annotations

from typing import Any

from connectors import reports
from connectors.context import Context
from connectors.fields import shown_moment
from connectors.identity import Seat
from connectors.spool.annulled import Incident
from schemas import codes, event_types
from schemas.errors import HandslagError
from schemas.identifiers import ZERO16, parsed, shown
from schemas.said import AnnulledRelease, AnnulmentsPage, AnnulmentsRequest

_HOUR_US = 3600 * 1_000_000
CLOCK_US = 72 * _HOUR_US  # GDPR art. 33(1) and BDL 3:9: not later than 72 hours after having become aware
SOON_US = 24 * _HOUR_US  # what is left when the agency is reminded
_PROGRAMME = "IC12"
_CLOCKS = {"GDPR": "GDPR art. 33", "BDL": "BDL (2018:1177) 3:9"}


def noted(ctx: Context, command_id: bytes, value: dict[str, Any]) -> None:
    """Open the incident of an annulment that was just noted; in the transaction that keeps the command.

    INVARIANT: test_the_incident_is_open_before_the_broker_has_answered.
    """
    consent = parsed(value["consent"]) if "consent" in value else ZERO16
    seat = ctx.identities.get(value["ref"])
    kept = {**_known(ctx, seat, consent, value["ground"]), "id": value.get("id", "")}
    ctx.spool.annulled.open_incident(command_id, seat.sid, value["noted_at_us"], kept)
    _write(ctx, command_id, kept)


def heard(ctx: Context, item_id: bytes, seat: Seat, ground: str) -> None:
    """Open the incident of a case that its lead declared void; whoever declared it has one already."""
    codes.known("annul_ground", ground, "ground")
    known = (one.value["consent"] for one in ctx.spool.annulled.incidents() if one.seat_id == seat.sid)
    if shown(ZERO16) not in known:
        kept = {**_known(ctx, seat, ZERO16, ground), "recorded": True}
        ctx.spool.annulled.open_incident(item_id, seat.sid, ctx.now(), kept)
        _write(ctx, item_id, kept)
    ctx.spool.annulled.answered(seat.sid)


def _known(ctx: Context, seat: Seat, consent: bytes, ground: str) -> dict[str, Any]:
    """What this connector knows by itself; zeros stand for every consent of a void case."""
    grants = [each for each in ctx.ledger(seat).grants if consent in {ZERO16, each.consent_id}]
    said = _said(ctx, seat, shown(consent))
    return {
        "id": "",
        "ref": seat.ref,
        "consent": shown(consent),
        "ground": ground,
        "recorded": False,
        "releases": [],
        "said": said,
        # Until the broker has listed what went out, everything that the consent named may have.
        "exposed": sorted({category for each in grants for category in each.categories} | _categories(said)),
    }


def _said(ctx: Context, seat: Seat, consent: str) -> list[dict[str, Any]]:
    """What was said under the consent, as this unit itself recorded it."""
    found = []
    for told in ctx.spool.commands.results(ctx.identities.handle(seat.ref), "record_disclosure"):
        for role in told["roles"]:
            under = [s for s in role["sections"] if consent in (shown(ZERO16), *s["consents"])]
            categories = [section["category"] for section in under]
            if categories:
                one = {"disclosure": told["disclosure"], "manner": told["manner"], "said_at": told["said_at"]}
                found.append({**one, "role": role["role"], "categories": categories})
    return found


def _categories(rows: list[dict[str, Any]]) -> set[str]:
    return {category for row in rows for category in row["categories"]}


async def listed(ctx: Context, incident_id: bytes) -> dict[str, Any]:
    """Fetch every release with its answer from the broker and write the file anew; returns what it says."""
    incident = ctx.spool.annulled.incident(incident_id)
    assert incident is not None
    consent = parsed(incident.value["consent"])
    request = AnnulmentsRequest(seat_id=incident.seat_id, consent_id=consent)
    page = await ctx.link.call("/v1/annulments:list", request, AnnulmentsPage, tries=2)
    seat = ctx.identities.get(incident.value["ref"])
    releases, said = _releases(page, incident.value["ground"]), _said(ctx, seat, incident.value["consent"])
    exposed = _categories(releases) | _categories(said) | {_told_by_name(one) for one in page.releases}
    if incident.value["ground"] == "WRONG_PERSON" and (releases or said):
        # Whatever was told, it was told of somebody as of one who leaves: of the wrong one.
        exposed.add(_PROGRAMME)
    kept = {**incident.value, "recorded": True, "releases": releases, "said": said, "exposed": sorted(exposed)}
    with ctx.spool.transaction():
        return _write(ctx, incident_id, kept)


def _told_by_name(release: AnnulledRelease) -> str:
    """What the name of an event alone told: a request for an assessment says that somebody wants to leave."""
    return event_types.type_category(release.event_type)


def _releases(page: AnnulmentsPage, ground: str) -> list[dict[str, Any]]:
    return [
        {
            "delivery_id": shown(one.delivery_id),
            "event_id": shown(one.event_id),
            "event_type": one.event_type,
            "role": one.role,
            "categories": list(one.categories),
            "hand_number": one.hand_number,
            "state_before": one.state_before,
            "told_at": shown_moment(one.noticed_at_us),
            "verdict": one.verdict,
            "reason": one.reason,
            "answered_at": None if one.answered_at_us is None else shown_moment(one.answered_at_us),
        }
        for one in page.releases
        if one.ground == ground
    ]


def _write(ctx: Context, incident_id: bytes, kept: dict[str, Any]) -> dict[str, Any]:
    """Keep a new version and queue its file."""
    incident = ctx.spool.annulled.incident(incident_id)
    assert incident is not None
    ctx.spool.annulled.write(incident, kept)
    value = file_of(ctx, incident, kept)
    ctx.spool.incoming.put(f"incident-{incident_id.hex()}-{incident.version + 1}", "receipts", value)
    return value


def file_of(ctx: Context, incident: Incident, kept: dict[str, Any]) -> dict[str, Any]:
    """The incident file: what to do, in order, then what happened; codes, counts and times."""
    releases, said = kept["releases"], kept["said"]
    answered = [one for one in releases if one["verdict"] is not None]
    return {
        "kind": "incident",
        "incident": shown(incident.incident_id),
        "version": incident.version + 1,
        "id": kept["id"],
        "ref": kept["ref"],
        "steps": [reports.words("incident_step", step) for step in steps(kept)],
        "ground": reports.words("annul_ground", kept["ground"]),
        "consent": None if kept["consent"] == shown(ZERO16) else kept["consent"],
        "aware_at": shown_moment(incident.opened_at_us),
        "report_by": shown_moment(incident.opened_at_us + CLOCK_US),
        "clock": _CLOCKS[ctx.settings.regime],
        "in_force_everywhere": kept["recorded"],
        "exposed": [reports.words("category", category) for category in kept["exposed"]],
        "counts": {
            "releases": len(releases),
            "recipients": len({one["role"] for one in releases}),
            "said": len(said),
            "answered": len(answered),
            "kept": sum(one["verdict"] == "KEPT" for one in answered),
            "unanswered": len(releases) - len(answered),
        },
        "releases": releases,
        "said": said,
    }


def steps(kept: dict[str, Any]) -> list[str]:
    """What to do, in the order of the one table; protecting the person stands first where it is a matter of life.

    INVARIANT: test_protect_the_person_stands_first_where_it_must.
    """
    protect = any(codes.table()["category"][category].get("protect", False) for category in kept["exposed"])
    left_out = set() if protect else {"PROTECT_PERSON"}
    left_out |= set() if kept["said"] else {"FIND_WORDS"}
    return [step for step in codes.table()["incident_step"] if step not in left_out]


async def follow(ctx: Context) -> None:
    """Remind of the 72 hours by this connector's own clock, once each, and write anew what was answered."""
    for incident in ctx.spool.annulled.incidents():
        _remind(ctx, incident)
    for incident in ctx.spool.annulled.incidents():
        if incident.stale and incident.value["recorded"]:
            await listed(ctx, incident.incident_id)


def _remind(ctx: Context, incident: Incident) -> None:
    # INVARIANT: test_the_agency_is_reminded_of_the_72_hours_once
    left = incident.opened_at_us + CLOCK_US - ctx.now()
    if left > SOON_US:
        return
    name, error = ("soon", HandslagError("HS-INCIDENT-DUE"))
    if left <= 0:
        name, error = ("over", HandslagError("HS-INCIDENT-OVERDUE"))
    value = {
        "kind": "incident_due",
        "incident": shown(incident.incident_id),
        "ref": incident.value["ref"],
        "report_by": shown_moment(incident.opened_at_us + CLOCK_US),
        **reports.error_value(error),
    }
    ctx.spool.incoming.put(f"incident-{incident.incident_id.hex()}-{name}", "receipts", value)
