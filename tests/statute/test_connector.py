"""The connector's side: who may decide, what is refused before anything leaves, and no way in from consent."""

from __future__ import annotations

import ast
import json
from dataclasses import replace
from pathlib import Path

import click
import pytest

from connectors import approving, commands, deciders, executor, ledgers, sending, statute, statute_book, statute_cli
from connectors.enrolment import load_agency_key
from connectors.fields import moment
from connectors.keys import UnitKeyPair
from connectors.statute import Decision
from consent import provisions
from schemas.errors import HandslagError
from schemas.identifiers import shown
from schemas.statute import StatutoryDisclosure
from tests.agency.test_flows import SEND
from tests.house.tree import ROOT, files, text

PROVISION = "OSL-10-20"
THREAT = {"threat": {"statements": [{"kind": "FACT", "as_of": "2026-11-23", "text": "hot i natt"}]}}
GIVEN = Decision(
    ref="EX-1",
    role="police_coordination",
    purpose="PROTECTION",
    provision=PROVISION,
    data=THREAT,
    secrecy=("OSL_26_1",),
    exclusions=("ROUTINE",),
    released=(),
    necessity="omedelbar fara för barnet",
    age="UNDER_18",
    call_back="010-0000000",
)


def approve(world, *, acute: bool = True, keys: UnitKeyPair | None = None, until: str = "2036-01-01T00:00:00Z") -> None:
    """As `take` leaves it, without a broker to record it at."""
    agency = keys or load_agency_key(world.config.parent / "keys" / "agency.key")
    at_us = world.ctx.now()
    value = approving.signed("EXsoc", agency, PROVISION, "jurist-1", at_us, moment(until, "until"), acute=acute)
    kept = {PROVISION: {"approval": value["approval"], "signature": value["signature"]}}
    world.ctx.spool.memory.put("approvals", json.dumps(kept).encode())


def refused(call) -> tuple[str, dict]:
    with pytest.raises(HandslagError) as error:
        call()
    return error.value.code, error.value.context


def test_nobody_decides_without_a_key_of_their_own(world, tmp_path):
    keys_dir, ctx = world.ctx.settings.keys_dir, world.ctx
    deciders.name_decider(keys_dir, "handl-7", tmp_path / "7.key", "en mening", ctx.random)
    deciders.name_decider(keys_dir, "handl-9", tmp_path / "9.key", "en annan", ctx.random)
    assert deciders.unlocked(keys_dir, "handl-7", tmp_path / "7.key", "en mening").public.signing
    for name, file, phrase in (
        ("handl-7", "7.key", "fel"),
        ("handl-7", "9.key", "en annan"),
        ("handl-8", "7.key", "en mening"),
        ("handl-7", "none.key", "en mening"),
    ):
        assert refused(lambda n=name, f=file, p=phrase: deciders.unlocked(keys_dir, n, tmp_path / f, p))[0] == (
            "HS-DECIDER-UNKNOWN"
        )
    deciders.unname(keys_dir, "handl-7")
    assert refused(lambda: deciders.unlocked(keys_dir, "handl-7", tmp_path / "7.key", "en mening"))[0] == (
        "HS-DECIDER-UNKNOWN"
    )
    assert refused(lambda: deciders.name_decider(keys_dir, "handl-9", tmp_path / "x", "p", ctx.random))[0] == (
        "HS-NAME-TAKEN"
    )


def test_nothing_that_comes_with_the_product_is_approved(world):
    assert not any(row["approved"] for row in approving.standing(world.ctx))
    assert refused(lambda: statute.decide(world.ctx, GIVEN, "handl-7", UnitKeyPair.generate()))[0] == (
        "HS-PROVISION-UNREVIEWED"
    )
    approve(world)
    assert [row["provision"] for row in approving.standing(world.ctx) if row["approved"]] == [PROVISION]
    approve(world, until="2026-01-01T00:00:00Z")
    assert not any(row["approved"] for row in approving.standing(world.ctx))
    assert refused(lambda: statute.decide(world.ctx, GIVEN, "handl-7", UnitKeyPair.generate()))[0] == (
        "HS-PROVISION-UNREVIEWED"
    )


async def test_an_approval_that_the_agency_did_not_sign_is_not_taken(world, tmp_path):
    until = moment("2036-01-01T00:00:00Z", "until")
    own = load_agency_key(world.config.parent / "keys" / "agency.key")
    for agency, keys in (("EXsoc", UnitKeyPair.generate()), ("EXpol", own)):
        file = tmp_path / "approval.json"
        value = approving.signed(agency, keys, PROVISION, "jurist-1", world.ctx.now(), until, acute=False)
        file.write_text(json.dumps(value), encoding="utf-8")
        with pytest.raises(HandslagError) as error:
            await approving.take(world.ctx, file)
        assert error.value.code == "HS-APPROVAL-INVALID"
    file.write_text("{}", encoding="utf-8")
    with pytest.raises(HandslagError) as error:
        await approving.take(world.ctx, file)
    assert error.value.context == {"field": "file"}
    night = refused(lambda: approving.signed("EXsoc", own, "OSL-26-9", "jurist-1", 0, until, acute=True))
    assert night[0] == "HS-STATUTE-ACUTE"  # a provision that the list does not name for the night


def test_a_decision_waits_here_and_nothing_leaves(world):
    approve(world)
    made = statute.decide(world.ctx, GIVEN, "handl-7", UnitKeyPair.generate())
    value = statute_book.one(world.ctx, made)
    assert value["state"] == statute_book.WAITS
    told = StatutoryDisclosure.from_bytes(bytes.fromhex(value["statement"]))
    assert (told.decider_ref, told.role, told.categories, told.acute) == (
        "handl-7", "police_coordination", ("IC04",), False,
    )  # fmt: skip
    assert GIVEN.necessity.encode() not in bytes.fromhex(value["statement"])  # its commitment alone
    assert GIVEN.necessity.encode() not in (world.config.parent / "data" / "connector.db").read_bytes()
    assert value["data"]["threat"]["provision"] == PROVISION
    assert world.ctx.spool.memory.calls("/v1/disclosures:statutory") == []
    assert sending.seal_due(world.ctx) == 0
    assert sending.review_waiting(world.ctx) == 0
    assert statute_book.one(world.ctx, made) == value


async def test_the_decider_cannot_confirm_and_a_no_destroys(world):
    approve(world)
    keys, other = UnitKeyPair.generate(), UnitKeyPair.generate()
    made = statute.decide(world.ctx, GIVEN, "handl-7", keys)
    for officer, own in (("handl-7", other), ("handl-9", keys)):
        with pytest.raises(HandslagError) as error:
            await statute.confirm(world.ctx, made, officer, own, "CONFIRMED")
        assert error.value.code == "HS-STATUTE-SECOND"
    with pytest.raises(HandslagError) as error:
        await statute.send(world.ctx, made, None)
    assert error.value.code == "HS-STATUTE-SECOND"
    assert await statute.confirm(world.ctx, made, "handl-9", other, "NOT_CONFIRMED") is None
    value = statute_book.one(world.ctx, made)
    assert value["state"] == statute_book.REFUSED
    assert not {"sealed", "data", "request"} & value.keys()
    with pytest.raises(HandslagError) as error:
        await statute.confirm(world.ctx, made, "handl-9", other, "CONFIRMED")
    assert error.value.code == "HS-STATUTE-OVER"


def test_what_nobody_confirmed_in_a_day_is_over(world):
    approve(world)
    made = statute.decide(world.ctx, GIVEN, "handl-7", UnitKeyPair.generate())
    later = world.ctx.now() + statute_book.LIFE_US + 1
    world.ctx.now = lambda: later
    assert statute_book.one(world.ctx, made)["state"] == statute_book.REFUSED
    assert "sealed" not in statute_book.one(world.ctx, made)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"age": None}, None),  # waits for a human: an outcome, not an error; the second person sees it
        ({"provision": "OSL-99"}, "HS-PROVISION-UNKNOWN"),
        ({"secrecy": ()}, "HS-STATUTE-INCOMPLETE"),
        ({"necessity": "  "}, "HS-STATUTE-INCOMPLETE"),
        ({"role": "nobody"}, "HS-CODE-UNKNOWN"),
        ({"purpose": "WHATEVER"}, "HS-CODE-UNKNOWN"),
        ({"data": {"threat": {"statements": []}}}, "HS-INPUT-INVALID"),
        ({"data": {"housing": THREAT["threat"]}}, "HS-PAYLOAD-REJECTED"),  # no field for a place
        ({"data": {"threat": {**THREAT["threat"], "provision": "OSL-10-27"}}}, "HS-INPUT-INVALID"),
        ({"acute": True, "call_back": None}, "HS-STATUTE-ACUTE"),
        ({"acute": True, "data": {"programme": THREAT["threat"]}}, "HS-STATUTE-ACUTE"),
        ({"acute": True}, None),
    ],
)
def test_what_is_not_whole_is_refused_before_anything_is_kept(world, change, code):
    approve(world)
    given = replace(GIVEN, **change)
    if code is None:
        assert statute.decide(world.ctx, given, "handl-7", UnitKeyPair.generate())
        return
    assert refused(lambda: statute.decide(world.ctx, given, "handl-7", UnitKeyPair.generate()))[0] == code
    assert statute_book.book(world.ctx) == {}


def test_it_is_never_made_from_what_consent_withheld(world):
    """An event that waits for consent cannot be named; somebody else's request can."""
    approve(world)
    own = executor.submit(world.ctx, commands.read(json.dumps(SEND).encode()))
    assert ledgers.released(world.ctx, world.seat, world.ctx.spool.outgoing.get(own).event, GIVEN.role) == frozenset()
    given = replace(GIVEN, in_reply_to=shown(own))
    assert refused(lambda: statute.decide(world.ctx, given, "handl-7", UnitKeyPair.generate()))[0] == (
        "HS-STATUTE-FALLBACK"
    )
    theirs = replace(GIVEN, in_reply_to=shown(b"r" * 16))
    assert statute.decide(world.ctx, theirs, "handl-7", UnitKeyPair.generate())


def imports(file: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(text(file))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    return found


def test_no_code_of_consent_reaches_the_statutory_way():
    """Who imports it: its own commands and nothing that sends, waits, retries, reads folders or runs by itself."""
    deciding = {"connectors.statute", "connectors.deciders", "connectors.approving"}
    users = {file for file in files() if file.startswith("connectors/") and imports(file) & deciding}
    assert users == {"connectors/statute.py", "connectors/statute_cli.py", "connectors/keeping.py"}
    assert imports("connectors/keeping.py") & deciding == {"connectors.deciders"}  # the file, for the backup
    examining = {"consent.statute", "broker.statute"}
    users = {file for file in files() if imports(file) & examining}
    assert users == {
        "audit/verify_statute.py", "broker/acute.py", "broker/core.py", "broker/narrowing.py", "broker/statute.py",
        "connectors/statute.py",
    }  # fmt: skip
    taking_back = {name for name in imports("broker/narrowing.py") if name.startswith("consent.statute")}
    assert taking_back == {"consent.statute", "consent.statute.forbidden"}  # what is open may end, nothing begins
    assert "consent.decide" not in imports("consent/statute.py") | imports("broker/statute.py")
    assert not {name for name in imports("connectors/statute.py") if "ledger" in name.lower()} - {"connectors.ledgers"}


def test_there_is_no_command_of_the_folder_and_none_for_two_at_once():
    """A file dropped into the folder cannot disclose by statute, and no option takes a second case or role."""
    for word in ("disclose_by_statute", "statute", "statutory_disclosure", "acute"):
        with pytest.raises(HandslagError):
            commands.read(json.dumps({"do": word, "id": "1", "ref": "EX-1"}).encode())
    for name in ("decide", "acute"):
        command = statute_cli.statutory.get_command(click.Context(statute_cli.statutory), name)
        options = {each.name: each for each in command.params}
        assert not options["ref"].multiple
        assert not options["role"].multiple
        assert all(options[each].required for each in ("ref", "role", "provision", "data", "necessity", "officer"))
        assert not [
            each for each in options if "event" in each or "consent_id" in each or each in {"all", "every", "folder"}
        ]
    assert {"ref", "role"} < set(Decision.__dataclass_fields__)


def test_the_list_names_no_reviewer_anywhere():
    for path in Path(ROOT / "consent" / "provisions").glob("*.toml"):
        assert "reviewed" not in path.read_text(encoding="utf-8")
    assert provisions.shipped().provisions


@pytest.mark.parametrize("made", ["absent", "folder", "bytes"])
def test_a_passphrase_file_that_cannot_be_read_is_named(tmp_path, made):
    file = tmp_path / "phrase"
    if made == "folder":
        file.mkdir()
    elif made == "bytes":
        file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(HandslagError) as error:
        statute_cli._spoken(file)
    assert (error.value.code, error.value.context) == ("HS-INPUT-INVALID", {"field": "passphrase-file"})
