"""Being in the programme is itself the secret: no canary is found anywhere but sealed, and in the files of whom it is
for.

What is scanned is bytes as they lie on the disk after everything was killed (write-ahead logs included), all that was
logged, printed, measured and answered, and the name of every file. The same scan finds the same canaries in the
recipients' files: it can see.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.canaries.scan import everything, in_bytes, in_files, in_names, opened, spellings
from tests.canaries.whole import CANARIES, TEXT, UNITS, Whole, play
from tests.seats.test_stolen_store import DIRECTORY, naming

# The reference of the officer who noted a consent stands in the signed act, and the broker keeps acts as they came: it
# is the one free text that the operator can see, with its key. It is looked for everywhere else.
SEEN_BY_THE_OPERATOR = {"officer"}
LEDGER = {"ledger_event.event", "inbox_item.body"}


class Played:
    """What a finished run left behind."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "run"
        self.root.mkdir()
        self.heard: dict[str, str] = {}
        with Whole(self.root) as whole:
            self.whole = whole
            try:
                play(whole, self._listen)
            finally:
                whole.kill_all()

    def _listen(self) -> None:
        for path in ("/metrics", "/readyz", "/livez", "/startupz"):
            self.heard[path] = self.whole.operations(path)

    def folder_of(self, unit: str) -> Path:
        return self.whole.config(unit).parent

    def given(self, unit: str) -> list[Path]:
        """The agency's own folder: inputs as its system dropped them, outputs as it was given them."""
        return everything(self.folder_of(unit) / "folder")

    def opened(self) -> dict[str, list[bytes]]:
        """What the operator can read with its key, where the store is sealed."""
        return opened(self.root / "broker" / "data", self.root / "broker" / "keys" / "root.key")

    def guarded(self) -> list[Path]:
        """Every file but those of the agencies' own folders."""
        own = {path for unit in UNITS for path in self.given(unit)}
        return [path for path in everything(self.root) if path not in own]


@pytest.fixture(scope="module")
def played(tmp_path_factory) -> Played:
    return Played(tmp_path_factory.mktemp("canaries"))


def test_no_canary_outside_seals_and_the_recipients_files(played):
    outside = {name: text for name, text in TEXT.items() if name not in SEEN_BY_THE_OPERATOR}
    assert in_files(played.guarded(), outside, played.root) == []
    columns = played.opened()
    for column, values in columns.items():
        assert [hit for value in values for hit in in_bytes(value, outside, column)] == []
    seen = {name: TEXT[name] for name in SEEN_BY_THE_OPERATOR}
    assert in_files(played.guarded(), seen, played.root) == []  # to the operator, not to who takes its disk
    found = {column for column, values in columns.items() for value in values if in_bytes(value, seen, column)}
    assert "ledger_event.event" in found
    assert found <= LEDGER


def test_the_scan_saw_everything(played):
    """Positive control: the kinds of file are there, and words that may stand in them are found."""
    names = {path.name for path in played.guarded()}
    wanted = {"broker.db", "broker.db-wal", "broker.db-shm", "keys.db", "connector.db", "connector.db-wal", "anchor"}
    assert wanted <= names
    assert {"broker.log", "social.log", "police.log", "probation.log"} <= names
    assert list((played.root / "broker" / "data" / "admissions").glob("*.json"))
    found = in_files(played.guarded(), {"unit": UNITS["police"].code}, played.root)
    assert {"broker/data/broker.db", "broker/data/broker.db-wal"} & {hit.where for hit in found}
    logs = "".join(path.read_text() for path in (played.root / "logs").glob("*.log"))
    assert "HS-BROKER-UNREACHABLE" in logs  # the kill was noticed


def test_the_same_canaries_are_in_the_files_of_whom_they_are_for(played):
    """Positive control: what the recipient's system was given holds them, by the same scan."""
    got = {unit: {hit.canary for hit in in_files(everything(played.folder_of(unit) / "folder" / "out"), TEXT,
                                                 played.root)} for unit in UNITS}  # fmt: skip
    assert got["police"] >= {
        "person", "number", "number with dash", "reference in the invitation", "contact", "facts",
        "phone in the facts", "unit name", "function", "phone",
    }  # fmt: skip
    assert got["social"] >= {"zone", "decision", "institution"}
    assert got["probation"] >= {"person", "number", "contact"}


def test_nobody_elses_canary_is_in_an_agencys_folder(played):
    for unit in UNITS:
        foreign = {name: text for name, (text, whose) in CANARIES.items() if unit not in whose}
        if unit != "social":
            foreign.pop("officer", None)
        assert in_files(played.given(unit), foreign, played.root) == []


def test_no_error_file_repeats_its_input(played):
    errors = list((played.folder_of("social") / "folder" / "in").glob("*.error.json"))
    assert len(errors) == 11
    assert in_files(errors, TEXT, played.root) == []
    refused = [path for path in played.given("social") if path.suffix == ".json" and path not in errors]
    assert in_files(refused, {"refused": TEXT["refused"]}, played.root)  # positive control


def test_no_answer_measure_or_health_page_repeats_anything(played):
    assert len(played.whole.answers) == 9
    for data in played.whole.answers:
        assert data.startswith(b"{")
        assert in_bytes(data, TEXT, "answer") == []
    for path, text in played.heard.items():
        assert in_bytes(text.encode(), TEXT, path) == []
    *printed, searched = played.whole.printed
    for line in printed:
        assert in_bytes(line.encode(), TEXT, "printed") == []
    # What an auditor reads of the trail names officers and auditors, as it must, and no person.
    people = {name: text for name, text in TEXT.items() if name not in {"officer", "auditor", "case number"}}
    assert in_bytes(searched.encode(), people, "audit search") == []
    assert "handslag_" in played.heard["/metrics"]


def test_no_seat_is_tied_to_a_unit_on_the_brokers_disk(played):
    """Of the whole run the disk keeps the directory of units, and not which of them sits where."""
    codes = [unit.code for unit in UNITS.values()]
    data = played.root / "broker" / "data"
    assert naming(data / "broker.db", codes) == DIRECTORY
    named = {hit.where for hit in in_files(everything(data), dict(zip(codes, codes, strict=True)), played.root)}
    allowed = {"broker.db", "broker.db-wal", "keys.db", "keys.db-wal"}  # the directory, and whose keys a row holds
    assert {Path(where).name for where in named if "/admissions/" not in where and "/acts/" not in where} <= allowed


def test_no_measure_names_a_unit_or_a_municipality(played):
    for unit in UNITS.values():
        assert unit.code not in played.heard["/metrics"]


def test_no_name_of_a_file_tells_anything(played):
    assert in_names(everything(played.root), TEXT, played.root) == []
    assert len({path.name for path in played.given("police")}) > 10


def test_only_the_fixed_paths_were_asked_for(played):
    """The gateway counts calls by their place in its table; these counts began after this test's own odd requests."""
    counted = re.findall(r'handslag_call_duration_seconds_count\{call="(\w+)"\} (\S+)', played.heard["/metrics"])
    calls = {name for name, number in counted if float(number)}
    assert {"submit", "fetch", "ack", "consents", "units"} <= calls
    assert "unknown" not in calls
    assert "unknown" in dict(counted)  # positive control: it would be counted


@pytest.mark.parametrize("spelling", [name for name, _ in spellings("Ärla Exempelfors")])
def test_the_scan_finds_every_spelling(spelling, tmp_path):
    text = "Ärla Exempelfors"
    wanted = dict(spellings(text))[spelling]
    assert len(wanted) >= 6
    (tmp_path / "file").write_bytes(b"\x00\x01" + wanted + b"\xff")
    assert spelling in {hit.spelling for hit in in_files(everything(tmp_path), {"one": text}, tmp_path)}
    (tmp_path / "file").write_bytes(b"nothing of the kind")
    assert in_files(everything(tmp_path), {"one": text}, tmp_path) == []
