"""`handslag connector statute`: disclosing without consent, with support in law, by two people and never by default.

A group of its own: nothing here is reached from the commands about consent, and nothing there leads here.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import click

from connectors import approving, deciders, enrolment, files, statute, statute_book, statute_shown
from connectors import settings as configuration
from connectors.cli import as_json, config_option, examples, told
from connectors.context import Context, clock
from connectors.fields import moment, shown_moment
from connectors.keys import UnitKeyPair
from connectors.moving_cli import connector, swedish
from consent import provisions as registry
from schemas import codes
from schemas.errors import HandslagError
from schemas.identifiers import parsed, shown
from schemas.statute import StatuteAnswer

T = TypeVar("T")
NOT_SENT = 3
_DATA_BYTES = 256 * 1024
_LISTS = ("secrecy", "exclusions", "released")


@connector.group("statute", epilog=examples("handslag connector statute decide --help"))
def statutory() -> None:
    """Disclose without consent, with support in law: one person decides, another confirms, both with their own keys.

    Never made from what consent withheld. In danger to life phone first: 112.
    """


_key = click.option("--key", type=click.Path(path_type=Path), required=True, help="The person's own key file.")
_passphrase = click.option("--passphrase-file", type=click.Path(path_type=Path), help="Default: asks, without echo.")
_officer = click.option("--officer", required=True, help="Reference of the named decider.")


def _spoken(file: Path | None, *, twice: bool = False) -> str:
    if file is not None:
        try:
            return file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise HandslagError("HS-INPUT-INVALID", field="passphrase-file") from None
    asked: str = click.prompt("Lösenfras / passphrase", hide_input=True, err=True, confirmation_prompt=twice)
    return asked


@statutory.command(
    "provisions",
    epilog=examples(
        "handslag connector statute provisions",
        "handslag connector statute provisions --read OSL-10-27 --json",
    ),
)
@click.option("--read", "read", help="Show one provision as an approval means it.")
@config_option
@as_json
def provisions(read: str | None, config: Path, as_json: bool) -> None:
    """List the provisions and which of them this agency has approved. Without an approval each is off."""
    if read is not None:
        value = approving.read_out(registry.shipped().provision(read))
        told(as_json, value, [f"{name}: {json.dumps(part, ensure_ascii=False)}" for name, part in value.items()])
        return
    rows = _with(config, approving.standing)
    on, off = ("godkänd till", "AV") if swedish() else ("approved until", "OFF")
    lines = [
        f"{row['provision']:<16} {row['section']:<22} {f'{on} ' + str(row['until']) if row['approved'] else off}"
        for row in rows
    ]
    told(as_json, {"version": registry.shipped().version, "provisions": rows}, lines)


@statutory.command(
    "approve",
    epilog=examples(
        "handslag connector statute approve --provision OSL-10-27 --agency-key agency.key --reviewer jurist-1"
        " --until 2027-11-01T00:00:00+01:00 --out osl-10-27.json",
    ),
)
@click.option("--provision", required=True, help="Id of the provision; `provisions --read ID` shows what is approved.")
@click.option("--agency-key", type=click.Path(path_type=Path), required=True, help="Key file of the agency.")
@click.option("--reviewer", required=True, help="The agency's own reference of the lawyer who read it.")
@click.option("--until", required=True, help="Until when, ISO 8601 with zone. A time that is over ends an approval.")
@click.option("--acute", is_flag=True, help="Also for one person alone in acute danger (threat and measures only).")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="New file for `take`.")
@config_option
@as_json
def approve(
    provision: str, agency_key: Path, reviewer: str, until: str, acute: bool, out: Path, config: Path, as_json: bool
) -> None:
    """The agency's lawyer: approve one provision as it is read here, signed with the agency's key."""
    agency = configuration.load(config).agency
    keys = enrolment.load_agency_key(agency_key)
    value = approving.signed(agency, keys, provision, reviewer, clock(), moment(until, "until"), acute=acute)
    files.write_new(out, json.dumps(value, indent=1).encode())
    text = "Undertecknat. Registrera det:" if swedish() else "Signed. Record it:"
    told(as_json, {"file": str(out), "provision": provision}, [f"{text} handslag connector statute take {out}"])


@statutory.command("take", epilog=examples("handslag connector statute take osl-10-27.json"))
@click.argument("file", type=click.Path(path_type=Path))
@config_option
@as_json
def take(file: Path, config: Path, as_json: bool) -> None:
    """Record an approval at the broker, where it is an entry of the agency's trail; the newest counts."""
    approval = _linked(config, lambda ctx: approving.take(ctx, file))
    until = shown_moment(approval.valid_until_us)
    text = "Godkänd till" if swedish() else "Approved until"
    told(as_json, {"provision": approval.provision_id, "until": until}, [f"{approval.provision_id}: {text} {until}"])


@statutory.command(
    "decider",
    epilog=examples(
        "handslag connector statute decider --name handl-7 --key usb/handl-7.key",
        "handslag connector statute decider --name handl-7 --remove",
    ),
)
@click.option("--name", required=True, help="Reference of the person.")
@click.option("--key", type=click.Path(path_type=Path), help="New file for the person's own key.")
@click.option("--remove", is_flag=True, help="The person decides no more.")
@_passphrase
@config_option
@as_json
def decider(
    name: str, key: Path | None, remove: bool, passphrase_file: Path | None, config: Path, as_json: bool
) -> None:
    """Name a person who may decide or confirm: draws the person's keys, sealed under the person's own passphrase."""
    keys_dir = configuration.load(config).keys_dir
    if remove:
        deciders.unname(keys_dir, name)
    elif key is None:
        raise click.UsageError("name the new key file with --key")
    else:
        deciders.name_decider(keys_dir, name, key, _spoken(passphrase_file, twice=True), os.urandom)
    named = sorted(deciders.named(keys_dir))
    told(as_json, {"deciders": named}, [", ".join(named)])


def _statement(command: Callable[..., None]) -> Callable[..., None]:
    """What every decision states, acute or not."""
    for option in reversed((
        click.option("--ref", required=True, help="Local reference of the case."),
        click.option("--to", "role", required=True, help="The one role it goes to."),
        click.option("--provision", required=True, help="Id of the approved provision."),
        click.option("--data", type=click.Path(path_type=Path), required=True,
                     help="JSON file: per field of the event {\"statements\": [{kind, as_of, text}]}."),
        click.option("--necessity", required=True, help="Why it is needed in this case; stays at the agency."),
        click.option("--secrecy", multiple=True, required=True,
                     help="Secrecy that is broken, e.g. OSL_35_1; repeatable."),
        click.option("--excluded-not", "exclusions", multiple=True,
                     help="Exclusion examined and not the case; repeatable."),
        click.option("--public-interest", "released", multiple=True,
                     help="Category that a decision under chapter 18 OSL releases; repeatable."),
        click.option("--balanced", type=click.Choice(sorted(codes.table()["balanced"])), help="Outcome of the test."),
        click.option("--age", type=click.Choice(sorted(codes.table()["age_stated"])), help="Where it has a limit."),
        click.option("--consent-sought", type=click.Choice(sorted(codes.table()["consent_sought"])), required=True),
        click.option("--informed", "subject_informed", required=True,
                     type=click.Choice(sorted(codes.table()["subject_informed"])), help="Whether the person is told."),
        click.option("--inform-by", help="When the person is told, for LATER."),
        click.option("--purpose", default="PROTECTION", show_default=True, help="Purpose."),
        click.option("--in-reply-to", help="Event of the recipient that asked; never one of this unit's own."),
        _officer, _key, _passphrase, config_option, as_json,
    )):  # fmt: skip
        command = option(command)
    return command


@statutory.command(
    "decide",
    epilog=examples(
        "handslag connector statute decide --ref EX-1 --to social_services_lead --provision OSL-10-27 --data told.json"
        " --necessity '...' --secrecy OSL_35_1 --excluded-not ROUTINE --public-interest IC04 --balanced FOR"
        " --consent-sought REFUSED --informed LATER --officer handl-7 --key usb/handl-7.key",
    ),
)
@_statement
@click.option("--request", help="The recipient's request, by its reference; stays at the agency.")
def decide(config: Path, as_json: bool, **given: Any) -> None:
    """Decide that something goes without consent; it goes when another person has confirmed it (`confirm`)."""
    disclosure = _with(config, lambda ctx: _decided(ctx, given, acute=False))
    text = "Inget har lämnats ut. Bekräftas av en annan:" if swedish() else "Nothing went. To be confirmed by another:"
    command = f"handslag connector statute confirm --disclosure {shown(disclosure)}"
    told(as_json, {"disclosure": shown(disclosure), "state": statute_book.WAITS}, [text, command])


@statutory.command(
    "acute",
    epilog=examples(
        "handslag connector statute acute --ref EX-1 --to social_services_lead --provision OSL-10-27 --data danger.json"
        " --call-back 010-1234567 --necessity '...' --secrecy OSL_35_1 --excluded-not ROUTINE --public-interest IC04"
        " --balanced FOR --consent-sought NOT_POSSIBLE --informed LATER --officer handl-7 --key usb/handl-7.key",
    ),
)
@_statement
@click.option("--call-back", required=True, help="The decider's own number, for the recipient.")
def acute(config: Path, as_json: bool, **given: Any) -> None:
    """Acute danger: one person sends threat (IC04) and measures (IC06) to one role at once. Phone first: 112.

    Another person confirms within 24 hours (`confirm`); else both units' data protection officers are told.
    Exit 3: nothing went.
    """
    disclosure, answer = _linked(config, lambda ctx: _acute(ctx, given))
    _answered(disclosure, answer, as_json)


async def _acute(ctx: Context, given: dict[str, Any]) -> tuple[bytes, StatuteAnswer]:
    disclosure = _decided(ctx, given, acute=True)
    return disclosure, await statute.send(ctx, disclosure, None)


def _decided(ctx: Context, given: dict[str, Any], *, acute: bool) -> bytes:
    officer, keys = given["officer"], _unlocked(ctx, given)
    inform_by, listed = given["inform_by"], {name: tuple(dict.fromkeys(given[name])) for name in _LISTS}
    decision = statute.Decision(
        ref=given["ref"],
        role=given["role"],
        purpose=given["purpose"],
        provision=given["provision"],
        data=_data(given["data"]),
        secrecy=listed["secrecy"],
        exclusions=listed["exclusions"],
        released=listed["released"],
        necessity=given["necessity"],
        request=given.get("request"),
        balanced=given["balanced"],
        age=given["age"],
        consent_sought=given["consent_sought"],
        subject_informed=given["subject_informed"],
        inform_by_us=moment(inform_by, "inform_by") if inform_by else None,
        call_back=given.get("call_back"),
        in_reply_to=given["in_reply_to"],
        acute=acute,
    )
    return statute.decide(ctx, decision, officer, keys)


@statutory.command(
    "show", epilog=examples("handslag connector statute show --disclosure ID --officer handl-9 --key usb/handl-9.key")
)
@click.option("--disclosure", required=True, help="Id of the decision.")
@_officer
@_key
@_passphrase
@config_option
@as_json
def show(disclosure: str, config: Path, as_json: bool, **given: Any) -> None:
    """Read a decision before confirming it: every ground that its decider stated, and its content while it waits.

    For a named decider, and noted in this connector's own log.
    """

    def read(ctx: Context) -> dict[str, Any]:
        _unlocked(ctx, given)
        value = statute_book.one(ctx, parsed(disclosure))
        ctx.spool.memory.log_reading({"what": "statute show", "id": disclosure, "actor": given["officer"]}, ctx.now())
        return statute_shown.whole(disclosure, value)

    value = _with(config, read)
    told(as_json, value, statute_shown.lines(value, "sv" if swedish() else "en"))


@statutory.command(
    "confirm",
    epilog=examples(
        "handslag connector statute confirm --disclosure ID --officer handl-9 --key usb/handl-9.key",
        "handslag connector statute confirm --disclosure ID --officer handl-9 --key usb/handl-9.key --refuse",
    ),
)
@click.option("--disclosure", required=True, help="Id of the decision.")
@click.option("--refuse", is_flag=True, help="No: what waits is destroyed; what went is told to both units.")
@_officer
@_key
@_passphrase
@config_option
@as_json
def confirm(disclosure: str, refuse: bool, config: Path, as_json: bool, **given: Any) -> None:
    """The second person: send what another decided, or stand by what went in acute danger. Exit 3: refused.

    What has been spoken about already is not spoken about again: `list` shows what became of it.
    """
    verdict = "NOT_CONFIRMED" if refuse else "CONFIRMED"

    async def spoken(ctx: Context) -> Any:
        return await statute.confirm(ctx, parsed(disclosure), given["officer"], _unlocked(ctx, given), verdict)

    answer = _linked(config, spoken)
    if isinstance(answer, StatuteAnswer):
        _answered(parsed(disclosure), answer, as_json)
        return
    text = ("Antecknat." if swedish() else "Recorded.") if answer else ("Inget gick." if swedish() else "Nothing went.")
    told(as_json, {"disclosure": disclosure, "verdict": verdict, "recorded": answer is not None}, [text])


@statutory.command("list", epilog=examples("handslag connector statute list --json"))
@config_option
@as_json
def listed(config: Path, as_json: bool) -> None:
    """Every decision of this unit, in codes: what waits for a second person, what went, what did not."""
    rows = _with(
        config, lambda ctx: [statute_book.shown_row(key, value) for key, value in statute_book.book(ctx).items()]
    )
    lines = [f"{row['disclosure']}  {row['state']}  {row['to']}  {row['provision']}" for row in rows]
    told(as_json, {"disclosures": rows}, lines)


def _answered(disclosure: bytes, answer: StatuteAnswer, as_json: bool) -> None:
    went = answer.outcome == "RELEASED"
    until = None if answer.confirm_by_us is None else shown_moment(answer.confirm_by_us)
    language = "sv" if swedish() else "en"
    reasons = sorted({reason for section in answer.sections for reason in section.reasons})
    lines = [codes.words("outcome", answer.outcome, language), *(codes.words("reason", r, language) for r in reasons)]
    if until is not None:
        lines.append(f"{'Bekräftas av en annan senast' if swedish() else 'To be confirmed by another until'} {until}")
    data = {
        "disclosure": shown(disclosure),
        "outcome": answer.outcome,
        "reasons": reasons,
        "confirm_by": until,
        "entry_id": shown(answer.entry_id),
        "leaf_hash": answer.leaf_hash.hex(),
    }
    told(as_json, data, lines)
    click.get_current_context().exit(0 if went else NOT_SENT)


def _data(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            value = json.loads(opened.read(_DATA_BYTES))
        if not isinstance(value, dict) or not value:
            raise ValueError
    except (OSError, ValueError, RecursionError):
        raise HandslagError("HS-INPUT-INVALID", field="data") from None
    return value


def _unlocked(ctx: Context, given: dict[str, Any]) -> UnitKeyPair:
    phrase = _spoken(given["passphrase_file"])
    return deciders.unlocked(ctx.settings.keys_dir, given["officer"], given["key"], phrase)


def _with(config: Path, work: Callable[[Context], T]) -> T:
    ctx = Context.load(configuration.load(config))
    try:
        return work(ctx)
    finally:
        ctx.spool.close()


def _linked(config: Path, work: Callable[[Context], Coroutine[Any, Any, T]]) -> T:
    async def run(ctx: Context) -> T:
        async with ctx.link:
            return await work(ctx)

    return _with(config, lambda ctx: asyncio.run(run(ctx)))


__all__ = ["connector", "statutory"]
