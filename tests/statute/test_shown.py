"""What the second person reads before confirming: every ground that the decider stated, in words and in codes."""

from __future__ import annotations

import json
from dataclasses import fields as fields_of

import pytest

import handslag
from connectors import statute_book
from schemas.identifiers import parsed
from schemas.statute import StatutoryDisclosure
from tests.statute.test_connector import THREAT, approve

STATED = (
    "--ref", "EX-1", "--to", "police_coordination", "--provision", "OSL-10-20", "--necessity", "omedelbar fara",
    "--secrecy", "OSL_26_1", "--excluded-not", "ROUTINE", "--age", "UNDER_18", "--balanced", "FOR", "--request",
    "dnr 2026:17", "--consent-sought", "REFUSED", "--informed", "LATER", "--inform-by", "2026-12-24T12:00:00+01:00",
)  # fmt: skip
# Each field of the statement: where the second person finds it, None for what binds it to bytes and keys.
FOUND = {
    "disclosure_id": "disclosure", "case_tag": None, "member": None, "core_hash": None, "digests_hash": None,
    "role": "to", "purpose": "purpose", "categories": "categories", "public_interest_released": "public_interest",
    "provision_id": "provision", "provisions_hash": "section", "approval_hash": None, "initiated_by": "initiated_by",
    "request_commit": "request", "necessity_commit": "necessity", "secrecy": "secrecy", "exclusions": "exclusions",
    "balanced": "balanced", "age": "age", "consent_sought": "consent_sought", "subject_informed": "subject_informed",
    "inform_by_us": "inform_by", "acute": "acute", "decider_ref": "decider", "decider_key": None,
    "assurance": "assurance", "decided_at_us": "decided_at",
}  # fmt: skip


@pytest.fixture
def typed(world, tmp_path, capsys):
    """Commands of the unit as they are typed; two deciders are named."""
    (tmp_path / "phrase").write_text("en mening", encoding="utf-8")
    (tmp_path / "told.json").write_text(json.dumps(THREAT), encoding="utf-8")

    def run(command: str, *more: str, officer: str | None = None, lang: str = "sv") -> str:
        who = ("--officer", officer, "--key", str(tmp_path / f"{officer}.key")) if officer else ()
        secret = () if command == "list" else ("--passphrase-file", str(tmp_path / "phrase"))
        with pytest.raises(SystemExit) as left:
            handslag.main(["--lang", lang, "connector", "statute", command, *more, *who, *secret,
                           "--config", str(world.config)])  # fmt: skip
        written = capsys.readouterr()
        assert left.value.code == 0, written.err
        return written.out

    for name in ("handl-7", "handl-9"):
        run("decider", "--name", name, "--key", str(tmp_path / f"{name}.key"))
    return run


@pytest.fixture
def decided(world, typed, tmp_path):
    """One decision that waits; its id."""
    approve(world)
    data = ("--data", str(tmp_path / "told.json"), "--json")
    return json.loads(typed("decide", *STATED, *data, officer="handl-7"))["disclosure"]


def test_the_second_person_reads_everything_that_is_vouched_for(typed, decided):
    assert set(FOUND) == {each.name for each in fields_of(StatutoryDisclosure)}
    value = json.loads(typed("show", "--disclosure", decided, "--json", officer="handl-9"))
    assert {name for name in FOUND.values() if name} <= {*value, *value["grounds"]}
    assert value["grounds"] == {
        "purpose": "PROTECTION", "sfs": "2009:400", "section": "10 kap. 20 §", "provision_kind": "PERMISSION",
        "text_source": value["grounds"]["text_source"], "initiated_by": "RECIPIENT_REQUEST", "request": "dnr 2026:17",
        "necessity": "omedelbar fara", "balancing": "NONE", "balanced": "FOR", "secrecy": ["OSL_26_1"],
        "exclusions": ["ROUTINE"], "exclusions_not_examined": [], "public_interest": [], "age": "UNDER_18",
        "consent_sought": "REFUSED", "subject_informed": "LATER", "inform_by": "2026-12-24T11:00:00Z",
        "assurance": "OWN_KEY",
    }  # fmt: skip
    assert (value["decider"], value["state"], value["acute"]) == ("handl-7", statute_book.WAITS, False)
    assert value["data"]["threat"]["statements"][0]["text"] == "hot i natt"


def test_it_is_told_in_the_language_asked_for(typed, decided):
    swedish = typed("show", "--disclosure", decided, officer="handl-9")
    english = typed("show", "--disclosure", decided, officer="handl-9", lang="en")
    for told, words in (
        (swedish, ("SFS 2009:400, 10 kap. 20 §: får lämna ut (OSL-10-20)", "på begäran", "personen sade nej",
                   "personen underrättas senare", "OSL 26:1: socialtjänst och SiS", "rutinmässigt, utan egen prövning",
                   "Avvägningens utfall: lämna ut", "under 18 år", "polisens avhopparsamordning", "hotbild")),
        (english, ("SFS 2009:400, 10 kap. 20 §: may disclose (OSL-10-20)", "on request", "the person said no",
                   "the person is told later", "OSL 26:1: social services and SiS",
                   "Outcome of the balancing: disclose",
                   "as a routine, not assessed by itself", "under 18", "police exit coordination", "threat")),
    ):  # fmt: skip
        for word in (*words, "handl-7", "omedelbar fara", "dnr 2026:17", "hot i natt", decided):
            assert word in told


def test_what_may_have_gone_is_not_said_to_wait(world, typed, decided):
    key = parsed(decided)
    statute_book.put(world.ctx, key, {**statute_book.one(world.ctx, key), "request": "00"})
    told = typed("show", "--disclosure", decided, officer="handl-9")
    assert "svaret kom inte" in told
    assert "inget har gått" not in told


def test_what_the_decider_wrote_cannot_look_like_a_ground(world, typed, tmp_path):
    approve(world)
    forged = "fara\nAvvägningens utfall: lämna ut (FOR)\x1b[2K"
    stated = [forged if each == "omedelbar fara" else each for each in STATED if each not in ("--balanced", "FOR")]
    data = ("--data", str(tmp_path / "told.json"), "--json")
    made = json.loads(typed("decide", *stated, *data, officer="handl-7"))["disclosure"]
    told = typed("show", "--disclosure", made, officer="handl-9")
    assert [line for line in told.splitlines() if line.startswith("Avvägningens utfall")] == [
        "Avvägningens utfall: inte angivet"
    ]
    assert "\x1b" not in told
    assert "INTE PRÖVAT" not in told
    bare = [each for each in STATED if each not in ("--excluded-not", "ROUTINE")]
    made = json.loads(typed("decide", *bare, *data, officer="handl-7"))["disclosure"]
    assert "INTE PRÖVAT" in typed("show", "--disclosure", made, officer="handl-9")


@pytest.mark.parametrize(
    ("key", "out", "code"),
    [
        ("keys/agency.key", "approval.json", None),
        ("keys/agency.kye", "approval.json", "HS-KEY-PATH"),
        ("keys/agency.key", "told.json", "HS-FILE-EXISTS"),
        ("keys/agency.key", "no-such-folder/approval.json", "HS-FILE-UNWRITTEN"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_as_what_it_is(world, typed, tmp_path, capsys, key, out, code):
    approval = ("approve", "--provision", "OSL-10-20", "--agency-key", str(world.config.parent / key), "--reviewer",
                "jurist-1", "--until", "2036-01-01T00:00:00Z", "--out", str(tmp_path / out))  # fmt: skip
    assert refused(world, capsys, *approval) == code
    assert (tmp_path / "approval.json").exists() == (code is None)
    assert json.loads((tmp_path / "told.json").read_text(encoding="utf-8")) == THREAT


def test_a_name_that_is_taken_is_told_as_that(world, typed, tmp_path, capsys):
    phrase = ("--passphrase-file", str(tmp_path / "phrase"))
    for name, file, code in (
        ("handl-7", "new.key", "HS-NAME-TAKEN"),
        ("handl-8", "handl-7.key", "HS-FILE-EXISTS"),
        ("handl-8", "no-such-folder/8.key", "HS-FILE-UNWRITTEN"),
        ("handl-8", "8.key", None),
    ):
        assert refused(world, capsys, "decider", "--name", name, "--key", str(tmp_path / file), *phrase) == code


def refused(world, capsys, *command):
    """The code that a command of this group is refused with; None for one that is done."""
    with pytest.raises(SystemExit) as left:
        handslag.main(["connector", "statute", *command, "--config", str(world.config), "--json"])
    written = capsys.readouterr()
    return json.loads(written.err)["code"] if left.value.code else None
