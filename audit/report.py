"""What a verification found, as plain sentences (Swedish, English) and as JSON.

A check is named by one word; the words are part of the format, and the tests say which check catches which change.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from schemas.identifiers import shown

KEPT = 200
"""Findings kept in full; the rest are counted."""

CHECKS: Mapping[str, tuple[str, str]] = {
    "note": (
        "en kontrollpunkt är inte äkta: dess form, namn eller signatur håller inte",
        "a checkpoint is not genuine: its form, name or signature does not hold",
    ),
    "consistency": (
        "loggen stämmer inte med vad dess egen signerade kontrollpunkt säger",
        "the log is not what its own signed checkpoint says",
    ),
    "truncated": ("loggen är kortare än en signerad kontrollpunkt", "the log is shorter than a signed checkpoint"),
    "remembered": (
        "loggen stämmer inte med den kontrollpunkt som ni har sparat",
        "the log does not agree with the checkpoint that you kept",
    ),
    "unsigned": (
        "flera taktslag i slutet av loggen saknar signerad kontrollpunkt",
        "several beats at the end of the log have no signed checkpoint",
    ),
    "leaf-hash": ("posten har ändrats: dess hash är en annan", "the entry was changed: its hash is another"),
    "leaf-map": (
        "löv och poster svarar inte mot varandra ett till ett",
        "leaves and entries do not answer to each other one to one",
    ),
    "unsealed": (
        "posten saknar löv fast senare taktslag finns",
        "the entry has no leaf although later beats exist",
    ),
    "beat": (
        "löven följer inte av taktslagets frö: ett löv är bytt, flyttat eller ändrat",
        "the leaves do not follow from the beat's seed: one was replaced, moved or changed",
    ),
    "beat-record": (
        "ett taktslag och posten om det stämmer inte överens",
        "a beat and the entry about it do not agree",
    ),
    "tile": ("en hashplatta har ändrats eller saknas", "a tile of hashes was changed or is missing"),
    "root": ("det lagrade huvudets rot eller storlek är fel", "root or size of the stored head is wrong"),
    "columns": (
        "kolumnerna bredvid posten säger något annat än posten",
        "the columns beside the entry say something else than the entry",
    ),
    "schema": ("posten bryter mot sitt formats regler", "the entry breaks the rules of its format"),
    "payload": (
        "det krypterade innehållet är inte det som posten band sig till",
        "the encrypted content is not what the entry committed to",
    ),
    "hole": (
        "något saknas, och ingen radering eller gallring förklarar det",
        "something is missing, and no erasure or disposal explains it",
    ),
    "open": ("innehållet öppnas inte med sin nyckel", "the content does not open with its key"),
    "unit-key": (
        "enhetens nyckel är inte undertecknad av dess myndighet",
        "the unit's key is not signed by its agency",
    ),
    "seat-key": (
        "sätets nyckel är inte styrkt av det intyg som posten bär",
        "the seat's key is not vouched for by the statement that the entry carries",
    ),
    "act-signature": (
        "samtyckeshandlingen är inte undertecknad av sätet",
        "the consent act is not signed by the seat",
    ),
    "evidence": (
        "det visas inte att enheten skickade det som posten säger",
        "it is not shown that the unit sent what the entry says",
    ),
    "ledger": (
        "sätets samtyckesliggare har ett hopp eller går inte att läsa",
        "the seat's consent ledger has a gap or cannot be read",
    ),
    "decision": (
        "beslutet blir ett annat när det räknas om",
        "the decision comes out differently when it is computed again",
    ),
    "release": (
        "något lämnades ut som ett återkallande redan hade stoppat",
        "something was released that a withdrawal had already stopped",
    ),
}

NOT_SHOWN: Mapping[str, tuple[str, str]] = {
    "cosignatures": (
        "Inga andra myndigheters medsignaturer finns ännu: en operatör med loggens nyckel kan visa olika loggar "
        "för olika läsare, och posternas tid är operatörens egen uppgift.",
        "No other agencies' cosignatures exist yet: an operator with the log's key can show different readers "
        "different logs, and the time of an entry is the operator's own word.",
    ),
    "segments": (
        "Årsdelar, radering och gallring finns inte ännu; varje lucka räknas därför som fel.",
        "Yearly segments, erasure and disposal do not exist yet; every hole therefore counts as broken.",
    ),
    "remembered": (
        "Ingen sparad kontrollpunkt angavs: en äldre men i sig hel kopia skulle inte ha märkts.",
        "No remembered checkpoint was given: an older copy, whole in itself, would not have been noticed.",
    ),
    "keys": (
        "Inga nycklar angavs: innehållet är inte läst och besluten är inte omräknade.",
        "No keys were given: the content was not read and no decision was computed again.",
    ),
    "newest-beat": (
        "Det nyaste taktslaget är kontrollerat mot sin lagrade rad; posten om det ligger först i nästa.",
        "The newest beat was checked against its stored row; the entry about it lies in the next one.",
    ),
    "uncovered": (
        "De nyaste löven täcks ännu inte av någon signerad kontrollpunkt.",
        "The newest leaves are not covered by a signed checkpoint yet.",
    ),
    "waiting": (
        "De nyaste posterna väntar på nästa taktslag och är inte i loggen ännu.",
        "The newest entries wait for the next beat and are not in the log yet.",
    ),
    "other-keys": (
        "Poster vars nycklar inte angavs är inte lästa.",
        "Entries whose keys were not given were not read.",
    ),
    "ledger-part": (
        "Beslut vilkas samtyckesliggare inte finns hel bland de öppnade posterna är inte omräknade.",
        "Decisions whose consent ledger is not whole among the opened entries were not computed again.",
    ),
    "units": (
        "Enheternas nycklar angavs inte (--units): att enheten skickade det som beslutades är inte visat.",
        "The units' keys were not given (--units): that the unit sent what was decided is not shown.",
    ),
    "lead": (
        "Den huvudansvarigas nyckel är inte känd: dess intyg om andra säten är inte prövade.",
        "The lead's key is not known: its statements about other seats were not checked.",
    ),
    "seat-key": (
        "För säten som inte har skickat något vilar nyckeln på spåret självt.",
        "For seats that have sent nothing the key rests on the trail itself.",
    ),
    "unsigned-withdrawal": (
        "Ett återkallande av allt som ett annat säte antecknade skriver mäklaren utan underskrift: det kan bara minska "
        "vad som lämnas ut.",
        "A withdrawal of everything that another seat noted is written by the broker unsigned: it can only narrow.",
    ),
    "sender-signature": (
        "Någon händelse bär inte sätets underskrift; mottagaren avvisar en sådan. Enhetens underskrift är prövad.",
        "Some event does not bear the seat's signature; a recipient rejects such a one. The unit's was checked.",
    ),
    "recipient-unit": (
        "För vissa utlämningar avgör mottagarens enhet, som är förseglad; de är inte fullt omräknade.",
        "For some disclosures the recipient's unit decides, and that is sealed; they were not fully computed again.",
    ),
    "rules": (
        "Beslut under en annan regelversion än de medföljande är inte omräknade.",
        "Decisions under other rules than those at hand were not computed again.",
    ),
}


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
        return f"{place}: {CHECKS[self.check][0 if swedish else 1]} [{self.check}]{told}"


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
            "first": first.as_json() if first else None,
            "counts": dict(sorted(self.counts.items())),
            "findings": [finding.as_json() for finding in sorted(self.findings, key=Finding.rank)],
            "not_shown": list(self.not_shown),
        }

    def text(self, language: str = "sv") -> str:
        """Return sentences for a person: the result first, then what was looked at, then what was not shown."""
        swedish = language == "sv"
        lines = [self._verdict(swedish), self._looked_at(swedish)]
        ordered = sorted(self.findings, key=Finding.rank)
        lines += [f"  - {finding.sentence(language)}" for finding in ordered[1:11]]
        if (rest := sum(self.counts.values()) - 11) > 0:
            lines.append(f"  - och {rest} till; se --json" if swedish else f"  - and {rest} more; see --json")
        if self.not_shown:
            lines.append("Detta visar kontrollen inte:" if swedish else "What this does not show:")
            lines += [f"  - {NOT_SHOWN[code][0 if swedish else 1]}" for code in self.not_shown]
        return "\n".join(lines)

    def _verdict(self, swedish: bool) -> str:
        first = self.first()
        if first is None:
            return "HEL: inget i spåret har ändrats." if swedish else "WHOLE: nothing in the trail was changed."
        if swedish:
            return f"BRUTEN. Först: {first.sentence('sv')}."
        return f"BROKEN. First: {first.sentence('en')}."

    def _looked_at(self, swedish: bool) -> str:
        if swedish:
            return (
                f"Granskat: {self.entries} poster i {self.leaves} löv och {self.beats} taktslag, {self.checkpoints} "
                f"kontrollpunkter (den nyaste täcker {self.signed} löv); {self.opened} poster öppnade, "
                f"{self.signatures} samtyckeshandlingar och {self.evidence} avsändarbevis prövade, {self.decided} beslut "
                f"omräknade. Logg: {self.origin}."
            )
        return (
            f"Looked at: {self.entries} entries in {self.leaves} leaves and {self.beats} beats, {self.checkpoints} "
            f"checkpoints (the newest covers {self.signed} leaves); {self.opened} entries opened, "
            f"{self.signatures} consent acts and {self.evidence} senders' evidence checked, {self.decided} decisions "
            f"computed again. Log: {self.origin}."
        )
