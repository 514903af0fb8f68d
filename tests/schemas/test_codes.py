"""The one table of codes: whole, worded, used, and the only list of its kind."""

import ast
import tomllib
from itertools import product

import pytest

from schemas import codes
from schemas.codes import DELIVERY_TRANSITIONS, SEAT_TRANSITIONS, DeliveryState, Outcome, SeatState, outcome_of
from schemas.errors import HandslagError
from tests.house.tree import ROOT, called, files, strings, tree

TABLE = codes.table()
REASONS = TABLE["reason"]
CODES = sorted((kind, code) for kind, rows in TABLE.items() for code in rows)

# Words the law or a later part of the product asks for, which nothing writes yet.
RESERVED = {
    "reason": set(),
    "outcome": set(),
    # The operations of logging rules for law enforcement (LED art. 25) that a broker without storage never makes.
    "operation": {"COLLECTION", "TRANSFER_THIRD_COUNTRY"},
}


@pytest.mark.parametrize(("kind", "code"), CODES)
def test_every_code_has_words_in_both_languages(kind, code):
    for language in ("sv", "en"):
        word = TABLE[kind][code][language]
        assert word == word.strip() != ""
        assert not word.endswith(".")
        assert codes.words(kind, code, language) == word
    assert codes.known(kind, code, "code") == code


def test_no_two_codes_of_a_list_share_their_words():
    for kind, rows in TABLE.items():
        for language in ("sv", "en"):
            told = [row[language] for row in rows.values()]
            assert len(set(told)) == len(told), (kind, language)


@pytest.mark.parametrize("kind", sorted(TABLE))
def test_an_unknown_code_is_refused_by_its_field_and_never_repeated(kind):
    with pytest.raises(HandslagError) as refused:
        codes.known(kind, "EXEMPEL-CANARY", "field of a call")
    assert refused.value.code == "HS-CODE-UNKNOWN"
    assert refused.value.context == {"field": "field of a call"}
    # What an older connector does not know is shown as the code it is.
    assert codes.words(kind, "NEWER_CODE", "sv") == "NEWER_CODE"


def test_reasons_name_their_kind_and_what_the_sender_is_told():
    for code, row in REASONS.items():
        assert set(row) == {"kind", "sender", "sv", "en"}
        assert row["kind"] in {"RULE", "PERSON", "HUMAN"}
        assert row["sender"] in REASONS, code
        # Told once is told for good: what the sender hears does not point further.
        assert REASONS[row["sender"]]["sender"] == row["sender"]
        assert codes.reason_kind(code) == row["kind"]
    assert {row["kind"] for row in REASONS.values()} == {"RULE", "PERSON", "HUMAN"}


def test_a_sender_never_learns_whether_anybody_sits_in_a_role():
    """Nobody there, a closed seat and a person's own choice sound alike."""
    told = {codes.shown_to_sender([reason]) for reason in ("NO_HOLDER", "SEAT_INACTIVE", "RECIPIENT_NOT_COVERED")}
    assert told == {("RECIPIENT_NOT_COVERED",)}
    assert codes.shown_to_sender(["SEAT_INACTIVE", "EXPIRED", "NO_HOLDER"]) == ("RECIPIENT_NOT_COVERED", "EXPIRED")
    assert codes.shown_to_sender([]) == ()


def literals():
    """Every string of the code and of the rule files, where a decision takes its reasons from."""
    found = {value for file in files() for value in strings(file)}
    for path in (ROOT / "consent" / "rules").glob("*.toml"):
        found |= set(flat(tomllib.loads(path.read_text("utf-8"))))
    return found


def flat(node):
    if isinstance(node, dict):
        return [word for value in node.values() for word in flat(value)]
    if isinstance(node, list):
        return [word for value in node for word in flat(value)]
    return [node] if isinstance(node, str) else []


@pytest.mark.parametrize("kind", sorted(RESERVED))
def test_every_code_is_used_or_named_as_reserved(kind):
    assert set(TABLE[kind]) - literals() == RESERVED[kind]


ABOUT = {"about_seat": 2, "about_unit": 2, "about_operator": 0}  # the recorder's calls: where the operation stands


def test_every_code_the_source_writes_is_in_the_table():
    """Arguments and fields that carry a code: `operation=`, `outcome=`, reasons added, recorder calls."""
    named = {"operation": "operation", "outcome": "outcome", "reason": "reason", "reasons": "reason"}
    written = []
    for file in files():
        for node in ast.walk(tree(file)):
            if isinstance(node, ast.keyword) and node.arg in named:
                written += [(file, named[node.arg], word) for word in constants(node.value)]
            if isinstance(node, ast.Call) and called(node) in ABOUT:
                written += [(file, "operation", word) for word in constants(node.args[ABOUT[called(node)]])]
            if isinstance(node, ast.AugAssign) and ast.unparse(node.target) == "reasons":
                written += [(file, "reason", word) for word in constants(node.value)]
    assert {kind for _file, kind, _word in written} == {"operation", "outcome", "reason"}
    assert [found for found in written if found[2] not in TABLE[found[1]]] == []


def constants(node):
    """Strings a literal or a conditional of literals gives."""
    match node:
        case ast.Constant(value=str(word)):
            return [word]
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            return [word for part in parts for word in constants(part)]
        case ast.IfExp(body=one, orelse=other):
            return constants(one) + constants(other)
    return []


# Subsets that say something of their own; each names the codes it is about, none is the list again.
SUBSETS = {
    ("audit/verify_rules.py", "operation"): "which operations are whose, and which carry an outcome",
    ("consent/person_record.py", "consent_act"): "what a person's copy calls an act, and which name no one consent",
    ("consent/standing.py", "reason"): "how near a record came to permitting",
    ("connectors/waiting.py", "notice"): "what a notice makes of an event that waits",
}
ENUMS = {"Outcome": "outcome", "DeliveryState": "delivery_state", "SeatState": "seat_state"}


def listed(node):
    """Strings that stand together: a literal collection, the members of a class, the words of a Literal."""
    match node:
        case ast.Set(elts=parts) | ast.List(elts=parts) | ast.Tuple(elts=parts):
            pass
        case ast.Dict(keys=parts):
            pass
        case ast.ClassDef(body=body):
            parts = [one.value for one in body if isinstance(one, ast.Assign)]
        case _:
            return set()
    return {one.value for one in parts if isinstance(one, ast.Constant) and isinstance(one.value, str)}


def second_lists(file, source):
    """Where three or more codes of one list stand together, and how many."""
    for node in ast.walk(source):
        for kind, rows in TABLE.items():
            found = listed(node) & set(rows)
            if len(found) >= 3 and (file, kind) not in SUBSETS:
                is_enum = file == "schemas/codes.py" and isinstance(node, ast.ClassDef)
                if not (is_enum and ENUMS.get(node.name) == kind):
                    yield f"{file}:{node.lineno} {kind}"


def test_there_is_no_second_list():
    assert [found for file in files() for found in second_lists(file, tree(file))] == []
    for file, kind in SUBSETS:
        for node in ast.walk(tree(file)):
            assert listed(node) & set(TABLE[kind]) != set(TABLE[kind])
    for sample in (
        'X = ("RELEASED", "PARTIAL", "WITHHELD")',
        'class X(StrEnum):\n    A = "EXPIRED"\n    B = "WITHDRAWN"\n    C = "CAPACITY"',
        'X = {"DECISION": 1, "ACK": 2, "BEAT": 3}',
        'def f(x: Literal["IC01", "IC02", "IC03"]): pass',
    ):
        assert list(second_lists("broker/core.py", ast.parse(sample)))


@pytest.mark.parametrize("enum", [Outcome, DeliveryState, SeatState])
def test_an_enum_is_its_list(enum):
    kind = ENUMS[enum.__name__]
    assert [one.value for one in enum] == list(TABLE[kind])
    assert all(one.name == one.value for one in enum)


@pytest.mark.parametrize("table", [DELIVERY_TRANSITIONS, SEAT_TRANSITIONS])
def test_a_state_machine_is_walked_to_its_ends(table):
    first = next(iter(table))
    reached, todo = {first}, [first]
    while todo:
        new = table[todo.pop()] - reached
        reached |= new
        todo += new
    assert reached == set(table) == set(type(first))
    ends = {state for state, following in table.items() if not following}
    assert ends
    # From anywhere an end can be reached, and from an end nothing.
    assert all(following - {state} for state, following in table.items() if state not in ends)


ONE = {"RULE": "TYPE_NOT_ALLOWED", "PERSON": "NO_RECORD", "HUMAN": "RESERVATION"}
GIVEN = (True, ())


def section(*kinds):
    return False, tuple(ONE[kind] for kind in kinds)


@pytest.mark.parametrize(
    ("sections", "outcome"),
    [
        ([GIVEN], Outcome.RELEASED),
        ([GIVEN, GIVEN], Outcome.RELEASED),
        ([GIVEN, section("RULE")], Outcome.PARTIAL),
        ([section("HUMAN"), GIVEN], Outcome.PARTIAL),
        ([section("RULE")], Outcome.REFUSED),
        ([section("RULE"), section("RULE")], Outcome.REFUSED),
        ([section("PERSON")], Outcome.WITHHELD),
        ([section("RULE", "PERSON")], Outcome.WITHHELD),
        ([section("RULE"), section("PERSON")], Outcome.WITHHELD),
        ([section("HUMAN")], Outcome.NEEDS_HUMAN),
        ([section("PERSON", "HUMAN")], Outcome.NEEDS_HUMAN),
        ([section("RULE"), section("HUMAN")], Outcome.NEEDS_HUMAN),
        ([section("RULE", "PERSON", "HUMAN")], Outcome.NEEDS_HUMAN),
        ([], Outcome.WITHHELD),
        ([section()], Outcome.WITHHELD),
    ],
)
def test_the_outcome_of_sections(sections, outcome):
    assert outcome_of(sections) is outcome
    assert outcome_of(reversed(sections)) is outcome


def test_nothing_released_is_never_called_released():
    """Every combination of up to three sections and their reasons."""
    kinds = [(), ("RULE",), ("PERSON",), ("HUMAN",), ("RULE", "PERSON"), ("RULE", "HUMAN")]
    choices = [GIVEN, *(section(*kind) for kind in kinds)]
    for count in range(4):
        for sections in product(choices, repeat=count):
            found = outcome_of(sections)
            any_given = any(given for given, _reasons in sections)
            assert any_given == (found in {Outcome.RELEASED, Outcome.PARTIAL})
            if found is Outcome.RELEASED:
                assert all(given for given, _reasons in sections)


def test_the_decision_names_outcomes_as_the_table_does():
    """`consent.decide` has a faster way to the same word."""
    from consent import decide
    from consent.terms import SectionDecision

    every = [REASONS[reason]["kind"] for reason in REASONS]
    assert len(every) > 20
    for one, other in product(REASONS, repeat=2):
        sections = [SectionDecision("IC01", False, (one,), ()), SectionDecision("IC12", False, (other,), ())]
        assert decide._outcome(sections, 0) is outcome_of((found.released, found.reasons) for found in sections)
