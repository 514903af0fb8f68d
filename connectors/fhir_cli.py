"""`handslag consent import`, `export` and `decide --fhir`: consents of health care in FHIR R4, in and out.

An import records nothing. It writes the command that an officer may give after asking the person; an export is a look
at a person's records like any other, and is logged as one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import click

from connectors import commands, consent_cli, files, moving_cli
from connectors import settings as configuration
from connectors.annul_cli import consent
from connectors.box import DataKey
from connectors.cli import as_json, config_option, examples, told
from connectors.consent_cli import Look, look_options
from connectors.context import clock
from connectors.fhir import giving, model, obligations, question, taking
from connectors.fields import moment, shown_moment
from connectors.identity import Identities
from connectors.spool import Spool
from consent.fhir.decide import decide
from consent.fhir.terms import DENY, NO_CONSENT, PERMIT
from schemas import codes
from schemas.errors import HandslagError
from schemas.identifiers import parsed

EXIT_CODES = {PERMIT: 0, DENY: 3, NO_CONSENT: 4}
_FHIR_EXITS = "Exit codes: 0 PERMIT, 3 DENY, 4 NO_CONSENT, 1 failed with a code on stderr, 2 wrong usage."
_WORDS = {
    PERMIT: {"sv": "Tillåtet", "en": "Permitted"},
    DENY: {"sv": "Nekat", "en": "Denied"},
    NO_CONSENT: {"sv": "Inget samtycke", "en": "No consent"},
}
_HELP = frozenset({"--help", "-h"})
_READABLE = click.Path(path_type=Path, exists=True, dir_okay=False)
_format = click.option(
    "--format", type=click.Choice(["fhir"]), required=True, expose_value=False, help="FHIR R4 Consent, JSON."
)
_out = click.option("--out", type=click.Path(path_type=Path), help="Write it to this new file, mode 0600.")


@click.command(
    "decide",
    epilog="\b\nExamples:\n  handslag consent decide --fhir consent.json --actor Organization/54 --purpose TREAT"
    "\n    --category patient-privacy --class MedicationStatement --at 2026-11-22T12:00:00Z --json"
    f"\n\n{_FHIR_EXITS}",
)
@click.option("--fhir", type=_READABLE, required=True, help="The FHIR R4 Consent, JSON.")
@click.option(
    "--actor",
    "actors",
    multiple=True,
    required=True,
    help="The recipient: SYSTEM|VALUE or Type/id; repeat for further names of the same one.",
)
@click.option("--purpose", required=True, help="Code of v3-ActReason, or SYSTEM|CODE.")
@click.option("--category", default="patient-privacy", show_default=True, help="Scope or category of the consent.")
@click.option("--class", "classes", multiple=True, help="Resource type asked for, or SYSTEM|CODE; repeatable.")
@click.option("--action", default=question.DISCLOSE, show_default=True, help="Code of consentaction, or SYSTEM|CODE.")
@click.option("--at", required=True, help="The moment asked about, ISO 8601 with zone.")
@click.option(
    "--with",
    "known",
    type=_READABLE,
    multiple=True,
    help="A resource or Bundle that the consent refers to; repeatable.",
)
@as_json
def decide_fhir(
    fhir: Path,
    actors: tuple[str, ...],
    purpose: str,
    category: str,
    classes: tuple[str, ...],
    action: str,
    at: str,
    known: tuple[Path, ...],
    as_json: bool,
) -> None:
    """What one FHIR R4 Consent says about one disclosure: PERMIT, with obligations to carry out, DENY or NO_CONSENT.

    No ledger is asked and nothing is recorded. What is not understood in the consent denies.
    """
    ask = question.asked(actors=actors, purpose=purpose, category=category, classes=classes, at=at, action=action)
    answer = decide(model.load(fhir.read_bytes(), [each.read_bytes() for each in known]).consent, ask)
    language = "sv" if moving_cli.swedish() else "en"
    held_back = obligations.written(answer.residual)
    data = {
        "decision": answer.decision,
        "obligations": held_back,
        "reasons": list(answer.reasons),
        "because": list(answer.because),
        "at": shown_moment(ask.at_us),
    }
    words = "; ".join(codes.words("fhir_reason", reason, language) for reason in answer.reasons)
    lines = [f"{_WORDS[answer.decision][language]} ({answer.decision}): {words}.", *map(json.dumps, held_back)]
    told(as_json, data, lines)
    click.get_current_context().exit(EXIT_CODES[answer.decision])


@consent.command(
    "import",
    epilog=examples(
        "handslag consent import consent.json --format fhir --ref EX-1 --text-version T1 --terms-version V1"
        " --method WRITTEN --map codes.json --out in/.draft",
    ),
)
@click.argument("file", type=_READABLE)
@_format
@click.option("--ref", required=True, help="Local reference of the case whose person gave it.")
@click.option("--text-version", help="Wording that was read to the person.")
@click.option("--terms-version", help="Terms of processing that the person was told.")
@click.option("--method", type=click.Choice(["WRITTEN", "EID", "ORAL_DOCUMENTED"]), help="How the word came.")
@click.option("--processing-acknowledged", is_flag=True, help="The person was told of the processing.")
@click.option("--valid-until", help="An end, earlier than the document's or where it has none; ISO 8601 with zone.")
@click.option("--map", "mapped", type=_READABLE, help="What the agency takes others' codes for, JSON.")
@_out
@config_option
@as_json
def import_command(
    file: Path,
    ref: str,
    text_version: str | None,
    terms_version: str | None,
    method: str | None,
    processing_acknowledged: bool,
    valid_until: str | None,
    mapped: Path | None,
    out: Path | None,
    config: Path,
    as_json: bool,
) -> None:
    """Write the command that says what a consent of health care says. NOTHING IS RECORDED by this.

    An officer asks the person, compares, and gives the command: to the folder `in` of the connector, which signs it
    with the unit's seat. What the command cannot say is refused by its name, all of it at once.
    """
    loaded, current = model.load(file.read_bytes()), configuration.load(config)
    _known_here(current, ref)
    given = taking.Given(
        ref=ref,
        unit=current.unit,
        now_us=clock(),
        method=method,
        text_version=text_version,
        terms_version=terms_version,
        processing_acknowledged=processing_acknowledged,
        valid_until_us=moment(valid_until, "valid_until") if valid_until else None,
        codes=taking.code_map(mapped.read_bytes()) if mapped else {},
    )
    taken = taking.command_of(loaded, given)
    # The door that the command will come to: what it would refuse is refused now.
    commands.read(json.dumps(taken.command).encode())
    data = {
        "recorded": False,
        "command": taken.command,
        "confirm": _confirm(),
        "not_carried": list(taken.not_carried),
        "narrowed": list(taken.narrowed),
        "source_sha256": loaded.sha256.hex(),
    }
    if out is not None:
        _write(out, taken.command)
    told(as_json, data, _import_lines(data, out))


def _known_here(current: configuration.Settings, ref: str) -> None:
    """Raise `HS-REF-UNKNOWN` for a case that this connector does not have; the command would be refused later."""
    if not current.database.exists():
        raise HandslagError("HS-REF-UNKNOWN", field="ref")  # never opened: looking must not make one
    with contextlib.closing(Spool(current.database, DataKey.load(current.data_key))) as spool:
        Identities(spool.store).get(ref)


def _confirm() -> list[str]:
    """What the officer must know before giving the command."""
    if moving_cli.swedish():
        return [
            "att dokumentets patient är ärendets person",
            "att personen vill detta nu, och har fått den text som kommandot nämner",
            "att inget i dokumentets löptext eller regelverk säger något mer",
        ]
    return [
        "that the document's patient is the person of the case",
        "that the person wants this now, and was read the wording that the command names",
        "that nothing in the document's prose or policy says more",
    ]


def _import_lines(data: dict[str, Any], out: Path | None) -> list[str]:
    swedish = moving_cli.swedish()
    lines = ["Ingenting är registrerat." if swedish else "Nothing is recorded."]
    lines += [] if out is not None else [json.dumps(data["command"], ensure_ascii=False)]
    heads = ("Bekräfta", "Följer inte med", "Snävare än dokumentet")
    heads = heads if swedish else ("Confirm", "Not carried along", "Narrower than the document")
    for head, name in zip(heads, ("confirm", "not_carried", "narrowed"), strict=True):
        lines += [f"{head}: {', '.join(data[name])}."] if data[name] else []
    return lines


@consent.command(
    "export",
    epilog=examples(
        "handslag consent export --format fhir --ref EX-1 --consent 01a2016d-eb13-7b39-819c-a99e16436ddb"
        " --purpose SELF_MONITORING --case-number K-7 --actor auditor-3 --out consent.json"
    ),
)
@look_options
@_format
@click.option("--consent", "consent_id", required=True, help="The consent, as its result named it.")
@click.option(
    "--patient",
    help="FHIR reference to write for the person, e.g. Patient/17; never a name or a personal identity number."
    "  [default: masked]",
)
@click.option("--as-of", help="The moment whose state it shows, ISO 8601 with zone.  [default: now]")
@_out
@config_option
@as_json
def export_command(
    seat: str | None,
    ref: str | None,
    purpose: str,
    case_number: str,
    actor: str,
    consent_id: str,
    patient: str | None,
    as_of: str | None,
    out: Path | None,
    config: Path,
    as_json: bool,
) -> None:
    """Write one consent of SEAT as a FHIR R4 Consent: no name and no number, no reference to the person but your own.

    With what was taken back of it and what is blocked. A look at a person's records: it is logged here and recorded.
    """
    if not model.installed():
        raise HandslagError("HS-FHIR-EXTRA", part="handslag[fhir]")  # before anything is looked at
    giving.check_patient(patient)
    look = Look(seat=seat, ref=ref, purpose=purpose, case_number=case_number, actor=actor)
    ctx, own, _view, _entry = asyncio.run(consent_cli._fetched(config, look, "consent export"))
    view, unit, rules = ctx.whole_ledger(own), ctx.settings.unit, ctx.rules
    at_us = moment(as_of, "as_of") if as_of else max(ctx.now(), view.recorded_at_us)
    ctx.spool.close()
    made = giving.consent_of(view, parsed(consent_id), unit=unit, as_of_us=at_us, patient=patient, rules=rules)
    written = model.checked(made)
    if out is None:
        click.echo(json.dumps(written, ensure_ascii=False, indent=None if as_json else 2))
        return
    _write(out, written)
    told(as_json, {"file": str(out)}, [f"{out}"])


def _write(path: Path, value: dict[str, Any]) -> None:
    files.write_new(path, json.dumps(value, ensure_ascii=False, indent=2).encode() + b"\n")


class Either(click.Command):
    """One name for two questions: to the ledger, and, where `flag` is given, to one document."""

    def __init__(self, flag: str, document: click.Command, ledger: click.Command) -> None:
        known = {option for each in ledger.params for option in each.opts}
        own = [each for each in document.params if known.isdisjoint(each.opts)]
        super().__init__(ledger.name, params=[*ledger.params, *own], help=ledger.help, epilog=ledger.epilog)
        self._flag, self._document, self._ledger = flag, document, ledger

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """The context of whichever command the arguments ask for."""
        to_document = any(each == self._flag or each.startswith(f"{self._flag}=") for each in args)
        chosen = self._document if to_document else self._ledger
        if _HELP & set(args):
            return chosen.make_context(
                info_name, ["--help"], parent=parent, **extra
            )  # else `--fhir` takes it as a file
        _once(chosen, click.Context(chosen, parent=parent, info_name=info_name), list(args))
        return chosen.make_context(info_name, args, parent=parent, **extra)


def _once(command: click.Command, ctx: click.Context, args: list[str]) -> None:
    """Refuse an option with one answer that is given two: which of them was meant nobody can say."""
    # INVARIANT: test_an_option_with_one_answer_is_not_given_two
    _values, _rest, order = command.make_parser(ctx).parse_args(args)
    for each in order:
        if isinstance(each, click.Option) and not (each.multiple or each.is_flag) and order.count(each) > 1:
            raise click.UsageError(f"{each.opts[0]} is given more than once", ctx)


_ledger = consent.commands["decide"]
_ledger.epilog = f"{_ledger.epilog}\n\nOne FHIR consent: handslag consent decide --fhir CONSENT --help"
consent.add_command(Either("--fhir", decide_fhir, _ledger))

__all__ = ["Either", "consent", "decide_fhir"]
