"""`handslag consent ...`: what was consented, when it was known, and what would be decided.

At the agency's machine, with the unit's certificate. Whoever looks names a purpose, a case number of the control and
an actor; the look is written to this connector's own log first, then recorded in the broker's trail, then shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from connectors import ledgers, stated
from connectors import settings as configuration
from connectors.context import Context
from connectors.fields import moment, shown_moment
from connectors.identity import Seat
from connectors.persons import CONFIRMED, OWN, UNCONFIRMED, origin
from connectors.shared_cli import about_options, as_json, config_option, examples, language_of, told
from consent import explain
from consent import history as reading
from consent.decide import decide
from consent.ledger import LedgerView
from consent.records import Grant
from consent.terms import DecisionRequest
from schemas import codes
from schemas.calls import AuditQuery, LedgerFetchRequest, LedgerPage
from schemas.errors import HandslagError
from schemas.event_types import check_action
from schemas.identifiers import ZERO16, parsed, shown
from schemas.languages import Text

PURPOSES = ("LAWFULNESS", "SELF_MONITORING", "INTEGRITY", "CRIMINAL_PROCEEDINGS")  # LED art. 25(2), closed
_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Who looks at what and why."""

    seat: str | None
    ref: str | None
    purpose: str
    case_number: str
    actor: str

    def query(self) -> AuditQuery:
        """The query as the broker records it; the actor is as asserted until staff sign in here."""
        return AuditQuery(
            purpose=self.purpose, actor_ref=self.actor, assurance="ASSERTED", case_number=self.case_number
        )


def look_options(command: _Command) -> _Command:
    """The options every look at a person's records must carry."""
    for option in (
        click.option("--actor", required=True, help="Reference of the officer who looks, at this agency."),
        click.option("--case-number", required=True, help="The control's own case number."),
        click.option("--purpose", required=True, type=click.Choice(PURPOSES), help="Why."),
        click.option("--ref", help="Local reference of the case."),
        click.argument("seat", required=False),
    ):
        command = option(command)
    return command


def times(command: _Command) -> _Command:
    """The two axes of time."""
    for option in (
        click.option("--known-at", help="What had been recorded by then, ISO 8601 with zone.  [default: all]"),
        click.option("--as-of", help="The moment asked about, ISO 8601 with zone.  [default: now]"),
    ):
        command = option(command)
    return command


def disclosure_options(command: _Command) -> _Command:
    """The disclosure asked about, and the language of the answer."""
    for option in (
        click.option(
            "--lang", type=click.Choice(["sv", "en"]), help="Language of the sentences.  [default: as the command's]"
        ),
        click.option(
            "--public-interest",
            multiple=True,
            help="Category that a decision under chapter 18 OSL releases; repeatable.",
        ),
        click.option("--action", default="DISCLOSE", show_default=True),
        click.option("--for", "for_purpose", required=True, help="Purpose of the disclosure."),
        click.option(
            "--category", "categories", multiple=True, required=True, help="Information category; repeatable."
        ),
        click.option("--event-type", required=True, help="Event type."),
        click.option("--to", "role", required=True, help="Recipient role."),
    ):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """The disclosure asked about; the names are the options'."""

    role: str
    event_type: str
    categories: tuple[str, ...]
    for_purpose: str
    action: str
    public_interest: tuple[str, ...]
    about: stated.About

    @classmethod
    def of(cls, *, persons: tuple[int, ...], data_since: str | None, data_until: str | None, **given: Any) -> Question:
        """What the options ask; raises `HS-CODE-UNKNOWN`, `HS-NOT-YET`, `HS-ACTION-OTHER`, `HS-INPUT-INVALID`."""
        asked = cls(about=stated.about(persons, data_since, data_until), **given)
        codes.known("role", asked.role, "to")
        for category in (*asked.categories, *asked.public_interest):
            codes.known("category", category, "category")
        codes.known("purpose", asked.for_purpose, "for")
        check_action(asked.event_type, asked.action)
        return asked

    def request(self, ctx: Context, seat: Seat, at_us: int) -> DecisionRequest:
        """The question as it is decided."""
        categories = sorted(set(self.categories))
        return ledgers.asked(
            ctx,
            seat,
            ledgers.recipient(ctx, seat, self.role),
            event_type=self.event_type,
            categories=categories,
            purpose=self.for_purpose,
            action=self.action,
            at_us=at_us,
            public_interest=frozenset(self.public_interest),
            **self.about.of(categories),
        )


def found_seat(ctx: Context, look: Look) -> Seat:
    """The seat named by id or by local reference; raises `HS-SEAT-UNKNOWN`, `HS-REF-UNKNOWN`."""
    if (look.seat is None) == (look.ref is None):
        raise click.UsageError("name the case by SEAT or by --ref, one of them")
    if look.ref is not None:
        return ctx.identities.get(look.ref)
    seat = ctx.identities.by_seat_id(parsed(look.seat or ""))
    if seat is None:
        raise HandslagError("HS-SEAT-UNKNOWN")
    return seat


def logged(ctx: Context, seat: Seat, look: Look, what: str) -> None:
    """The own log first: a look that left no line did not happen here."""
    value = {"what": what, "seat": shown(seat.sid), "actor": look.actor, "purpose": look.purpose}
    ctx.spool.memory.log_reading({**value, "case_number": look.case_number}, ctx.now())


async def _fetched(config: Path, look: Look, what: str) -> tuple[Context, Seat, LedgerView, str | None]:
    ctx = Context.load(configuration.load(config))
    seat = found_seat(ctx, look)
    logged(ctx, seat, look, what)
    async with ctx.link:
        after, _head = ctx.spool.memory.head(seat.sid)
        request = LedgerFetchRequest(seat_id=seat.sid, after_seq=after, query=look.query())
        page = await ctx.link.call("/v1/ledger:fetch", request, LedgerPage, tries=3)
        ledgers.take(ctx, seat, page.events)
        ctx.spool.memory.want_proof(page.leaf_hash, "query", ctx.now(), seat.sid)
    return ctx, seat, ledgers.view(ctx, seat), shown(page.entry_id) if page.entry_id else None


def _moments(ctx: Context, view: LedgerView, as_of: str | None, known_at: str | None) -> tuple[int, LedgerView]:
    at = moment(as_of, "as_of") if as_of else max(ctx.now(), view.recorded_at_us)
    return at, view.as_known(moment(known_at, "known_at")) if known_at else view


@click.group(epilog=examples("handslag consent show --help"))
def consent() -> None:
    """Consents of a case, their history, and what would be decided."""


@consent.command(
    "show",
    epilog=examples(
        "handslag consent show --ref EX-1 --as-of 2026-11-01T12:00:00Z --purpose SELF_MONITORING"
        " --case-number K-7 --actor auditor-3"
    ),
)
@look_options
@times
@config_option
@as_json
def show(
    seat: str | None,
    ref: str | None,
    purpose: str,
    case_number: str,
    actor: str,
    as_of: str | None,
    known_at: str | None,
    config: Path,
    as_json: bool,
) -> None:
    """What was in force for the case of SEAT at one moment, by what had been recorded at another."""
    look = Look(seat=seat, ref=ref, purpose=purpose, case_number=case_number, actor=actor)
    ctx, shown_seat, _counted, entry = asyncio.run(_fetched(config, look, "consent show"))
    at, view = _moments(ctx, ctx.whole_ledger(shown_seat), as_of, known_at)
    found = reading.standing(view, at)
    rows = [
        {**_grant_row(grant, in_force=holds), "origin": origin(ctx, shown_seat, grant.consent_id)}
        for grant, holds in found.grants
    ]
    blocks = [{"block": shown(block.consent_id), "in_force": holds} for block, holds in found.blocks]
    data = {"as_of": shown_moment(at), "ledger_seq": view.ledger_seq, "entry_id": entry, "broken": view.broken}
    ctx.spool.close()
    told(as_json, {**data, "consents": rows, "blocks": blocks}, _standing(data, rows, blocks, language_of()))


_ORIGINS = {
    OWN: Text("", ""),
    CONFIRMED: Text(" (från mäklaren, bekräftat)", " (from the broker, confirmed)"),
    UNCONFIRMED: Text(
        " (FRÅN MÄKLAREN, INTE UR EGET MINNE: medger inget förrän `connector rekey consent`)",
        " (FROM THE BROKER, NOT FROM OWN MEMORY: permits nothing until `connector rekey consent`)",
    ),
}
_SHOWN = {
    "head": Text("Läget {}, liggarens nummer {}:", "As of {}, ledger number {}:"),
    "consent": Text("  {}  {}  till {}: {}{}", "  {}  {}  to {}: {}{}"),
    "block": Text("  spärr {}  {}", "  block {}  {}"),
    True: Text("gäller", "in force"),
    False: Text("gäller inte", "not in force"),
    "none": Text("  inget samtycke är registrerat", "  no consent was recorded"),
    "follows": Text("den som har rollen", "whoever holds the role"),
    "no_act": Text("Ingen handling är registrerad.", "No act is recorded."),
}


def _standing(
    data: dict[str, Any], rows: list[dict[str, Any]], blocks: list[dict[str, Any]], language: str
) -> list[str]:
    lines = [_SHOWN["head"].told(language, data["as_of"], data["ledger_seq"])]
    for row in rows:
        holds, origin_told = _SHOWN[row["in_force"]].told(language), _ORIGINS[row["origin"]].told(language)
        categories = ", ".join(f"{code} {codes.words('category', code, language)}" for code in row["categories"])
        to = _recipients(row, language)
        lines.append(_SHOWN["consent"].told(language, row["consent"], holds, to, categories, origin_told))
    if not rows:
        lines.append(_SHOWN["none"].told(language))
    return lines + [
        _SHOWN["block"].told(language, row["block"], _SHOWN[row["in_force"]].told(language)) for row in blocks
    ]


def _grant_row(grant: Grant, *, in_force: bool) -> dict[str, Any]:
    return {
        "consent": shown(grant.consent_id),
        "in_force": in_force,
        "from": shown_moment(grant.start_us),
        "until": shown_moment(grant.end_us) if grant.end_us > 0 else None,
        "recipients": sorted(grant.units | grant.roles),
        "follows_role": sorted(grant.followed),
        "categories": sorted(grant.categories),
        "purposes": sorted(grant.purposes),
        "actions": sorted(grant.actions),
        "partly_withdrawn": bool(grant.parts),
    }


def _recipients(row: dict[str, Any], language: str) -> str:
    follows, holder = row["follows_role"], _SHOWN["follows"].told(language)
    roles = codes.table()["role"]
    named = [(each, codes.words("role", each, language) if each in roles else each) for each in row["recipients"]]
    return ", ".join(f"{words} ({holder})" if each in follows else words for each, words in named)


@consent.command(
    "history",
    epilog=examples("handslag consent history --ref EX-1 --purpose LAWFULNESS --case-number K-7 --actor auditor-3"),
)
@look_options
@config_option
@as_json
def history(
    seat: str | None, ref: str | None, purpose: str, case_number: str, actor: str, config: Path, as_json: bool
) -> None:
    """Every act on the ledger of SEAT, in the order in which it was recorded."""
    look = Look(seat=seat, ref=ref, purpose=purpose, case_number=case_number, actor=actor)
    ctx, _seat, view, entry = asyncio.run(_fetched(config, look, "consent history"))
    rows = [
        {
            "ledger_seq": one.ledger_seq,
            "act": one.act,
            "consent": shown(one.consent_id),
            "recorded_at": shown_moment(one.recorded_at_us),
            "effective_at": shown_moment(one.effective_at_us) if one.effective_at_us is not None else None,
            "noted_by": one.noted_by,
            "signed": one.signed,
        }
        for one in reading.acts(view)
    ]
    ctx.spool.close()
    lines = [_act_line(row, language_of()) for row in rows]
    told(as_json, {"entry_id": entry, "acts": rows}, lines or [_SHOWN["no_act"].told(language_of())])


def _act_line(row: dict[str, Any], language: str) -> str:
    act = row["act"]
    words = codes.words("consent_act", act, language) if act in codes.table()["consent_act"] else act
    about = "" if row["consent"] == shown(ZERO16) else f"  {row['consent']}"  # about the whole ledger: no consent named
    return f"{row['ledger_seq']:4}  {row['recorded_at']}  {act:12}{about}  {words}"


@consent.command(
    "decide",
    epilog=examples(
        "handslag consent decide --ref EX-1 --to police_coordination --event-type threat_assessment_requested"
        " --category IC04 --for THREAT_ASSESSMENT --purpose LAWFULNESS --case-number K-7 --actor auditor-3",
        "handslag consent decide --ref EX-1 --to police_coordination --event-type joint_plan_adopted"
        " --category IC13 --person 0 --person 1 --data-since 2026-01-01T00:00:00Z --data-until 2026-07-01T00:00:00Z"
        " --for PLANNING --purpose LAWFULNESS --case-number K-7 --actor auditor-3",
    ),
)
@look_options
@times
@disclosure_options
@about_options
@config_option
@as_json
def decide_command(
    seat: str | None,
    ref: str | None,
    purpose: str,
    case_number: str,
    actor: str,
    as_of: str | None,
    known_at: str | None,
    lang: str | None,
    config: Path,
    as_json: bool,
    **given: Any,
) -> None:
    """Whether SEAT may disclose to a role, section by section, with every reason."""
    question = Question.of(**given)
    look = Look(seat=seat, ref=ref, purpose=purpose, case_number=case_number, actor=actor)
    ctx, own, whole, entry = asyncio.run(_fetched(config, look, "consent decide"))
    at, view = _moments(ctx, whole, as_of, known_at)
    request = question.request(ctx, own, at)
    decision = decide(request, view, ctx.rules)
    sections = [{"category": s.category, "released": s.released, "reasons": list(s.reasons)} for s in decision.sections]
    data: dict[str, Any] = {"as_of": shown_moment(at), "entry_id": entry, "rules": ctx.rules.hash32.hex()}
    data |= {"decided_for": question.about.data, "outcome": decision.outcome, "sections": sections}
    language = language_of(lang)
    lines = [*explain.sentences(decision, request, view, language, ctx.rules), question.about.words(language)]
    ctx.spool.close()
    told(as_json, {**data, "sentences": lines}, lines)
