"""`handslag connector may-i` and `record-disclosure`: before a call or a meeting, and after it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from connectors import by_hand, spoken, stated
from connectors import settings as configuration
from connectors.cli import as_json, config_option, connector, examples, told
from connectors.context import Context
from connectors.fields import shown_moment
from connectors.shared_cli import about_options
from connectors.spoken import Answer, Copy, Question
from consent import explain
from schemas import codes
from schemas.errors import registry
from schemas.identifiers import shown

NOTHING, STALE = 3, 4
_KEPT = ("Sparat här; antecknas när mäklaren svarar.", "Kept here; recorded when the broker answers.")
_MAY_EXITS = (
    "0 something may be said, 1 failed, 2 wrong usage, 3 nothing may be said, 4 something might, but the copy may be"
    " old: ask again when the broker answers."
)
_SAID_EXITS = "0 recorded and covered, 1 failed, 2 wrong usage, 3 recorded as not covered, 4 kept, not yet recorded."


def _help(exits: str, *lines: str) -> str:
    return examples(*lines).rsplit("\n", 1)[0] + f"\nExit codes: {exits}"


def _listed(kind: str, given: tuple[str, ...], field: str) -> list[str]:
    """Codes from repeated or comma-separated options, each once, in order; raises `HS-CODE-UNKNOWN`."""
    found = [code.strip() for one in given for code in one.split(",") if code.strip()]
    return [codes.known(kind, code, field) for code in dict.fromkeys(found)]


def _about(*, persons: tuple[int, ...], data_since: str | None, data_until: str | None) -> stated.About:
    return stated.about(persons, data_since, data_until)


def _language() -> str:
    return click.get_current_context().find_root().params.get("lang") or "sv"


@connector.command(
    "may-i",
    epilog=_help(
        _MAY_EXITS,
        "handslag connector may-i --ref EX-1 --to police_coordination --purpose PLANNING",
        "handslag connector may-i --ref EX-1 --to police_coordination,prison_probation --purpose PLANNING"
        " --categories IC13 --manner MEETING --person 0 --person 1 --data-since 2026-01-01T00:00:00Z --json",
    ),
)
@click.option("--ref", required=True, help="Local reference of the case.")
@click.option("--to", "roles", multiple=True, required=True, help="Role that will hear it; repeatable, or with commas.")
@click.option("--purpose", required=True, help="Purpose.")
@click.option("--categories", multiple=True, help="Categories asked about.  [default: all]")
@click.option("--manner", default="CALL", show_default=True, help="CALL, MEETING or LETTER.")
@click.option("--public-interest", multiple=True, help="Category that a decision under chapter 18 OSL releases.")
@about_options
@click.option("--actor", default="", help="Reference of the officer who asks; kept in this connector's own log.")
@click.option("--offline", is_flag=True, help="Do not ask the broker whether the copy is up to date.")
@config_option
@as_json
def may_i(
    ref: str,
    roles: tuple[str, ...],
    purpose: str,
    categories: tuple[str, ...],
    manner: str,
    public_interest: tuple[str, ...],
    actor: str,
    offline: bool,
    config: Path,
    as_json: bool,
    **about: Any,
) -> None:
    """What may be said about the case of --ref, and to whom; for several roles, what while all are in the room."""
    question = Question(
        roles=_listed("role", roles, "to"),
        purpose=purpose,
        manner=manner,
        categories=_listed("category", categories, "categories") or list(codes.table()["category"]),
        public_interest=frozenset(_listed("category", public_interest, "public_interest")),
        about=_about(**about),
    )
    if not question.roles:
        raise click.UsageError("name at least one role with --to")
    answer, lines = asyncio.run(_answered(config, ref, question, actor, offline, _language()))
    told(as_json, _data(ref, question, answer), lines)
    click.get_current_context().exit(_code(answer))


def _code(answer: Answer) -> int:
    # INVARIANT: test_an_old_copy_never_answers_yes
    if not answer.something:
        return NOTHING
    return 0 if answer.copy.fresh else STALE


async def _answered(
    config: Path, ref: str, question: Question, actor: str, offline: bool, language: str
) -> tuple[Answer, list[str]]:
    ctx = Context.load(configuration.load(config))
    try:
        seat = ctx.identities.get(ref)
        # The own log first, as for every look at what a person consented to.
        ctx.spool.memory.log_reading({"what": "may-i", "seat": shown(seat.sid), "actor": actor}, ctx.now())
        if offline:
            copy = spoken.kept(ctx)
        else:
            async with ctx.link:
                copy = await spoken.renewed(ctx, seat)
        answer = spoken.may_i(ctx, seat, question, copy)
        view = ctx.ledger(seat)
        lines = [*_first(answer, language), question.about.words(language), *_room(answer, question, language)]
        for one in answer.each:
            lines += explain.sentences(one.decision, one.request, view, language, ctx.rules)
        return answer, lines
    finally:
        ctx.spool.close()


def _data(ref: str, question: Question, answer: Answer) -> dict[str, Any]:
    return {
        "answer": {0: "SOMETHING", NOTHING: "NOTHING", STALE: "STALE"}[_code(answer)],
        "in_room": list(answer.in_room),
        "ref": ref,
        "purpose": question.purpose,
        "manner": question.manner,
        "decided_for": question.about.data,
        "asked_at": shown_moment(answer.asked_at_us),
        "copy": {
            "ledger_seq": answer.ledger_seq,
            "fresh": answer.copy.fresh,
            "confirmed_at": None if answer.copy.confirmed_at_us is None else shown_moment(answer.copy.confirmed_at_us),
            "age_s": _age(answer),
            "trouble": answer.copy.trouble,
        },
        "stopped_here": answer.stopped_here,
        "log_stopped": answer.log_stopped,
        "each": [
            {
                "role": one.request.recipient.role,
                "outcome": one.decision.outcome,
                "until": None if one.decision.holds_until_us is None else shown_moment(one.decision.holds_until_us),
                "obligations": list(one.decision.obligations),
                "sections": [
                    {
                        "category": section.category,
                        "may": section.released,
                        "reasons": list(section.reasons),
                        "consents": [shown(consent) for consent in section.grants],
                    }
                    for section in one.decision.sections
                ],
            }
            for one in answer.each
        ],
    }


def _age(answer: Answer) -> int | None:
    at_us = answer.copy.confirmed_at_us
    return None if at_us is None else max(0, (answer.asked_at_us - at_us) // 1_000_000)


def _first(answer: Answer, language: str) -> list[str]:
    """What must be read before the answer: an old copy, a stop, and how old the copy is."""
    swedish = language == "sv"
    copy, age = answer.copy, _age(answer)
    lines = []
    if not copy.fresh:
        why = _trouble(copy, swedish)
        lines.append(
            f"OBS: {why} Ett återkallande som har antecknats någon annanstans sedan dess syns inte här."
            if swedish
            else f"NOTE: {why} A withdrawal noted elsewhere since then is not seen here."
        )
    if answer.stopped_here:
        lines.append(
            "STOPP: ett återkallande eller en spärr är antecknad här. Säg ingenting."
            if swedish
            else "STOP: a withdrawal or a block is noted here. Say nothing."
        )
    if answer.log_stopped:
        lines.append(
            "STOPP: loggen stämmer inte, anslutningen har stannat. Säg ingenting."
            if swedish
            else "STOP: the log does not hold, the connector has stopped. Say nothing."
        )
    told_age = "?" if age is None else str(age)
    lines.append(
        f"Kopian av samtyckesliggaren bekräftades för {told_age} s sedan (nummer {answer.ledger_seq})."
        if swedish
        else f"The copy of the consent ledger was confirmed {told_age} s ago (number {answer.ledger_seq})."
    )
    return lines


def _trouble(copy: Copy, swedish: bool) -> str:
    if copy.trouble is not None and copy.trouble in registry():
        entry = registry()[copy.trouble]
        return f"{entry.sv if swedish else entry.en} ({entry.code})."
    return "kopian kan vara gammal." if swedish else "the copy may be old."


def _room(answer: Answer, question: Question, language: str) -> list[str]:
    swedish = language == "sv"
    what = ", ".join(f"{code} {codes.words('category', code, language)}" for code in answer.in_room)
    if not what:
        what = "ingenting" if swedish else "nothing"
    if len(answer.each) == 1:
        return [f"Får sägas: {what}." if swedish else f"May be said: {what}."]
    lines = [
        f"Får sägas när alla är i rummet: {what}." if swedish else f"May be said while all are in the room: {what}.",
        "Att de sitter där visar var och en av dem att de andra deltar."
        if swedish
        else "That they sit there shows each of them that the others take part.",
    ]
    return lines if len(question.roles) > 1 else lines[:1]


@connector.command(
    "record-disclosure",
    epilog=_help(
        _SAID_EXITS,
        "handslag connector record-disclosure --ref EX-1 --to police_coordination --purpose PLANNING"
        " --categories IC13 --manner CALL --actor handl-7",
        "handslag connector record-disclosure --ref EX-1 --to police_coordination,prison_probation --purpose PLANNING"
        " --categories IC13,IC08 --manner MEETING --said-at 2026-11-20T09:00:00Z --person 0 --person 1 --json",
    ),
)
@click.option("--ref", required=True, help="Local reference of the case.")
@click.option("--to", "roles", multiple=True, required=True, help="Role that heard it; repeatable, or with commas.")
@click.option("--purpose", required=True, help="Purpose.")
@click.option("--categories", multiple=True, required=True, help="What was said; repeatable, or with commas.")
@click.option("--manner", required=True, help="CALL, MEETING or LETTER.")
@click.option("--said-at", help="When, ISO 8601 with zone.  [default: now]")
@click.option("--consent", "consents", multiple=True, help="Consent that the officer rested on; repeatable.")
@click.option("--public-interest", multiple=True, help="Category that a decision under chapter 18 OSL releases.")
@about_options
@click.option("--note", help="Kept at this connector only.")
@click.option("--actor", default="", help="Reference of the officer who said it.")
@click.option("--wait", type=click.FloatRange(min=0), default=by_hand.WAIT_S, show_default=True, help="Seconds.")
@config_option
@as_json
def record_disclosure(
    ref: str,
    roles: tuple[str, ...],
    purpose: str,
    categories: tuple[str, ...],
    manner: str,
    said_at: str | None,
    consents: tuple[str, ...],
    public_interest: tuple[str, ...],
    note: str | None,
    actor: str,
    wait: float,
    config: Path,
    as_json: bool,
    **about: Any,
) -> None:
    """Record what was said about the case of --ref, whether or not a consent covered it. Releases nothing."""
    listed = _listed("category", categories, "categories")
    values = {
        **_stated(_about(**about), about, listed),
        "do": "record_disclosure",
        "ref": ref,
        "to": _listed("role", roles, "to"),
        "purpose": purpose,
        "categories": listed,
        "manner": manner,
        "said_at": said_at,
        "consents": list(consents),
        "public_interest_released": _listed("category", public_interest, "public_interest"),
        "note": note,
        "actor_ref": actor,
    }
    done = asyncio.run(by_hand.carried_out(config, values, wait))
    swedish = _language() == "sv"
    if done.state == "ACCEPTED":
        told(as_json, {"command": shown(done.command_id), "recorded": False}, [_KEPT[0 if swedish else 1]])
        click.get_current_context().exit(STALE)
    result = done.value["result"]
    told(as_json, {"recorded": True, **result}, _recorded_lines(result, swedish))
    click.get_current_context().exit(0 if result["covered"] else NOTHING)


def _stated(about: stated.About, given: dict[str, Any], categories: list[str]) -> dict[str, Any]:
    """What the options say, category by category as in a command; what was not given is left out."""
    period = {"since": given["data_since"], "until": given["data_until"]}
    return {
        "persons": {each: list(about.persons) for each in categories} if given["persons"] else {},
        "data_periods": {each: period for each in categories} if any(period.values()) else {},  # noqa: C420 - as above
    }


def _recorded_lines(result: dict[str, Any], swedish: bool) -> list[str]:
    language = "sv" if swedish else "en"
    lines = [f"Antecknat: {result['disclosure']}." if swedish else f"Recorded: {result['disclosure']}."]
    lines.append(result["decided_for"][language])
    for role in result["roles"]:
        for section in role["sections"]:
            why = "; ".join(f"{reason[language]} ({reason['code']})" for reason in section["reasons"])
            mark = "+" if section["covered"] else "-"
            lines.append(f"  {mark} {role['role']} {section['category']}{f': {why}' if why else ''}")
    if result["possible_incident"] is not None:
        lines.append(str(result["possible_incident"][language]))
    return lines


__all__ = ["connector", "may_i", "record_disclosure"]
