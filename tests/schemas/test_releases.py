"""What was released stays readable: today's schemas against every release, in data and between two real programs."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from schemas import catalogue, codec, releases
from schemas.catalogue import project_form
from schemas.errors import HandslagError, PayloadRejected
from schemas.inbox import Notice
from tests.schemas.oracles import samples

ROOT = Path(catalogue.__file__).parents[1]


def older(release="0.1.0"):
    """Schemas of a release that are not today's any more."""
    today = {project_form(entry.source) for entry in catalogue.loaded().values()}
    return {name: form for name, form in catalogue.released()[release].items() if project_form(form) not in today}


def test_todays_contract_reads_every_release_and_is_read_by_it():
    assert releases.compared() == ()
    assert releases.main(["check"]) == 0
    assert len(catalogue.released()["0.1.0"]) == 65


def test_the_check_sees_a_broken_contract():
    """Positive control: one field of today in another category, one released schema away."""
    today = {name: json.loads(json.dumps(entry.source)) for name, entry in catalogue.loaded().items()}
    today["handslag.event.SupportRequested"]["fields"][0]["category"] = "IC01"
    del today["handslag.api.FetchRequest"]
    found = [(one, str(broken.rule), broken.where) for one, _today, broken in releases.compared(today)]
    assert ("0.1.0", "category", "SupportRequested.channel") in found
    assert ("0.1.0", "gone", "handslag.api.FetchRequest") in found


def test_a_release_is_written_once_and_only_when_it_is_compatible(tmp_path, capsys):
    assert releases.main(["freeze", "9.9.9"], tmp_path) == 0
    written = (tmp_path / "9.9.9.jsonl").read_text("utf-8")
    assert written == releases.frozen()
    assert len(written.splitlines()) == len(catalogue.loaded())
    assert releases.main(["freeze", "9.9.9"], tmp_path) == 2
    assert "written once" in capsys.readouterr().err
    for words in (["freeze", "../9"], ["freeze"], []):
        assert releases.main(words, tmp_path) == 2


def test_what_a_released_version_wrote_is_read_today():
    """A notice as 0.1.0 wrote it: the field it did not know is null, all others are what they were."""
    form = older()["handslag.inbox.Notice"]
    body = catalogue.version_of("handslag.inbox.Notice", hashlib.sha256(project_form(form)).digest())
    value = samples(form)[1]
    data = body.header + codec.encode_body(body.parsed, value)
    read = Notice.from_bytes(data)
    assert read.attempt is None
    assert read.to_dict() == {**value, "attempt": None, "member": None}
    assert codec.name_of(data) == "handslag.inbox.Notice"
    with pytest.raises(PayloadRejected):
        Notice.from_bytes(data + b"\0")
    with pytest.raises(HandslagError, match="HS-SCHEMA-UNKNOWN"):
        codec.decode("handslag.inbox.Receipt", data)
    with pytest.raises(HandslagError, match="HS-SCHEMA-UNKNOWN"):  # a version that nobody released
        Notice.from_bytes(data[:5] + bytes([data[5] ^ 1]) + data[6:])


SEND = """
import sys
from pathlib import Path
from tests.seals.forge import forge
Path(sys.argv[1]).write_bytes(forge().to_bytes())
"""
OPEN = """
import json, sys
from pathlib import Path
from schemas.envelope import Delivery
from schemas.errors import HandslagError
from tests.seals.forge import open_forged
try:
    opened = open_forged(Delivery.from_bytes(Path(sys.argv[1]).read_bytes(), 1 << 20), expired=None)
    print(json.dumps({name: str(value) for name, value in opened.merged.items()}))
except HandslagError as error:
    print(error.code)
"""


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """Today's program, and one whose `support_requested` knows a nullable field less."""
    today, past = tmp_path_factory.mktemp("today"), tmp_path_factory.mktemp("past")
    for tree in (today, past):
        for room in ("schemas", "connectors", "consent", "audit", "tests/seals"):
            shutil.copytree(ROOT / room, tree / room, ignore=shutil.ignore_patterns("__pycache__"))
    path = past / "schemas/avro/event/support_requested.avsc"
    source = json.loads(path.read_text("utf-8"))
    source["fields"] = [field for field in source["fields"] if field["name"] != "language"]
    fields = (past / "tests/seals/world.py").read_text("utf-8")
    (past / "tests/seals/world.py").write_text(fields.replace('    "language": "sv",\n', ""), "utf-8")
    path.write_text(json.dumps(source), "utf-8")
    for release in (past / "schemas/released").glob("*.jsonl"):
        release.unlink()  # its future
    return today, past, source


def ran(tree, program, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], cwd=tree, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_a_section_of_a_released_version_opens_as_todays(programs, tmp_path):
    """Two agencies, two years: the older one seals, the newer one opens, once the older version is a release."""
    today, past, source = programs
    ran(past, SEND, tmp_path / "delivery")
    assert ran(today, OPEN, tmp_path / "delivery") == "HS-SCHEMA-UNKNOWN"  # positive control: never released
    (today / "schemas/released/0.0.9.jsonl").write_bytes(project_form(source) + b"\n")
    opened = json.loads(ran(today, OPEN, tmp_path / "delivery"))
    assert opened["preferred_contact"] == "kort mobil, kvällar"
    assert opened["channel"] == "KV"
    ran(today, SEND, tmp_path / "newer")
    assert json.loads(ran(today, OPEN, tmp_path / "newer"))["channel"] == "KV"
    # What an older connector does with a version that it never saw is no guess: it refuses, and the sender is told.
    assert ran(past, OPEN, tmp_path / "newer") == "HS-SCHEMA-UNKNOWN"
    # Given the newer version as data, it reads it, and leaves out the one field it has no name for.
    shutil.copy(ROOT / "schemas/released/0.1.0.jsonl", past / "schemas/released")
    read = json.loads(ran(past, OPEN, tmp_path / "newer"))
    assert read["channel"] == "KV"
    assert "language" not in read
