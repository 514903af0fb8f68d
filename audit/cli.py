"""The command group `audit`: verify a copied trail, search fetched entries.

Exit codes: 0 whole or shown, 1 broken, 2 wrong usage or unreadable.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import click

from audit import entrykeys, exportfile, search, trustfile
from audit.anchors import Anchors, units_read
from audit.note import Verifier
from audit.report import Report
from audit.trailfile import TrailFile
from audit.verify import verify
from audit.verify_export import verify_export
from schemas.calls import AuditPage
from schemas.errors import HandslagError
from schemas.identifiers import parsed

PAGE_LIMIT = 64 * 1024 * 1024
"""Bytes of one saved page; what a connector saves is far smaller."""

_LANGUAGE = click.option(
    "--lang",
    type=click.Choice(["sv", "en"]),
    default=lambda: click.get_current_context().find_root().params.get("lang") or "sv",
    help="Language of the answer.  [default: as `handslag --lang`]",
)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group("audit")
def group() -> None:
    """Verify and search the audit trail (granska loggen)."""


@group.command("verify")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--trust", type=_FILE, help="Trust list (trust.toml) naming the log's origin and key.")
@click.option("--log-key", help="The log's public key, name+id+base64, instead of a trust list.")
@click.option("--origin", help="The log's origin; the key's name when left out.")
@click.option("--remember", type=_FILE, help="A signed checkpoint that you kept from earlier.")
@click.option("--keys", type=_FILE, help="Entry keys: read the content and compute the decisions again.")
@click.option("--units", type=_FILE, help="Signed units (units.json of an export): check who sent what.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of sentences.")
@_LANGUAGE
def verify_command(
    path: Path,
    trust: Path | None,
    log_key: str | None,
    origin: str | None,
    remember: Path | None,
    keys: Path | None,
    units: Path | None,
    as_json: bool,
    lang: str,
) -> None:
    """Check a COPY of a trail, or an export of one seat (`audit export`). Nothing is written, nothing is sent.

    A copy is the trail's SQLite file, or the directory it lies in. Take the log's key from your own trust list, never
    from the copy; an export without --trust is checked against the list inside it, whose fingerprint is shown. Exit
    codes: 0 whole, 1 broken (the first broken entry is named), 2 wrong usage or unreadable.

    \b
    Examples:
      handslag audit verify copy/ --trust trust.toml
      handslag audit verify trail.db --trust trust.toml --remember kept.note --lang en
      handslag audit verify trail.db --log-key 'broker.exempel.se/audit+…' --keys mine.keys --json
      handslag audit verify export/ --trust trust.toml
      handslag audit verify trail.db --trust trust.toml --keys export/keys.txt --units export/units.json
    """  # noqa: D301 - click needs the character itself before lines that it must not join

    def work() -> int:
        kept = None if remember is None else remember.read_bytes()
        if exportfile.is_export(path):
            if log_key or origin or keys or units:
                raise click.UsageError("an export brings its own keys and units; give --trust at most")
            report = _exported(path, trust, kept)
        else:
            name, verifier, anchors = _log(trust, log_key, origin)
            if units is not None:
                if anchors.agencies is None:
                    raise click.UsageError("--units needs --trust: the agencies' keys stand there")
                anchors = anchors.with_units(units_read(units.read_text(encoding="utf-8")))
            with TrailFile(path) as trail:
                report = verify(
                    trail,
                    origin=name,
                    log_keys=[verifier],
                    remembered=kept,
                    keys=None if keys is None else entrykeys.read(keys.read_text(encoding="utf-8")),
                    anchors=anchors,
                )
        click.echo(json.dumps(report.as_json(), ensure_ascii=False) if as_json else report.text(lang))
        return 0 if report.whole else 1

    _run(work, lang)


@group.command("read")
@click.argument("pages", nargs=-1, required=True, type=_FILE)
@click.option("--seat", help="Only this seat (UUID).")
@click.option("--since", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]), help="From this time on, UTC.")
@click.option("--operation", help="Only this operation, such as DISCLOSURE.")
@click.option("--outcome", help="Only this outcome, such as WITHHELD.")
@click.option("--json", "as_json", is_flag=True, help="A JSON array instead of a table.")
@_LANGUAGE
def read_command(
    pages: tuple[Path, ...],
    seat: str | None,
    since: datetime | None,
    operation: str | None,
    outcome: str | None,
    as_json: bool,
    lang: str,
) -> None:
    """Read entries that your connector fetched and saved (PAGES). The connector logged the reading when it fetched.

    Exit codes: 0 shown (also when nothing met the conditions), 1 an entry is not the one of its leaf, 2 wrong usage
    or unreadable.

    \b
    Examples:
      handslag audit read seat.page --since 2026-11-01
      handslag audit read *.page --outcome WITHHELD --json
    """  # noqa: D301 - as above

    def work() -> int:
        read = [AuditPage.from_bytes(page.read_bytes(), PAGE_LIMIT) for page in pages]
        found = search.opened(entry for page in read for entry in page.entries)
        chosen = search.select(
            found,
            seat_id=None if seat is None else parsed(seat),
            since_us=None if since is None else int(since.replace(tzinfo=UTC).timestamp()) * 1_000_000,
            operation=operation,
            outcome=outcome,
        )
        click.echo(search.render(chosen, as_json=as_json, language=lang))
        return 0

    _run(work, lang)


def _exported(path: Path, trust: Path | None, remembered: bytes | None) -> Report:
    """Check an export against the reader's own trust list, or against its own list, and then say so."""
    export = exportfile.read(path)
    listed = trustfile.read(export.trust if trust is None else trust.read_text(encoding="utf-8"))
    if trust is None and listed.signers < trustfile.SIGNERS:
        raise HandslagError("HS-TRUST-INVALID", check="signers")
    anchors = Anchors(agencies=listed.agencies)
    report = verify_export(export, origin=listed.origin, log=listed.log, anchors=anchors, remembered=remembered)
    if trust is None:
        report.leave_open(["own-trust"])
        report.fingerprint = listed.fingerprint
    return report


def _log(trust: Path | None, log_key: str | None, origin: str | None) -> tuple[str, Verifier, Anchors]:
    """Return the origin, the log's key and the agencies' keys from the trust list or from the options."""
    if (trust is None) == (log_key is None):
        raise click.UsageError("give the log's key by --trust or by --log-key")
    if trust is None:
        verifier = Verifier.from_vkey(log_key or "")
        return origin or verifier.name, verifier, Anchors()
    listed = trustfile.read(trust.read_text(encoding="utf-8"))
    return origin or listed.origin, listed.log, Anchors(agencies=listed.agencies)


def _run(work: Callable[[], int], language: str) -> None:
    """Run a command's work; sentences about failures go to stderr."""
    try:
        code = work()
    except HandslagError as error:
        click.echo(error.diagnostics(language), err=True)
        code = 1 if error.code == "HS-PROOF-INVALID" else 2
    except (OSError, UnicodeDecodeError):
        click.echo(HandslagError("HS-TRAIL-UNREADABLE", part="file").diagnostics(language), err=True)
        code = 2
    sys.exit(code)
