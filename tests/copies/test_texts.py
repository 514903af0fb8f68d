"""Information texts: what ships is whole and says that nobody has read it; one's own are taken by hash; no other is."""

import datetime as dt
import hashlib
import json
import shutil
import tomllib
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest

import handslag
from broker import settings as broker_settings
from consent import rules, texts
from consent.admission import check_act
from consent.majority import midnight_us
from schemas.acts import InformationGiven
from schemas.codes import table
from schemas.errors import HandslagError
from tests.consent.making import HOUR, T0, act, terms, to_role
from tests.gateway.test_settings import GOOD

SHIPPED = resources.files("consent").joinpath("texts")
NEED = {  # what every wording of the first question must tell, by a piece of it in each form
    "sv-STANDARD": ("frivilligt", "säger nej", "Skyddet mot hot fortsätter", "ta tillbaka", "följa uppdraget", "18 år"),
    "sv-EASY": ("Du väljer själv", "säger nej", "Du får skydd ändå", "ta tillbaka", "följa med till den nya", "18 år"),
    "sv-CHILD": ("tvinga dig", "säger nej", "Vi skyddar dig ändå", "ändra dig", "ska gälla den nya också", "18 år"),
    "en-STANDARD": ("voluntary", "say no", "Protection against threats goes on", "take back", "follows the task", "18"),
}


def copy(tmp_path):
    folder = tmp_path / "own"
    shutil.copytree(Path(str(SHIPPED)), folder)
    return folder


def refused(folder):
    with pytest.raises(HandslagError) as told:
        texts.wordings(folder)
    return told.value.code, told.value.context["field"]


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as left:
        handslag.main([*arguments])
    captured = capsys.readouterr()
    return left.value.code, captured.out, captured.err


def test_nobody_reviewed_it_and_it_says_so(tmp_path):
    for each in texts.shipped_wordings():
        assert (each.reviewed_by, texts.EXAMPLE in each.text, texts.EXAMPLE in each.row.version) == ("", True, True)
    folder = copy(tmp_path)
    index = folder / "index.toml"
    index.write_text(index.read_text().replace('reviewed_by = ""', 'reviewed_by = "EXEMPEL, jurist"', 1))
    assert refused(folder) == ("HS-TEXTS-INVALID", "reviewed_by")


@pytest.mark.parametrize("form", NEED)
def test_the_first_question_tells_all_that_matters(form):
    found = {
        f"{each.row.language}-{each.row.form}": each.text
        for each in texts.shipped_wordings()
        if each.row.version.startswith("sekretess/")
    }
    assert set(found) == set(NEED)
    whole = " ".join(found[form].split())
    assert [piece for piece in (*NEED[form], "112") if piece not in whole] == []
    # A paper that is left lying must not tell what the support is for.
    assert "avhopp" not in whole.lower()


@pytest.mark.parametrize("language", ["sv"])
def test_every_question_can_be_asked_in_plain_words_and_of_a_child(language):
    kinds = {kind for kind, row in table()["consent_kind"].items() if row["opens"]}
    for kind in kinds:
        forms = {each.form for each in texts.shipped() if each.language == language and kind in each.kinds}
        assert forms == set(table()["text_form"])


def test_easy_words_come_in_short_lines():
    for each in texts.shipped_wordings():
        if each.row.form == "STANDARD":
            continue
        sentences = [part for part in each.text.replace("?", ".").replace("\n", " ").split(".") if part.strip()]
        longest = max(len(sentence.split()) for sentence in sentences if "-" not in sentence)
        mean = sum(len(sentence.split()) for sentence in sentences) / len(sentences)
        assert (longest <= 22, mean < 11) == (True, True)


def test_a_changed_letter_is_another_wording(tmp_path):
    folder = copy(tmp_path)
    assert len(texts.wordings(folder)) == len(texts.shipped())
    file = next(folder.glob("sekretess/*/sv-easy.md"))
    file.write_text(file.read_text().replace("Du får säga nej.", "Du måste säga ja."))
    assert refused(folder) == ("HS-TEXTS-INVALID", "sha256")


@pytest.mark.parametrize(
    ("spoil", "field"),
    [
        (lambda folder: (folder / "index.toml").unlink(), "file"),
        (lambda folder: (folder / "index.toml").write_text("texts = ["), "toml"),
        (lambda folder: (folder / "index.toml").write_text("other = 1"), "texts"),
        (lambda folder: (folder / "sekretess" / "EXEMPEL-2026-11-22" / "so-easy.md").write_text("# x"), "not listed"),
        (lambda folder: next(folder.glob("hotvarning/*/sv-child.md")).unlink(), "file"),
        (lambda folder: _edit(folder, 'form = "EASY"', 'form = "VERY"'), "form"),
        (lambda folder: _edit(folder, 'language = "sv"', 'language = "svenska"'), "language"),
        (lambda folder: _edit(folder, "from = 2026-11-22", "from = 2026-11-22\nuntil = 2026-11-22"), "until"),
        (lambda folder: _edit(folder, "from = 2026-11-22", 'from = "soon"'), "until"),
        (lambda folder: _edit(folder, 'kinds = ["SECRECY_WAIVER"]', "kinds = []"), "kinds"),
        (lambda folder: _edit(folder, 'id = "sekretess"', 'id = "../sekretess"'), "id"),
        (lambda folder: _edit(folder, 'form = "EASY"', 'form = "STANDARD"'), "texts"),
    ],
)
def test_a_folder_that_is_not_whole_is_refused_and_named(tmp_path, spoil, field):
    folder = copy(tmp_path)
    spoil(folder)
    assert refused(folder) == ("HS-TEXTS-INVALID", field)


def _edit(folder, old, new):
    index = folder / "index.toml"
    assert old in index.read_text()
    index.write_text(index.read_text().replace(old, new, 1))


def told(row, **changes):
    given = InformationGiven(
        language=row.language, form=row.form, interpreter=False, how="READ_ALOUD", consequences_told=True,
        voluntary_told=True, refusal_told=True, text_hash=row.sha256,
    )  # fmt: skip
    return replace(given, **changes)


def shipped_row(kind, form="EASY"):
    return next(each for each in texts.shipped() if kind in each.kinds and (each.language, each.form) == ("sv", form))


def refusal(row, at_us=None, among=None, **changes):
    when = max(T0, row.since_us or 0) if at_us is None else at_us
    given = {"information": told(row), "text_version": row.version, **changes}
    given |= {"valid_from_us": when, "valid_until_us": when + 100 * HOUR}
    one = act("GRANT", "A", terms=terms(to_role("police_coordination"), **given))
    try:
        check_act(one, one.prev, when, None, among)
    except HandslagError as error:
        return error.code
    return None


def test_a_shipped_wording_is_taken_and_one_in_another_language_is_not():
    row = shipped_row("SECRECY_WAIVER")
    assert refusal(row) is None
    for other in (told(row, language="so"), told(row, text_hash=bytes(32)), told(row, form="CHILD")):
        assert refusal(row, information=other) == "HS-TEXT-UNKNOWN"


def test_a_wording_is_told_only_of_its_own_kind_and_time():
    row, threat = shipped_row("SECRECY_WAIVER"), shipped_row("THREAT_WARNING")
    warning = {"kind": "THREAT_WARNING", "categories": ("IC04",), "purposes": ("PROTECTION",)}
    assert (refusal(threat, **warning), refusal(threat)) == (None, "HS-TEXT-UNKNOWN")
    assert refusal(row, **warning) == "HS-TEXT-UNKNOWN"
    assert refusal(row, at_us=row.since_us - 1) == "HS-TEXT-UNKNOWN"
    ended = row._replace(until_us=row.since_us + HOUR)
    among = frozenset({ended})
    ends = ended.until_us
    assert [refusal(ended, at_us=at, among=among) for at in (ends - 1, ends)] == [None, "HS-TEXT-UNKNOWN"]


def test_what_ends_here_ends_in_the_rules_too():
    index = tomllib.loads(SHIPPED.joinpath("index.toml").read_text(encoding="utf-8"))["texts"]
    ended = {f"{row['id']}/{row['version']}": row["until"] for row in index if "until" in row}
    _file, now = rules.shipped()
    for version, day in ended.items():
        assert now.texts_ended[version] == midnight_us(day)
    assert {each.version for each in texts.shipped()}.isdisjoint(set(now.texts_ended) - set(ended))


def own_text(folder):
    """An agency's own, reviewed wording, in a language that ships with nothing."""
    place = folder / "sekretess" / "EXEMPEL-KOMMUN-1"
    place.mkdir(parents=True)
    words = b"# Samtycke\n\nVi som kan det spr\xc3\xa5ket har skrivit det h\xc3\xa4r.\n"
    (place / "fi-standard.md").write_bytes(words)
    row = {"id": "sekretess", "version": "EXEMPEL-KOMMUN-1", "language": "fi", "form": "STANDARD"}
    lines = [f'{name} = "{value}"' for name, value in row.items()]
    lines += ['kinds = ["SECRECY_WAIVER"]', f'sha256 = "{hashlib.sha256(words).hexdigest()}"']
    lines += [f"from = {dt.date(2026, 1, 1)}", 'reviewed_by = "EXEMPEL kommunjurist"']
    (folder / "index.toml").write_text("[[texts]]\n" + "\n".join(lines) + "\n")
    return folder


def test_an_agencys_own_wording_is_taken_by_the_hash_it_listed(tmp_path):
    folder = own_text(tmp_path / "own")
    [own] = texts.wordings(folder)
    assert (own.title, own.reviewed_by) == ("Samtycke", "EXEMPEL kommunjurist")
    (tmp_path / "broker.toml").write_text('texts_index = "own/index.toml"\n' + GOOD)
    known = texts.with_index(broker_settings.load(tmp_path / "broker.toml").texts_index)
    assert texts.shipped() < known
    assert refusal(own.row, among=known) is None
    assert refusal(own.row) == "HS-TEXT-UNKNOWN"


def test_an_index_says_nothing_else_of_a_shipped_wording(tmp_path):
    folder = copy(tmp_path)
    assert texts.with_index(folder / "index.toml") == texts.shipped()
    _edit(folder, "from = 2026-11-22", "from = 2020-01-01")
    with pytest.raises(HandslagError) as told:
        texts.with_index(folder / "index.toml")
    assert told.value.code == "HS-TEXTS-INVALID"


def test_the_commands_list_show_and_check(tmp_path, capsys):
    own = own_text(tmp_path / "own")
    code, out, _err = run(capsys, "consent", "texts", "list", "--json")
    rows = json.loads(out)["texts"]
    assert (code, len(rows), {row["reviewed_by"] for row in rows}) == (0, len(texts.shipped()), {""})
    code, out, _err = run(capsys, "consent", "texts", "list")
    assert (code, out.count("inte granskad")) == (0, len(rows))
    row = shipped_row("SECRECY_WAIVER", "CHILD")
    code, out, _err = run(capsys, "consent", "texts", "show", row.version, "--form", "CHILD")
    assert (code, "Det här är skrivet för dig som är barn." in out, row.sha256.hex() in out) == (0, True, True)
    code, _out, err = run(capsys, "consent", "texts", "show", row.version, "--language", "so")
    assert (code, "HS-TEXT-UNKNOWN" in err) == (1, True)
    code, out, _err = run(capsys, "consent", "texts", "check", str(own), "--json")
    assert (code, json.loads(out)) == (0, {"texts": 1, "reviewed": 1})
    next(own.glob("*/*/*.md")).write_text("# Other\n")
    code, _out, err = run(capsys, "consent", "texts", "check", str(own))
    assert (code, "HS-TEXTS-INVALID" in err) == (1, True)
