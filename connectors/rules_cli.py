"""`handslag rules check`, `diff`: a rule file examined, and two compared. Nothing is asked of anybody."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import click

from connectors.shared_cli import as_json, examples, language_of, told
from consent import rules_check, rules_diff
from consent.rules import LIMIT, Rules, parse, shipped
from schemas.errors import HandslagError

UNFIT = 3
"""Exit code of `check` for a file that can be read and not be proposed."""
_FILE = click.Path(path_type=Path)


def read(file: Path) -> bytes:
    """A rule file's bytes; raises `HS-RULES-INVALID` for one that is not there, `HS-TOO-LARGE`."""
    try:
        if file.stat().st_size > LIMIT:
            raise HandslagError("HS-TOO-LARGE", limit=LIMIT)
        return file.read_bytes()
    except OSError:
        raise HandslagError("HS-RULES-INVALID", field="file") from None


@click.command(
    "check",
    epilog=examples(
        "handslag rules check 2026-12-01.toml",
        "handslag --lang sv rules check 2026-12-01.toml --json",
        "",
        "Exit code 3: it can be read and not be proposed (unreviewed, a row without a legal source, dates).",
    ),
)
@click.argument("file", type=_FILE)
@as_json
@click.pass_context
def check_command(ctx: click.Context, file: Path, as_json: bool) -> None:
    """Examine the rule FILE: everything that stands against it, each with its place and line."""
    found = rules_check.check(read(file), datetime.datetime.now(datetime.UTC).date())
    language = language_of()
    rows = [{"code": one.code, "kind": one.kind, "place": one.place, "line": one.line} for one in found]
    for row, one in zip(rows, found, strict=True):
        row["told"] = one.told(language)
    fit = rules_check.ready(found)
    told(as_json, {"ready": fit, "findings": rows}, [f"{one.kind:8}{one.told(language)}" for one in found] or ["OK"])
    if not fit:
        ctx.exit(1 if any(one.kind == "ERROR" for one in found) else UNFIT)


@click.command(
    "diff",
    epilog=examples(
        "handslag rules diff 2026-11-22.toml 2026-12-01.toml",
        "handslag --lang sv rules diff - 2026-12-01.toml --json",
        "",
        "OLD can be `-`: the rules that come with this installation.",
    ),
)
@click.argument("old", type=_FILE)
@click.argument("new", type=_FILE)
@as_json
def diff_command(old: Path, new: Path, as_json: bool) -> None:
    """What the rule file NEW opens and what it closes beside OLD, over every type, role and category."""
    before = shipped()[1] if str(old) == "-" else parse(read(old))
    after = parse(read(new))
    told(as_json, difference(before, after), difference_lines(before, after, language_of()))


def difference(before: Rules, after: Rules) -> dict[str, Any]:
    """Two rule sets compared, as JSON."""
    found = rules_diff.changes(before, after)
    return {
        "old": {"version": before.version, "hash": before.hash32.hex()},
        "new": {"version": after.version, "hash": after.hash32.hex()},
        "opens": any(one.opens for one in found),
        "closes": any(one.closes for one in found),
        "changes": rules_diff.as_json(found),
    }


def difference_lines(before: Rules, after: Rules, language: str) -> list[str]:
    """Two rule sets compared, for a person."""
    found = rules_diff.sentences(rules_diff.changes(before, after), language)
    nothing = {"sv": "Inget öppnas och inget stängs.", "en": "Nothing is opened and nothing closed."}
    return [f"{before.version} -> {after.version}", *(found or [nothing[language]])]
