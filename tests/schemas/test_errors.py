"""The one registry of errors, and what an error may say."""

import ast
import re
import tomllib
from http import HTTPStatus
from pathlib import Path

import pytest

from schemas import errors
from schemas.errors import HandslagError, PayloadRejected
from schemas.reference import errors_page
from tests.house.tree import ROOT, called, calls, files, strings, tree

REGISTRY = errors.registry()
SOURCE = Path(errors.__file__).parent / "tables/errors.toml"

# In the registry, raised by nothing yet, with the part that will raise it.
RESERVED: set[str] = set()


@pytest.mark.parametrize("code", REGISTRY)
def test_an_entry_is_whole(code):
    entry = REGISTRY[code]
    assert re.fullmatch(r"HS-[A-Z]+(-[A-Z]+)*", code)
    assert entry.who in {"agency_it", "agency_officer", "operator", "discloser", "developer", "caller"}
    assert 400 <= HTTPStatus(entry.status) < 600
    assert isinstance(entry.retriable, bool)
    for sentence in (entry.sv, entry.en):
        assert sentence == sentence.strip() != ""
        assert not sentence.endswith(".")
        assert sentence[0].islower()
    for step in (entry.next_sv, entry.next_en):
        assert step == step.strip() != ""
        assert step.endswith(".")
    assert entry.sv != entry.en
    assert entry.next_sv != entry.next_en
    # No text has a place for a value.
    assert not re.search(r"[{}%]|\bs\b:", entry.sv + entry.en + entry.next_sv + entry.next_en)


def test_what_commands_of_both_sides_refuse_names_neither_side():
    """A file that is there already: the agency's officer meets it as well as the operator."""
    raising = {file.split("/")[0] for file, told in codes_written().items() if "HS-FILE-EXISTS" in told}
    assert raising >= {"broker", "connectors"}
    assert REGISTRY["HS-FILE-EXISTS"].who == "caller"
    assert "| `HS-FILE-EXISTS` | 409 | whoever runs the command |" in errors_page()


def test_a_code_stands_once():
    heads = re.findall(r'^\["(.+)"\]$', SOURCE.read_text("utf-8"), re.MULTILINE)
    assert len(heads) == len(set(heads)) == len(REGISTRY) == len(tomllib.loads(SOURCE.read_text("utf-8")))


@pytest.mark.parametrize("status", sorted({entry.status for entry in REGISTRY.values() if entry.retriable}))
def test_what_may_be_tried_again_is_not_the_callers_fault(status):
    """Too late, a conflict, too much at once, not ready: waiting or a repeat can help. A bad request stays bad."""
    assert status in {408, 409, 429, 500, 502, 503, 504}


def codes_written():
    """Codes of errors in the source, by file; the operator's probe lies beside the rooms."""
    probe = [path.relative_to(ROOT).as_posix() for path in (ROOT / "deploy/probe").glob("*.py")]
    everywhere = [*files(), *probe]
    return {file: {word for word in strings(file) if re.fullmatch(r"HS-[A-Z-]+", word)} for file in everywhere}


def test_every_code_in_the_source_is_registered_and_every_code_is_raised():
    written = set().union(*codes_written().values())
    assert written - set(REGISTRY) == set()
    assert set(REGISTRY) - written == RESERVED
    assert len(written) > 60


def test_codes_in_sentences_and_documentation_exist():
    """Docstrings and comments name codes; a code that was renamed is not named any more."""
    from tests.house.tree import text

    for file in files():
        for code in re.findall(r"\bHS-[A-Z]+(?:-[A-Z]+)*\b", text(file)):
            assert code in REGISTRY, f"{file}: {code}"


# A code that is not written at the place it is raised: taken from a value that this code wrote or checked before.
DYNAMIC = {
    ("consent/admission.py", "code"),
    ("broker/trail.py", "self.reason"),
    ("broker/core.py", "reasons[0]"),
    ("broker/store/postgresql.py", "code"),  # HS-NOT-RECORDED or HS-NOT-READY
    ("broker/following.py", "failed"),
    ("broker/following.py", "self._ended[1]"),
    ("broker/control.py", "code if code in registry() else 'HS-INTERNAL'"),
    ("connectors/sending.py", "code if code in registry() else 'HS-ANSWER-INVALID'"),
    ("connectors/client.py", "waiting.value['error']"),
    ("connectors/by_hand.py", "waiting.value['error']"),
    ("connectors/link.py", "code"),
    ("connectors/witness.py", "halt.decode()"),
    ("connectors/witness.py", "code"),
    ("connectors/recipient_cli.py", "answer.refused"),
    ("connectors/rotation.py", "code"),
    ("connectors/reports.py", "told.refused_code if known else 'HS-DECISION-FAILED'"),
}


def test_a_code_is_written_where_it_is_raised():
    found = {
        (file, ast.unparse(call.args[0]))
        for file in files()
        for call in calls(file, "HandslagError")
        if call.args and not isinstance(call.args[0], ast.Constant)
    }
    assert found <= DYNAMIC
    bare = [(f, c.lineno) for f in files() for c in calls(f, "HandslagError") if not c.args]
    assert bare == []


# What may stand in an error's context besides a literal, by the expression: a field's name, a limit, a check's name.
PRODUCT_WORDS = {
    "current": "an instance number, drawn by nobody",
    "row.instance": "an instance number, drawn by nobody",
    "field": "name of a field or column, from the schema or the code",
    "name": "name of a field, a schema or a package of ours",
    "check": "name of a check, written at the call",
    "error.context.get('check', 'fork')": "name of the check that a verifier of ours raised",
    "rule": "name of a rule of the lint",
    "limit": "a number of ours",
    "LIMIT": "a number of ours",
    "INPUT_BYTES": "a number of ours",
    "place": "where in the rule file",
    "category": "a category of the event's own schema",
    "column": "a column of ours",
    "table": "a table of ours",
    "table.name": "a table of ours",
    "what": "what kind of file was expected",
    "contradiction": "smaller or fork",
    "row.act_number": "number of an act that everybody is shown",
    "row.ground": "a code of a closed list",
    "at": "when a seat was erased",
    "entry.name": "name of a schema",
    "str(schema['name'])": "name of a schema",
    "type(error).__name__": "type of an error",
    "type(cause).__name__": "type of an error",
    "_place(cause)": "file and line of ours",
    "_named(error)": "name of a setting that exists",
    "_plain(name)": "name of a setting that exists",
    "_field(error)": "name of a field that exists",
    "', '.join((each.name for each in differ))": "names of a topic's settings",
    "FIELD": "name of a setting that exists",
    "'topic' if found is None else 'partitions'": "two words",
    "', '.join(missing)": "names of rights at a Kafka server",
    "INSTANCE": "name of a header",
    "CHECKPOINT": "name of a header",
    "'several' if found else 'file'": "two words",
    "PADDING_CLASSES[-1] - _LENGTH": "a number of ours",
    "str(first['loc'][0]) if known else 'unknown key'": "name of a setting that exists",
}
PASSED_ON = {("broker/control.py", "answer['context']"), ("connectors/link.py", "told")}


def told(file):
    """Expressions in the context of errors that are not literals."""
    for call in calls(file, "HandslagError", "PayloadRejected"):
        for keyword in call.keywords:
            if not isinstance(keyword.value, ast.Constant):
                yield keyword.arg, ast.unparse(keyword.value)


def test_an_error_says_words_of_the_product_only():
    found = {(file, arg, value) for file in files() for arg, value in told(file)}
    passed = {(file, value) for file, arg, value in found if arg is None}
    assert passed <= PASSED_ON
    unknown = {
        (file, value)
        for file, arg, value in found
        if arg is not None and value not in PRODUCT_WORDS and not re.fullmatch(r"limits\.[A-Z_]+", value)
    }
    assert unknown == set()
    assert len(found) > 30


def test_context_names_are_few_and_plain():
    made = (call for file in files() for call in calls(file, "HandslagError", "PayloadRejected"))
    names = {keyword.arg for call in made for keyword in call.keywords}
    what = {
        "field",
        "limit",
        "check",
        "kind",
        "rule",
        "part",
        "header",
        "exception",
        "at",
        "package",
        "command",
        "instance",
        "act",
        "ground",
    }
    assert names - {None} <= what | {"missing"}


def test_no_error_carries_what_it_was_raised_from():
    """`raise HandslagError(...)` inside an except ends in `from None`: the library's message repeats its input."""
    loose = []
    for file in files():
        for handler in (node for node in ast.walk(tree(file)) if isinstance(node, ast.ExceptHandler)):
            for node in ast.walk(handler):
                if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                    ours = called(node.exc) in {"HandslagError", "PayloadRejected"}
                    cut = isinstance(node.cause, ast.Constant) and node.cause.value is None
                    if ours and not cut:
                        loose.append(f"{file}:{node.lineno}")
    assert loose == []


def test_every_error_that_crosses_a_wall_is_of_the_registry():
    """Other exception classes are signals inside one room, caught there."""
    inside = {
        "RowMoved",
        "AnchorMoved",
        "HeadMoved",
        "GateMoved",
        "FileMoved",
        "Undone",
        "InboxGrew",
        "Outside",
        "_Missing",
    }
    for file in files():
        for node in ast.walk(tree(file)):
            if isinstance(node, ast.ClassDef):
                for base in map(ast.unparse, node.bases):
                    if re.search(r"(Exception|Error)$", base) and node.name not in inside:
                        assert base in {"HandslagError"} or file == "schemas/errors.py", f"{file}: {node.name}"


def test_diagnostics_in_both_languages():
    error = HandslagError("HS-CODE-UNKNOWN", field="purpose", limit=3)
    assert error.diagnostics() == str(error)
    for language, entry in (("sv", error.entry.sv), ("en", error.entry.en)):
        shown = error.diagnostics(language)
        assert shown.startswith(f"HS-CODE-UNKNOWN: {entry} (field: purpose, limit: 3). ")
    bare = HandslagError("HS-CODE-UNKNOWN")
    assert str(bare) == f"HS-CODE-UNKNOWN: {bare.entry.en}. {bare.entry.next_en}"
    assert error.context == {"field": "purpose", "limit": 3}


def test_a_context_may_name_what_the_code_is_called():
    """What a broker's answer calls its words is the broker's choice, never a fault of ours."""
    strange = {"code": "x", "self": "y", "language": "z"}
    assert HandslagError("HS-BUSY", **strange).context == strange
    assert PayloadRejected(**strange).context == strange


def test_a_code_nobody_registered_is_no_error():
    with pytest.raises(KeyError):
        HandslagError("HS-NOTHING")
    assert PayloadRejected().code == "HS-PAYLOAD-REJECTED"
