"""What a verification found, as plain sentences (Swedish, English) and as JSON.

A check is named by one word; the words are part of the format, and the tests say which check catches which change.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from audit.report_words import CHECKS, NOT_SHOWN
from schemas import codes
from schemas.identifiers import shown

KEPT = 200
"""Findings kept in full; the rest are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong.

    `number` and `entry_id` name the entry, `index` the leaf, `size` the checkpoint; each None where it does not apply.
    `exact` False: the entry is the first of a range in which something is wrong. `part` is a word of the format.
    """

    check: str
    number: int | None = None
    entry_id: bytes | None = None
    index: int | None = None
    size: int | None = None
    part: str | None = None
    exact: bool = True

    def rank(self) -> tuple[int, int]:
        """Order for naming the first: exact entries, then leaves, then ranges, then checkpoints."""
        if self.number is not None:
            return (0 if self.exact else 2, self.number)
        return (1, self.index) if self.index is not None else (3, self.size or 0)

    def as_json(self) -> dict[str, Any]:
        """Return what is known, ids spelled as UUIDs."""
        told: dict[str, Any] = {"check": self.check}
        for name in ("number", "index", "size", "part"):
            if getattr(self, name) is not None:
                told[name] = getattr(self, name)
        if self.entry_id is not None:
            told["entry_id"] = shown(self.entry_id)
        if not self.exact:
            told["exact"] = False
        return told

    def sentence(self, language: str) -> str:
        """Return where and what, in `sv` or `en`."""
        swedish = language == "sv"
        where = []
        if self.number is not None:
            where.append(f"post {self.number}" if swedish else f"entry {self.number}")
        if self.entry_id is not None:
            where.append(f"id {shown(self.entry_id)}")
        if self.index is not None:
            where.append(f"löv {self.index}" if swedish else f"leaf {self.index}")
        if self.size is not None:
            where.append(f"kontrollpunkt vid storlek {self.size}" if swedish else f"checkpoint at size {self.size}")
        if not self.exact:
            where.append("eller senare" if swedish else "or later")
        place = ", ".join(where) or ("hela loggen" if swedish else "the whole log")
        told = f" ({self.part})" if self.part else ""
        return f"{place}: {CHECKS[self.check].told(language)} [{self.check}]{told}"


@dataclass(slots=True)
class Report:
    """The result of one verification; `findings` is empty when the trail is whole."""

    origin: str
    leaves: int = 0
    entries: int = 0
    checkpoints: int = 0
    beats: int = 0
    signed: int = 0
    opened: int = 0
    decided: int = 0
    signatures: int = 0
    evidence: int = 0
    export: bool = False
    held: int = 0
    fingerprint: str | None = None
    continuations: list[dict[str, Any]] = field(default_factory=list)
    erased: list[dict[str, Any]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    not_shown: list[str] = field(default_factory=list)

    def add(self, finding: Finding) -> None:
        """Take a finding; past KEPT only those are kept that come before the last one."""
        self.counts[finding.check] += 1
        if len(self.findings) < KEPT:
            self.findings.append(finding)
        elif finding.rank() < (worst := max(self.findings, key=Finding.rank)).rank():
            self.findings[self.findings.index(worst)] = finding

    def leave_open(self, codes: Iterable[str]) -> None:
        """Say what this run did not show; each code once."""
        self.not_shown.extend(code for code in codes if code not in self.not_shown)

    @property
    def whole(self) -> bool:
        """Whether nothing was found."""
        return not self.counts

    def first(self) -> Finding | None:
        """Return the first broken place, or None."""
        return min(self.findings, key=Finding.rank, default=None)

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain data."""
        first = self.first()
        return {
            "result": "ok" if self.whole else "broken",
            "origin": self.origin,
            "leaves": self.leaves,
            "entries": self.entries,
            "beats": self.beats,
            "checkpoints": self.checkpoints,
            "signed_size": self.signed,
            "opened": self.opened,
            "acts_checked": self.signatures,
            "evidence_checked": self.evidence,
            "decisions_recomputed": self.decided,
            **({"held_looked_for": self.held} if self.export else {}),
            **({"trust_fingerprint": self.fingerprint} if self.fingerprint else {}),
            **({"continuations": self.continuations} if self.continuations else {}),
            **({"erased": self.erased} if self.erased else {}),
            "first": first.as_json() if first else None,
            "counts": dict(sorted(self.counts.items())),
            "findings": [finding.as_json() for finding in sorted(self.findings, key=Finding.rank)],
            "not_shown": list(self.not_shown),
        }

    def text(self, language: str = "sv") -> str:
        """Return sentences for a person: the result first, then what was looked at, then what was not shown."""
        swedish = language == "sv"
        lines = [self._verdict(swedish), self._exported(swedish) if self.export else self._looked_at(swedish)]
        if self.fingerprint:
            groups = " ".join(self.fingerprint[at : at + 4] for at in range(0, 64, 4))
            lines.append(f"{'Tillitslistans fingeravtryck' if swedish else 'Fingerprint of the trust list'}: {groups}")
        lines += [_continued(one, swedish) for one in self.continuations]
        lines += [_erased(one, swedish) for one in self.erased]
        ordered = sorted(self.findings, key=Finding.rank)
        lines += [f"  - {finding.sentence(language)}" for finding in ordered[1:11]]
        if (rest := sum(self.counts.values()) - 11) > 0:
            lines.append(f"  - och {rest} till; se --json" if swedish else f"  - and {rest} more; see --json")
        if self.not_shown:
            lines.append("Detta visar kontrollen inte:" if swedish else "What this does not show:")
            lines += [f"  - {NOT_SHOWN[code].told(language)}" for code in self.not_shown]
        return "\n".join(lines)

    def _verdict(self, swedish: bool) -> str:
        first = self.first()
        if first is None and self.export:
            return (
                "HEL: varje post i utdraget finns i loggen, och det den säger håller."
                if swedish
                else "WHOLE: every entry of the export is in the log, and what it says holds."
            )
        if first is None:
            return "HEL: inget i spåret har ändrats." if swedish else "WHOLE: nothing in the trail was changed."
        if swedish:
            return f"BRUTEN. Först: {first.sentence('sv')}."
        return f"BROKEN. First: {first.sentence('en')}."

    def _exported(self, swedish: bool) -> str:
        if swedish:
            return (
                f"Granskat: {self.entries} poster, {self.leaves} visade i loggen under en kontrollpunkt som täcker "
                f"{self.signed} löv; {self.opened} öppnade, {self.signatures} samtyckeshandlingar och {self.evidence} "
                f"avsändarbevis prövade, {self.decided} beslut omräknade; {self.held} poster som anslutningen fått "
                f"besked om eftersökta. Logg: {self.origin}."
            )
        return (
            f"Looked at: {self.entries} entries, {self.leaves} shown in the log under a checkpoint that covers "
            f"{self.signed} leaves; {self.opened} opened, {self.signatures} consent acts and {self.evidence} senders' "
            f"evidence checked, {self.decided} decisions computed again; {self.held} entries that the connector was "
            f"told of looked for. Log: {self.origin}."
        )

    def _looked_at(self, swedish: bool) -> str:
        if swedish:
            return (
                f"Granskat: {self.entries} poster i {self.leaves} löv och {self.beats} taktslag, {self.checkpoints} "
                f"kontrollpunkter (den nyaste täcker {self.signed} löv); {self.opened} poster öppnade, "
                f"{self.signatures} samtyckeshandlingar och {self.evidence} avsändarbevis prövade, "
                f"{self.decided} beslut omräknade. Logg: {self.origin}."
            )
        return (
            f"Looked at: {self.entries} entries in {self.leaves} leaves and {self.beats} beats, {self.checkpoints} "
            f"checkpoints (the newest covers {self.signed} leaves); {self.opened} entries opened, "
            f"{self.signatures} consent acts and {self.evidence} senders' evidence checked, {self.decided} decisions "
            f"computed again. Log: {self.origin}."
        )


def _continued(one: dict[str, Any], swedish: bool) -> str:
    """What was lost, in one line that stands in every report, whole or broken."""
    at = datetime.fromtimestamp(one["at_us"] / 1e6, UTC).strftime("%Y-%m-%d %H:%M")
    if swedish:
        return (
            f"FORTSATT EFTER FÖRLUST: {one['from']} lämnades vid storlek {one['old_size']}; kvar är {one['kept_size']} "
            f"löv ({one['lost']} förlorade), vidare som {one['to']}; uppgift av {one['administrator']} {at} UTC."
        )
    return (
        f"CONTINUED AFTER A LOSS: {one['from']} was left at size {one['old_size']}; {one['kept_size']} leaves are kept "
        f"({one['lost']} lost), on as {one['to']}; stated by {one['administrator']} {at} UTC."
    )


def _erased(one: dict[str, Any], swedish: bool) -> str:
    """What is missing and why, in one line that stands in every report, whole or broken."""
    at = datetime.fromtimestamp(one["at_us"] / 1e6, UTC).strftime("%Y-%m-%d %H:%M")
    if swedish:
        ground = codes.words("erasure_ground", one["ground"], "sv") if one.get("ground") else "grund: se handlingen"
        act = f"handling {one['act']}" if one.get("act") else f"handlingen i post {one['act_number']}"
        state = "" if one["finished"] else "; påbörjad, inte klar"
        return f"RADERAT: innehållet i {one['entries']} poster, {at} UTC, {ground}; {act}{state}. Posterna är kvar."
    ground = codes.words("erasure_ground", one["ground"]) if one.get("ground") else "ground: see the act"
    act = f"act {one['act']}" if one.get("act") else f"the act in entry {one['act_number']}"
    state = "" if one["finished"] else "; begun, not finished"
    return f"ERASED: the content of {one['entries']} entries, {at} UTC, {ground}; {act}{state}. The entries stay."
