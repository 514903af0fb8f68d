"""Reference pages made from the tables: `python -m schemas.reference errors`, `codes`, `faults`.

The committed pages `docs/errors.md`, `docs/codes.md` and `docs/faults.md` are this output, and a test compares them: a
code that is not in its table is in no page, and a page that somebody edited by hand does not stay.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import resources

from schemas import codes, event_types, limits
from schemas.errors import registry
from schemas.faults import faults

_WHO = {
    "agency_it": "agency IT",
    "agency_officer": "agency officer",
    "operator": "operator",
    "discloser": "discloser",
    "developer": "developer",
    "caller": "whoever runs the command",
}
_TITLES = {
    "outcome": "Outcomes of a submission for one recipient role",
    "reason": "Reasons why a section is not released",
    "operation": "Operations of the audit trail",
    "role": "Roles of a seat",
    "category": "Information categories",
    "purpose": "Purposes",
    "action": "Actions",
    "notice": "Notices to the sender",
    "obligation": "Obligations that travel with a release",
    "delivery_state": "States of a delivery",
    "seat_state": "States of a seat",
    "record": "Words of explanations: records",
    "effect": "Words of explanations: effects",
    "annul_ground": "Grounds on which a consent is annulled",
    "annul_verdict": "What a recipient did with what an annulled consent released",
    "kept_reason": "Why a recipient keeps it",
    "incident_step": "Steps of an incident file",
    "rules_finding": "What an examination of a rule file finds",
    "rules_effect": "What a new rule set does",
    "rules_change": "Differences between two rule sets",
    "manner": "Ways in which something is said outside the broker",
    "fhir_reason": "Why one FHIR R4 Consent is answered as it is",
}
_MADE = "Made by `make reference`; change the table, not this page.\n"


def errors_page() -> str:
    """Every error of the registry: code, HTTP status, who acts, whether to try again, sentence and next step."""
    rows = [
        (
            f"`{entry.code}`",
            entry.status,
            _WHO.get(entry.who, entry.who),
            "yes" if entry.retriable else "no",
            f"{_sentence(entry.en)} {entry.next_en}",
            f"{_sentence(entry.sv)} {entry.next_sv}",
        )
        for entry in sorted(registry().values(), key=lambda entry: entry.code)
    ]
    return "\n".join((
        "# Errors",
        "",
        _MADE,
        "Every failure has one code everywhere: in answers of the gateway, beside a refused file, on the command line,",
        "in metrics. A text never repeats a value of the input; what is known stands in `context`: names and counts.",
        "",
        *_table(("code", "HTTP", "who acts", "try again", "English", "Swedish"), rows),
        "",
    ))  # fmt: skip


def codes_page() -> str:
    """Every list of `tables/codes.toml`, the event types, and the bounds of the protocol."""
    lines = [
        "# Codes, event types and limits",
        "",
        _MADE,
        "One table serves ledger, receipts, trail, metrics and errors: there is no second list.",
    ]
    for name, rows in codes.table().items():
        lines += ["", f"## {_TITLES.get(name, name)}", "", *_codes(rows)]
    lines += ["", "## Event types", "", *_events(), "", "## Limits", "", *_limits(), ""]
    return "\n".join(lines)


def _codes(rows: Mapping[str, Mapping[str, object]]) -> list[str]:
    extra = sorted({key for row in rows.values() for key in row} - {"sv", "en"})
    body = [(f"`{code}`", *(row.get(key, "") for key in extra), row["en"], row["sv"]) for code, row in rows.items()]
    return _table(("code", *extra, "English", "Swedish"), body)


def _events() -> list[str]:
    rows = [
        (
            each.number or "",
            f"`{each.code}`",
            each.type_class.value,
            "now" if each.available else "not yet",
            f"{each.shelf_life_us // 3_600_000_000} h" if each.shelf_life_us else "",
            f"{each.deadline_us // 60_000_000} min" if each.deadline_us else "",
            "yes" if each.life_safety else "",
            each.sv,
        )
        for each in event_types.table().values()
    ]
    head = ("no.", "type", "class", "exists", "shelf life", "deadline", "life safety", "Swedish")
    return _table(head, rows)


def _limits() -> list[str]:
    """Each bound with the reason that stands beside it in `limits.py`."""
    source = resources.files("schemas").joinpath("limits.py").read_text(encoding="utf-8")
    rows = []
    for name, reason in re.findall(r"^([A-Z_]+) = [^#\n]+?(?:  # (.+))?$", source, re.MULTILINE):
        value = getattr(limits, name)
        shown = ", ".join(f"{one:,}" for one in value) if isinstance(value, tuple) else f"{value:,}"
        rows.append((f"`{name}`", shown, reason))
    return _table(("name", "value", "why"), rows)


def _table(head: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return lines + [f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in row)} |" for row in rows]


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def faults_page() -> str:
    """Markdown of everything the two doctors can find, in English; `--lang sv` tells it in Swedish."""
    lines = [
        "# Faults",
        "",
        _MADE,
        "What `handslag doctor` and `handslag connector doctor` can find. A notice (`N-`) makes nothing unsound.",
    ]
    rows = [
        (
            f"`{each.code}`",
            each.side,
            each.acts("en"),
            f"{_sentence(each.en)} {each.next_en}",
            "<br>".join(f"`{command}`" for command in each.commands),
            ", ".join(each.explains),
        )
        for each in faults().values()
    ]
    head = ("code", "side", "who acts", "what is wrong, and what to do", "commands", "explains")
    return "\n".join([*lines, "", *_table(head, rows), ""])


PAGES: Mapping[str, Callable[[], str]] = {"errors": errors_page, "codes": codes_page, "faults": faults_page}


def main(arguments: list[str] | None = None) -> int:
    """Print the page named by the one argument; returns the exit code, 2 for wrong usage."""
    given = sys.argv[1:] if arguments is None else arguments
    if len(given) != 1 or given[0] not in PAGES:
        sys.stderr.write(f"usage: python -m schemas.reference {'|'.join(PAGES)}\n")
        return 2
    sys.stdout.write(PAGES[given[0]]())
    return 0


if __name__ == "__main__":
    sys.exit(main())
