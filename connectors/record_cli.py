"""`handslag consent record` and `record-verify`: the person's own signed copy of a consent.

A receipt in the wrong hands is a danger. Nothing is written before the officer has said how it reaches the person, and
the delivery is noted in this connector's own log before the first byte of it exists.
"""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from typing import Any

import click

from connectors import consent_cli, person_copies, trust
from connectors import settings as configuration
from connectors.consent_cli import PURPOSES, Look
from connectors.context import load_trust
from connectors.person_copies import Handing, hand_out
from connectors.shared_cli import as_json, config_option, examples, language_of, told
from connectors.texts_cli import consent
from consent import person_page, person_record
from consent.person_page import say
from consent.person_record import HANDED_OVER, KEPT, READ_ALOUD
from schemas.errors import HandslagError
from schemas.identifiers import parsed


@consent.command(
    "record",
    epilog=examples(
        "handslag consent record EX-1 01a2016d-eb13-7b39-819c-a99e16436ddb --to copy.json"
        " --delivery HANDED_OVER_IN_PERSON --given-to 0 --purpose LAWFULNESS --case-number K-7 --actor handl-7",
        "handslag consent record EX-1 01a2016d-eb13-7b39-819c-a99e16436ddb --delivery READ_ALOUD_ONLY --given-to 0"
        " --purpose LAWFULNESS --case-number K-7 --actor handl-7",
    ),
)
@click.argument("seat")
@click.argument("consent_id", metavar="CONSENT")
@click.option("--to", "to", type=click.Path(path_type=Path), help="New file NAME.json; the page goes to NAME.html.")
@click.option("--delivery", help="HANDED_OVER_IN_PERSON, KEPT_AT_AGENCY or READ_ALOUD_ONLY. Never by post or e-mail.")
@click.option("--given-to", type=click.IntRange(0, 63), help="Number of the person in the case; 0 is the case's own.")
@click.option("--protected-identity/--no-protected-identity", default=None, help="Has the person protected identity?")
@click.option("--cover/--no-cover", default=True, show_default=True, help="A first sheet that tells nothing.")
@click.option("--page-language", type=click.Choice(person_page.LANGUAGES), default="sv", show_default=True)
@click.option("--number", help="A personal identity number for the paper, and for nothing else; - reads it from stdin.")
@click.option("--actor", required=True, help="Reference of the officer.")
@click.option("--case-number", required=True, help="The agency's own number of this.")
@click.option("--purpose", required=True, type=click.Choice(PURPOSES), help="Why.")
@config_option
@as_json
def record_command(
    seat: str,
    consent_id: str,
    to: Path | None,
    delivery: str | None,
    given_to: int | None,
    protected_identity: bool | None,
    cover: bool,
    page_language: str,
    number: str | None,
    actor: str,
    case_number: str,
    purpose: str,
    config: Path,
    as_json: bool,
) -> None:
    """Make the person's own copy of CONSENT: a signed file, and a page to print. SEAT: its id or the case's reference.

    Only the case's own person, or who represents them in this consent and still may, is given one. With protected
    identity nothing is assumed but KEPT_AT_AGENCY. A look at a person's records: it is logged here and recorded.
    """
    how = person_record.delivery_of(delivery, given_to=given_to, protected=protected_identity, cover=cover)
    if (to is None) != (how == READ_ALOUD) or (to is not None and to.suffix != ".json"):
        raise HandslagError("HS-RECORD-DELIVERY", field="to")
    given = Handing(how, given_to, page_language, cover, _number(number, how), actor)
    by_id = re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", seat) is not None
    look = Look(
        seat=seat if by_id else None,
        ref=None if by_id else seat,
        purpose=purpose,
        case_number=case_number,
        actor=actor,
    )
    own_ctx, own, _view, entry = asyncio.run(consent_cli._fetched(config, look, "consent record"))
    try:
        made = hand_out(own_ctx, own, parsed(consent_id), given, to)
    finally:
        own_ctx.spool.close()
    data = {"delivery": how, "entry_id": entry, **made}
    told(as_json, data, [*made["read_aloud"], *_lines(made, how, language_of())])


def _number(number: str | None, delivery: str) -> str | None:
    if number is None:
        return None
    if delivery == READ_ALOUD:
        raise HandslagError("HS-RECORD-DELIVERY", field="number")
    return sys.stdin.readline().strip() if number == "-" else number


_AFTERWARDS = {  # what the officer does with the files: Swedish, English
    READ_ALOUD: ("Ingenting är skrivet till disk.", "Nothing was written to disk."),
    HANDED_OVER: (
        "Ta bort filerna när papperet är lämnat. Skicka dem aldrig.",
        "Remove the files once the paper is delivered. Never send them.",
    ),
    KEPT: (
        "Kopian stannar här. Ta bort filerna när papperet är utskrivet och inlåst. Skicka dem aldrig.",
        "The copy stays here. Remove the files once the paper is printed and locked away. Never send them.",
    ),
}


def _lines(made: dict[str, Any], delivery: str, language: str) -> list[str]:
    return [*made["files"], _AFTERWARDS[delivery][0 if language == "sv" else 1]]


@consent.command(
    "record-verify",
    epilog=examples(
        "handslag consent record-verify copy.json",
        "handslag consent record-verify copy.json --trust trust.toml --fingerprint 0f3c... --json",
    ),
)
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--trust", "trust_file", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="A trust list."
)
@click.option("--fingerprint", help="The fingerprint of that trust list, as you got it by another way.")
@config_option
@as_json
def verify_command(file: Path, trust_file: Path | None, fingerprint: str | None, config: Path, as_json: bool) -> None:
    """Examine a person's copy offline: whether a unit of a listed agency signed it, as it stands.

    With the connector's trust list, or with --trust and --fingerprint. What has become of the consent since then the
    file cannot say: `handslag consent show` does.
    """
    if (trust_file is None) != (fingerprint is None):
        raise click.UsageError("--trust and --fingerprint go together")
    record = person_copies.verified(file.read_bytes(), _trusted(trust_file, fingerprint, config))
    state, unit = record["state"], record["pii_processing"]["pii_controllers"][0]
    data = {"valid": True, "unit": unit, "record_id": record["record_id"], **state}
    swedish = language_of() == "sv"
    stood = say("state", state["event_state"], language_of())
    line = f"{'Äkta' if swedish else 'Genuine'}: {unit}, {record['record_id']}. {state['as_of']}: {stood}"
    told(as_json, data, [line])


def _trusted(trust_file: Path | None, fingerprint: str | None, config: Path) -> trust.Trust:
    if trust_file is None or fingerprint is None:
        return load_trust(configuration.load(config))
    try:
        text = trust_file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise HandslagError("HS-TRUST-INVALID", field="file") from None
    return trust.trusted(trust.parse(text), fingerprint)


__all__ = ["consent"]
