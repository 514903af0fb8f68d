"""`handslag consent texts ...`: the wordings that may be told to a person, those that ship and the agency's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from connectors import settings as configuration
from connectors.context import clock
from connectors.effect_cli import consent
from connectors.fields import shown_moment
from connectors.shared_cli import as_json, examples, language_of, told
from consent.texts import Wording, shipped_wordings, wordings
from schemas import codes
from schemas.errors import HandslagError

_config = click.option(
    "--config", type=click.Path(path_type=Path), help="A connector's configuration, for its `texts_dir`."
)


def available(config: Path | None) -> tuple[Wording, ...]:
    """The shipped wordings and those of the agency's own folder; raises `HS-TEXTS-INVALID`, `HS-CONFIG-INVALID`."""
    folder = configuration.load(config).texts_dir if config is not None else None
    return shipped_wordings() if folder is None else (*shipped_wordings(), *wordings(folder))


@consent.group("texts", epilog=examples("handslag consent texts list", "handslag consent texts show --help"))
def texts() -> None:
    """Information texts: what may be told to a person before a consent, by version, language and form."""


@texts.command(
    "list", epilog=examples("handslag consent texts list --json", "handslag consent texts list --config c.toml")
)
@_config
@as_json
def list_command(config: Path | None, as_json: bool) -> None:
    """List every wording with its hash. One without a reviewer is an example, and says so itself."""
    rows = [_shown(each) for each in available(config)]
    lines = [_line(row, language_of()) for row in rows]
    told(as_json, {"texts": rows}, lines)


@texts.command(
    "show",
    epilog=examples("handslag consent texts show sekretess/EXEMPEL-2026-11-22 --language sv --form EASY"),
)
@click.argument("version")
@click.option("--language", default="sv", show_default=True, help="Language of the wording, BCP 47.")
@click.option("--form", default="STANDARD", show_default=True, help="STANDARD, EASY or CHILD.")
@_config
@as_json
def show_command(version: str, language: str, form: str, config: Path | None, as_json: bool) -> None:
    """Show one wording, to read it aloud or to print it, and the hash that the consent names it by."""
    codes.known("text_form", form, "form")
    wanted = (version, language, form)
    found = next((each for each in available(config) if each.row[:3] == wanted), None)
    if found is None:
        raise HandslagError("HS-TEXT-UNKNOWN", field="text_version")
    row = _shown(found)
    told(as_json, {**row, "text": found.text}, [found.text, f"{row['text_version']}  sha256 {row['text_hash']}"])


@texts.command("check", epilog=examples("handslag consent texts check", "handslag consent texts check our-texts"))
@click.argument("folder", required=False, type=click.Path(path_type=Path, exists=True, file_okay=False))
@as_json
def check_command(folder: Path | None, as_json: bool) -> None:
    """Check a FOLDER of wordings against its index.toml (without one: the wordings that ship): hashes, dates, marks.

    Every file must be the one that the index names by hash, and say EXEMPEL exactly when nobody has reviewed it.
    """
    found = shipped_wordings() if folder is None else wordings(folder)
    reviewed = sum(1 for each in found if each.reviewed_by)
    data = {"texts": len(found), "reviewed": reviewed}
    told(as_json, data, [f"{len(found)} OK; {reviewed} reviewed, {len(found) - reviewed} EXEMPEL"])


def _shown(each: Wording) -> dict[str, Any]:
    row = each.row
    return {
        "text_version": row.version,
        "language": row.language,
        "form": row.form,
        "kinds": sorted(row.kinds),
        "title": each.title,
        "text_hash": row.sha256.hex(),
        "from": None if row.since_us is None else shown_moment(row.since_us),
        "until": None if row.until_us is None else shown_moment(row.until_us),
        "in_use": row.in_use(clock()),
        "reviewed_by": each.reviewed_by,
    }


def _line(row: dict[str, Any], language: str) -> str:
    swedish = language == "sv"
    state = row["reviewed_by"] or ("inte granskad" if swedish else "not reviewed")
    if not row["in_use"]:
        state += ", inte i bruk" if swedish else ", not in use"
    form = codes.words("text_form", row["form"], language)
    return f"{row['text_version']}  {row['language']}  {row['form']:8} {form}; {state}  {row['text_hash'][:16]}"


__all__ = ["available", "consent"]
