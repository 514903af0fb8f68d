"""The copy on real files: noted first, signed, examined offline, a page that tells the finder nothing."""

import json
import re
import stat
import tomllib
from dataclasses import replace
from html.parser import HTMLParser
from importlib import resources

import pytest

import handslag
from connectors import person_copies
from connectors.person_copies import Handing, hand_out
from consent import person_page
from schemas import codes
from schemas.errors import HandslagError
from tests.agency.conftest import DAY_US

CONSENT = bytes([1]) * 16
HANDED = Handing("HANDED_OVER_IN_PERSON", 0, "sv", True, None, "handl-7")
CATEGORIES = ("IC01", "IC04", "IC12")


@pytest.fixture
def given(world):
    """The world's unit holds one consent of its own, number 1."""
    world.ctx.spool.memory.add_ledger(world.seat.sid, [world.act("GRANT", CATEGORIES)])
    return world


def made(world, tmp_path, name="copy", **changes):
    told = hand_out(world.ctx, world.seat, CONSENT, HANDED._replace(**changes), tmp_path / f"{name}.json")
    return told, tmp_path / f"{name}.json", (tmp_path / f"{name}.html").read_text(encoding="utf-8")


def refused(act):
    with pytest.raises(HandslagError) as told:
        act()
    return told.value.code, told.value.context.get("field")


def test_a_copy_is_examined_offline_by_the_agencys_word(given, tmp_path, capsys):
    told, file, _page = made(given, tmp_path)
    record = person_copies.verified(file.read_bytes(), given.ctx.trusted)
    assert record["record_id"] == told["record_id"]
    assert record["pii_processing"]["purposes"] == ["THREAT_ASSESSMENT"]
    assert [each["pii_type"] for each in record["pii_processing"]["pii_information"]] == list(CATEGORIES)
    assert record["pii_processing"]["lawful_basis"] == "NOT_CONSENT"
    assert record["pii_principal_id"] == "EX-1"
    assert (record["events"][0]["event_type"], record["state"]["event_state"]) == ("GRANT", "given")
    trusted = ["--trust", given.ctx.settings.trust_file, "--fingerprint", given.ctx.settings.trust_fingerprint]
    for options in (["--config", given.config], trusted):
        with pytest.raises(SystemExit) as left:
            handslag.main(["consent", "record-verify", str(file), "--json", *map(str, options)])
        assert left.value.code == 0
        assert json.loads(capsys.readouterr().out)["event_state"] == "given"


def examined(data, trusted):
    try:
        return person_copies.verified(data, trusted)
    except HandslagError as error:
        return error.code


def test_a_copy_with_one_changed_sign_is_refused(given, tmp_path):
    _told, file, _page = made(given, tmp_path)
    whole, trusted = file.read_bytes(), given.ctx.trusted
    changed = {
        b'"given"': b'"takeN"', b"IC12": b"IC11", b"EX-1": b"EX-2", b'"NOT_CONSENT"': b'"CONSENT"',
        b"SOC/EXEMPEL/KONSULT": b"SOC/EXEMPEL/ANNAN", b'"blocks_in_force": 0': b'"blocks_in_force": 0.0',
    }  # fmt: skip
    for old, new in changed.items():
        assert old in whole
        code, _field = refused(lambda old=old, new=new: person_copies.verified(whole.replace(old, new, 1), trusted))
        assert code == "HS-RECORD-INVALID"
    for place in range(0, len(whole) - 1, 97):
        spoilt = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
        # What is let through is a sign between the words, or of the sentence that says what was signed.
        assert examined(spoilt, trusted) in ("HS-RECORD-INVALID", json.loads(whole)["record"])


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (b"{}", "shape"),
        (b"[]", "shape"),
        (b"\xff", "shape"),
        (b'{"record": {"a": NaN}, "proof": {}}', "number"),
        (b'{"record": 1, "record": 2}', "doubled name"),
        (b"[" * 100_000, "shape"),
        (b" " * (person_copies.LARGEST + 1), "size"),
    ],
)
def test_what_is_no_copy_is_refused_and_named(world, text, field):
    assert refused(lambda: person_copies.verified(text, world.ctx.trusted)) == ("HS-RECORD-INVALID", field)


def test_another_unit_cannot_sign_in_its_place(given, tmp_path):
    _told, file, _page = made(given, tmp_path)
    value = json.loads(file.read_bytes())
    record = value["record"]
    record["state"]["event_state"] = "withdrawn"
    # Signed by whoever else: the entry says whose key counts, and the agency signed the entry.
    value["proof"]["signature"] = given.police.sign(person_copies.LABEL + person_copies.canonical(record)).hex()
    forged = json.dumps(value).encode()
    assert refused(lambda: person_copies.verified(forged, given.ctx.trusted)) == ("HS-RECORD-INVALID", "signature")


def test_a_delivery_is_noted_before_a_byte_of_it_is_written(given, tmp_path):
    readings = given.ctx.spool.memory.readings
    before = len(readings())
    (tmp_path / "copy.json").write_text("already there")
    assert refused(lambda: made(given, tmp_path)) == ("HS-FILE-EXISTS", None)
    assert (tmp_path / "copy.json").read_text() == "already there"
    assert not (tmp_path / "copy.html").exists()
    assert refused(lambda: made(given, tmp_path, "no-such-folder/copy")) == ("HS-FILE-UNWRITTEN", None)
    [(_at, note), _other] = readings()[before:]
    assert (note["what"], note["delivery"], note["given_to"], note["actor"]) == (
        "consent record delivery", "HANDED_OVER_IN_PERSON", 0, "handl-7",
    )  # fmt: skip
    assert refused(lambda: made(given, tmp_path, "other", given_to=1)) == ("HS-RECORD-RECIPIENT", None)
    assert len(readings()) == before + 2
    assert not (tmp_path / "other.json").exists()


def test_what_is_written_is_the_owners_alone(given, tmp_path):
    told, _file, _page = made(given, tmp_path)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("copy.json", "copy.html")] == [0o600, 0o600]
    assert told["files"] == [str(tmp_path / "copy.json"), str(tmp_path / "copy.html")]


def test_what_is_only_read_aloud_is_written_nowhere(given, tmp_path):
    before = set(tmp_path.rglob("*"))
    told = hand_out(given.ctx, given.seat, CONSENT, HANDED._replace(delivery="READ_ALOUD_ONLY"), None)
    after = {path for path in tmp_path.rglob("*") if "connector.db" not in path.name}
    assert (told["files"], after <= before) == ([], True)
    assert "Du kan ta tillbaka det när du vill" in told["read_aloud"]
    assert any("hot mot dig" in line for line in told["read_aloud"])


class Reader(HTMLParser):
    """Tags with their attributes, and the words of the cover and of the title apart."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.outside, self.title, self._in = [], "", "", []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta"}:
            self._in.append((tag, dict(attrs).get("class")))

    def handle_endtag(self, tag):
        while self._in and self._in.pop()[0] != tag:
            pass

    def handle_data(self, data):
        if ("section", "cover") in self._in:
            self.outside += data
        if ("title", None) in self._in:
            self.title += data


@pytest.mark.parametrize("language", person_page.LANGUAGES)
def test_the_outside_tells_nothing(given, tmp_path, language):
    _told, _file, page = made(given, tmp_path, language=language)
    read = Reader(page)
    own = given.ctx.settings
    telling = (own.unit, own.agency, own.controller, "EX-1", "SOC", "olis", "ocial", "samtycke", "onsent", "stöd")
    assert read.outside.strip()
    polite = read.outside.replace("lämna den till polisen", "").replace("hand it to the police", "")
    assert [word for word in telling if word in polite + read.title] == []
    assert read.title in {"Handling", "Document"}
    words = re.sub(r"<[^>]+>", " ", page).lower()
    # Not on the inside either: nowhere is said what the support is for.
    assert [
        word for word in ("avhopp", "gäng", "kriminell", "exit", "defect", "gang", "programme") if word in words
    ] == []


def test_the_page_fetches_nothing_and_says_its_language(given, tmp_path):
    _told, _file, page = made(given, tmp_path)
    read = Reader(page)
    assert {tag for tag, _ in read.tags} <= {
        "html", "head", "meta", "title", "style", "body", "section", "main", "h1", "h2", "p", "ul", "li",
    }  # fmt: skip
    assert not any(name in {"src", "href", "style", "onload"} for _tag, attrs in read.tags for name in attrs)
    assert "url(" not in page
    assert "@import" not in page
    assert read.tags[0] == ("html", {"lang": "sv"})
    assert [tag for tag, _ in read.tags].count("h1") == 1
    assert "A4" in page


def test_the_page_says_all_that_matters_in_plain_words(given, tmp_path):
    told, _file, page = made(given, tmp_path)
    for words in (
        "Samtycket gäller.", "vem du är", "hot mot dig", "att du får det här stödet", "inte den som tar över uppdraget",
        "för att bedöma hot och risker", "Du kan ta tillbaka det när du vill", "Skyddet fortsätter ändå",
        "Du gav samtycket själv. Antecknat den ", "Det här gällde den ", "EX: socialtjänsten (SOC/EXEMPEL/KONSULT)",
        "ring 112", told["record_id"], told["sha256"],
    ):  # fmt: skip
        assert words in page


def test_the_page_tells_the_time_of_the_clock_on_the_wall(given, tmp_path):
    told, file, _page = made(given, tmp_path)
    record = person_copies.verified(file.read_bytes(), given.ctx.trusted)
    for moment, sv, en in (
        ("2026-11-30T23:00:00Z", "1 december 2026 kl. 00.00 svensk tid", "1 December 2026 at 00:00, Swedish time"),
        ("2026-06-30T22:05:00Z", "1 juli 2026 kl. 00.05 svensk tid", "1 July 2026 at 00:05, Swedish time"),
    ):
        record["state"]["as_of"] = moment
        for language, words in (("sv", sv), ("en", en)):
            page = person_page.page_of(record, told["sha256"], language=language, cover=False)
            assert (words in page, "UTC" in page) == (True, False)


@pytest.mark.parametrize(
    ("language", "by", "to"),
    [
        ("sv", "Samtycket gavs av vårdnadshavare och den som samtycket gäller.", "polisen (POL/EXEMPEL/SYD)"),
        (
            "en",
            "The consent was given by guardian and the one whom the consent is about.",
            "the police (POL/EXEMPEL/SYD)",
        ),
    ],
)
def test_whoever_gave_it_and_gets_it_is_told_in_words(given, tmp_path, language, by, to):
    told, file, _page = made(given, tmp_path)
    record = person_copies.verified(file.read_bytes(), given.ctx.trusted)
    record["events"][-1]["entity_id"] = ["GUARDIAN", "SELF"]
    record["pii_processing"]["recipient_third_parties"] = [{"party_id": "POL/EXEMPEL/SYD", "follows_role": False}]
    page = person_page.page_of(record, told["sha256"], language=language, cover=True)
    assert by in page
    assert f"<li>{to}</li>" in page


def test_every_code_has_words_of_its_own_on_the_page():
    words = tomllib.loads(resources.files("consent").joinpath("person_words.toml").read_text(encoding="utf-8"))
    for kind in ("role", "category", "purpose", "action"):
        assert set(words[kind]) == set(codes.table()[kind])
        for row in words[kind].values():
            assert set(row) == set(person_page.LANGUAGES)
            assert "avhopp" not in row["sv"].lower()
    changing = set(codes.table()["consent_act"]) - {"BLOCK", "UNBLOCK", "LIFT"}  # these are of no one consent
    assert set(words["event"]) == changing | {"partly_withdrawn", "superseded"}
    assert set(words["authority"]) == {row["authority"] for row in codes.table()["role"].values()}


def test_a_number_stands_on_the_paper_and_nowhere_else(given, tmp_path):
    number = "19900101-2384"
    _told, file, page = made(given, tmp_path, number=number)
    assert (number in page, number.encode() in file.read_bytes()) == (True, False)
    assert number not in str(given.ctx.spool.memory.readings())
    seat = replace(given.seat, ref=f"dnr {number}")
    hand_out(given.ctx, seat, CONSENT, HANDED, tmp_path / "ref.json")
    assert number.encode() not in (tmp_path / "ref.json").read_bytes()
    assert number not in (tmp_path / "ref.html").read_text()


def test_nothing_in_a_record_becomes_markup(given, tmp_path):
    seat = replace(given.seat, ref="<script>alert(1)</script>&")
    hand_out(given.ctx, seat, CONSENT, HANDED, tmp_path / "x.json")
    page = (tmp_path / "x.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_a_consent_that_only_the_broker_remembers_is_not_vouched_for(given, tmp_path):
    given.ctx.identities.update(replace(given.seat, borrowed_seq=1))
    seat = given.ctx.identities.get("EX-1")
    assert refused(lambda: hand_out(given.ctx, seat, CONSENT, HANDED, tmp_path / "x.json"))[0] == "HS-RECORD-NOT-FOUND"


def test_a_unit_signs_only_with_the_key_that_its_agency_vouches_for(given, tmp_path):
    given.ctx.now = lambda: given.ctx.started_us + 2 * DAY_US  # the entry is over
    assert refused(lambda: made(given, tmp_path))[0] == "HS-KEY-EXPIRED"
    assert not (tmp_path / "copy.json").exists()


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (("--to", "x.json"), "delivery"),
        (("--to", "x.json", "--delivery", "HANDED_OVER_IN_PERSON"), "given_to"),
        (("--delivery", "HANDED_OVER_IN_PERSON", "--given-to", "0"), "to"),
        (("--to", "x.json", "--delivery", "READ_ALOUD_ONLY", "--given-to", "0"), "to"),
        (("--to", "x.html", "--delivery", "KEPT_AT_AGENCY"), "to"),
    ],
)
def test_the_command_asks_before_it_looks(given, capsys, options, field):
    fixed = ("--purpose", "LAWFULNESS", "--case-number", "K-7", "--actor", "h-7", "--config", str(given.config))
    looks = len(given.ctx.spool.memory.readings())
    with pytest.raises(SystemExit) as left:
        handslag.main(["consent", "record", "EX-1", "01a2016d-eb13-7b39-819c-a99e16436ddb", *options, *fixed, "--json"])
    told = json.loads(capsys.readouterr().err)
    assert (left.value.code, told["code"], told["context"]["field"]) == (1, "HS-RECORD-DELIVERY", field)
    assert len(given.ctx.spool.memory.readings()) == looks
