"""What may enter a ledger: every refusal has its code and its field, and what is refused would open nothing either."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consent.admission import NARROWING, NEITHER, WIDENING, check_act
from consent.texts import Text
from schemas import codes
from schemas.acts import CapacityGround, EvidenceRef, Giver, InformationGiven, MinorGround
from schemas.errors import HandslagError
from schemas.identifiers import ZERO32
from tests.consent.making import HOUR, T0, act, ledger, named, recorded, scope, terms, to_role

POLICE = to_role("police_coordination")
CHILD = MinorGround(
    rule_id="L6", age_band="12_TO_14", maturity="SUFFICIENT", child_view="AGREES", guardians=1, guardians_excluded=0,
    reassess_at_us=T0 + 80 * HOUR,
)  # fmt: skip
SELF = Giver(person=0, capacity="SELF", method="WRITTEN", at_us=T0)
MOTHER = replace(SELF, person=1, capacity="GUARDIAN", authority_until_us=T0 + 50 * HOUR)
MAN = replace(SELF, person=1, capacity="GOD_MAN", authority_from_us=T0 - HOUR)
TOLD = InformationGiven(
    language="sv", form="EASY", interpreter=True, how="READ_ALOUD", consequences_told=True, voluntary_told=True,
    refusal_told=True, text_hash=bytes(32),
)  # fmt: skip
TEXTS = frozenset({Text("1", "sv", "EASY", bytes(32))})


def grant(**changes):
    return act("GRANT", "A", terms=terms(POLICE, **changes))


def refusal(one, view=None, texts=TEXTS):
    try:
        check_act(one, one.prev, T0, view, texts)
    except HandslagError as error:
        return error.code, error.context.get("field")
    return None


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "MEASURE", "categories": (), "recipients": (), "purposes": (), "actions": ()},
        {"kind": "THREAT_WARNING", "categories": ("IC04",), "purposes": ("PROTECTION",)},
        {"about": (0, 1), "givers": (SELF, replace(SELF, person=1))},
        {"givers": (SELF, MOTHER), "minor": CHILD, "given_by": "GUARDIAN"},
        {"givers": (MAN,), "given_by": "GOD_MAN"},
        {"capacity": CapacityGround(status="LACKS", assessed_at_us=T0)},  # recorded, and waits for a human
        {"data_from_us": T0 - HOUR, "data_until_us": T0, "until_event": "CASE_CLOSED", "review_by_us": T0 + HOUR},
        {"information": TOLD, "withdrawal_method": "ANY_AGENCY", "all_agencies_required": True},
        {"recipient_obligations": ("NO_ONWARD",), "reserved": ("FREQUENCY",), "supersedes": named("B")},
        {"evidence": (EvidenceRef(kind="WITNESS", sha256=bytes(32)),)},
    ],
)
def test_a_whole_consent_is_taken(changes):
    assert refusal(grant(**changes)) is None


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"kind": "EVERYTHING"}, "HS-CODE-UNKNOWN", "kind"),
        ({"kind": "THREAT_WARNING", "purposes": ("PROTECTION",)}, "HS-KIND-OTHER", "categories"),
        ({"kind": "FOLLOW_UP"}, "HS-KIND-OTHER", "purposes"),
        ({"about": ()}, "HS-GRANT-INCOMPLETE", "about"),
        ({"about": (1, 1)}, "HS-GRANT-INCOMPLETE", "about"),
        ({"about": (-1,)}, "HS-GRANT-INCOMPLETE", "about"),
        ({"about": (1,)}, "HS-GRANT-INCOMPLETE", "givers"),
        ({"about": (0, 1)}, "HS-GRANT-INCOMPLETE", "givers"),
        ({"given_by": "GUARDIAN"}, "HS-NOT-YET", "given_by"),
        ({"givers": ()}, "HS-GRANT-INCOMPLETE", "givers"),
        ({"givers": (SELF,), "given_by": "GUARDIAN"}, "HS-GRANT-INCOMPLETE", "given_by"),
        ({"givers": (replace(SELF, method="IMPLIED"),)}, "HS-CODE-UNKNOWN", "method"),
        ({"givers": (replace(SELF, capacity="FRIEND"),)}, "HS-CODE-UNKNOWN", "givers"),
        ({"givers": (replace(SELF, person=1),)}, "HS-GIVER-INVALID", "person"),
        ({"givers": (replace(MAN, person=0),)}, "HS-GIVER-INVALID", "person"),
        ({"givers": (SELF,), "about": (0, 1)}, "HS-GIVER-INVALID", "about"),
        ({"givers": (replace(MAN, person=2),), "about": (0, 1)}, "HS-GIVER-INVALID", "about"),
        ({"givers": (replace(MAN, capacity="OFFENTLIGT_BITRADE"),)}, "HS-GIVER-INVALID", "capacity"),
        ({"givers": (replace(MAN, authority_from_us=None),)}, "HS-GIVER-INVALID", "authority_from"),
        ({"givers": (replace(MAN, authority_until_us=T0),)}, "HS-GIVER-INVALID", "authority_until"),
        ({"givers": (replace(SELF, at_us=T0 + HOUR),)}, "HS-GIVER-INVALID", "at"),
        ({"givers": (SELF, replace(MOTHER, authority_until_us=None)), "minor": CHILD}, "HS-GIVER-INVALID",
         "authority_until"),
        ({"givers": (SELF, MOTHER)}, "HS-GRANT-INCOMPLETE", "minor"),
        ({"minor": replace(CHILD, age_band="ADULT")}, "HS-CODE-UNKNOWN", "age_band"),
        ({"minor": replace(CHILD, maturity="VERY")}, "HS-CODE-UNKNOWN", "maturity"),
        ({"minor": replace(CHILD, child_view="MAYBE")}, "HS-CODE-UNKNOWN", "child_view"),
        ({"minor": replace(CHILD, rule_id="")}, "HS-GRANT-INCOMPLETE", "rule_id"),
        ({"minor": replace(CHILD, guardians_excluded=2)}, "HS-GRANT-INCOMPLETE", "guardians"),
        ({"minor": replace(CHILD, reassess_at_us=T0)}, "HS-GRANT-INCOMPLETE", "reassess_at"),
        ({"capacity": CapacityGround(status="?", assessed_at_us=T0)}, "HS-CODE-UNKNOWN", "capacity"),
        ({"data_from_us": T0, "data_until_us": T0}, "HS-GRANT-INCOMPLETE", "data_until"),
        ({"until_event": "SOMEDAY"}, "HS-CODE-UNKNOWN", "until_event"),
        ({"review_by_us": T0}, "HS-GRANT-INCOMPLETE", "review_by"),
        ({"information": replace(TOLD, form="SUNG")}, "HS-CODE-UNKNOWN", "form"),
        ({"information": replace(TOLD, how="SUNG")}, "HS-CODE-UNKNOWN", "how"),
        ({"information": replace(TOLD, language="på svenska")}, "HS-GRANT-INCOMPLETE", "language"),
        ({"information": replace(TOLD, language="so")}, "HS-TEXT-UNKNOWN", "text_version"),
        ({"information": replace(TOLD, text_hash=b"1" * 32)}, "HS-TEXT-UNKNOWN", "text_version"),
        ({"withdrawal_method": "IN_WRITING_ONLY"}, "HS-CODE-UNKNOWN", "withdrawal_method"),
        ({"recipient_obligations": ("BE_KIND",)}, "HS-CODE-UNKNOWN", "recipient_obligations"),
        ({"retention_until_us": T0 + HOUR}, "HS-NOT-YET", "retention_until"),
        ({"reserved": ("SECRET",)}, "HS-CODE-UNKNOWN", "reserved"),
        ({"supersedes": named("A")}, "HS-GRANT-INCOMPLETE", "supersedes"),
        ({"evidence": (EvidenceRef(kind="RUMOUR", sha256=bytes(32)),)}, "HS-CODE-UNKNOWN", "evidence"),
        ({"recipients": (replace(POLICE, kind="NAMED_OFFICER"),)}, "HS-NOT-YET", "recipients"),
        ({"text_version": ""}, "HS-GRANT-INCOMPLETE", "text_version"),
    ],
)  # fmt: skip
def test_what_no_consent_can_say_is_refused(changes, code, field):
    assert refusal(grant(**changes)) == (code, field)
    if changes.get("kind") != "FOLLOW_UP":
        assert refusal(act("AMEND", "A", terms=terms(POLICE, **changes))) == (code, field)


def test_a_threat_warning_is_asked_about_by_itself():
    """Said to be one or not: threat and measures for protection stand in no consent with anything else."""
    both, plan = ("IC04", "IC06"), ("IC01", "IC04", "IC13")
    for kind in (None, "SECRECY_WAIVER"):
        for categories, purposes, wanted in (
            (both, ("PROTECTION",), None),
            (("IC04",), ("PROTECTION",), None),
            (plan, ("PROTECTION",), ("HS-KIND-OTHER", "categories")),
            (both, ("PROTECTION", "PLANNING"), ("HS-KIND-OTHER", "purposes")),
            (plan, ("THREAT_ASSESSMENT", "PROTECTION"), ("HS-KIND-OTHER", "categories")),
            (plan, ("THREAT_ASSESSMENT", "PLANNING"), None),  # the threat itself goes for other purposes as before
            (("IC10",), ("PROTECTION", "RELOCATION"), None),  # and protection needs other data too
        ):
            said = {"kind": kind, "categories": categories, "purposes": purposes}
            assert refusal(grant(**said)) == wanted, said
            amended = act("AMEND", "A", terms=terms(POLICE, evidence_hash=b"1" * 32, **said))
            assert refusal(amended) == wanted, said
    measure = {"kind": "MEASURE", "categories": plan, "purposes": ("PROTECTION",)}
    assert refusal(grant(**measure)) is None  # opens nothing


@pytest.mark.parametrize("told", [None, TOLD])
def test_a_wording_out_of_use_is_not_recorded(told):
    """Nor by leaving out how it was told; a version that the index does not name is taken: older consents have such."""
    before = Text("1", "sv", "EASY", bytes(32), until_us=T0)
    after = Text("1", "sv", "STANDARD", bytes(32), since_us=T0)
    assert refusal(grant(information=told), texts=frozenset({before})) == ("HS-TEXT-UNKNOWN", "text_version")
    for texts in ({before._replace(until_us=T0 + 1)}, {before._replace(until_us=None)}):  # control
        assert refusal(grant(information=told), texts=frozenset(texts)) is None
    if told is None:
        assert refusal(grant(), texts=frozenset({before, after})) is None
        assert refusal(grant(), texts=frozenset({before._replace(version="2")})) is None


def test_no_text_is_known_that_does_not_ship():
    assert refusal(grant(information=TOLD), texts=None) == ("HS-TEXT-UNKNOWN", "text_version")


@pytest.mark.parametrize(
    ("one", "wanted"),
    [
        (act("FORGET"), ("HS-CODE-UNKNOWN", "act")),
        (act("WITHDRAW_ALL"), ("HS-CODE-UNKNOWN", "act")),
        (act("SUSPEND"), None),
        (act("SUSPEND", scope=scope()), ("HS-GRANT-INCOMPLETE", "scope")),
        (act("RESUME"), None),
        (act("RESUME", scope=scope()), ("HS-GRANT-INCOMPLETE", "scope")),
        (act("RESUME", effective_at_us=T0), ("HS-GRANT-BACKDATED", "effective_at")),
        (act("LIFT"), ("HS-GRANT-INCOMPLETE", "lift_until")),
        (act("LIFT", lift_until_us=T0), ("HS-GRANT-INCOMPLETE", "lift_until")),
        (act("LIFT", lift_until_us=T0 + 1, scope=scope(POLICE, categories=("IC13",))), None),
        (act("LIFT", lift_until_us=T0 + 1, scope=scope(categories=("IC99",))), ("HS-CODE-UNKNOWN", "category")),
        (act("UNBLOCK", lift_until_us=T0 + 1), ("HS-GRANT-INCOMPLETE", "lift_until")),
        (act("EXPIRE"), ("HS-GRANT-INCOMPLETE", "ended_event")),
        (act("EXPIRE", ended_event="CASE_CLOSED"), None),
        (act("EXPIRE", ended_event="WHATEVER"), ("HS-CODE-UNKNOWN", "ended_event")),
        (act("SUSPEND", ended_event="CASE_CLOSED"), ("HS-GRANT-INCOMPLETE", "ended_event")),
        (act("LAPSE"), None),
        (act("LAPSE", scope=replace(scope(), givers=(1,))), None),
        (act("LAPSE", scope=scope()), ("HS-GRANT-INCOMPLETE", "scope")),
        (act("CONFIRM", review_by_us=T0 + 1), None),
        (act("CONFIRM", review_by_us=T0), ("HS-GRANT-INCOMPLETE", "review_by")),
        (act("CONFIRM", terms=terms(POLICE)), ("HS-GRANT-INCOMPLETE", "terms")),
        (act("REQUEST"), None),
        (act("REFUSE", terms=terms(POLICE)), None),
        (act("AMEND"), ("HS-GRANT-INCOMPLETE", "terms")),
        (act("BLOCK", terms=terms(about=(1,), actions=())), None),
        (act("BLOCK", terms=terms(actions=(), reserved=("LABEL",))), ("HS-GRANT-INCOMPLETE", "reserved")),
    ],
)
def test_every_act_says_what_it_must_and_no_more(one, wanted):
    assert refusal(one) == wanted


def test_a_lapse_that_would_end_nothing_is_said_to():
    """Recorded in silence it would look as if something had ended."""
    given = grant(givers=(MAN,), given_by="GOD_MAN")
    own, custody = grant(givers=(SELF,)), grant(givers=(SELF, MOTHER), minor=CHILD, given_by="GUARDIAN")

    def lapse(*persons):
        return act("LAPSE", scope=replace(scope(), givers=persons) if persons else None)

    nothing = ("HS-LAPSE-EMPTY", None)
    for view, persons, wanted in (
        (ledger(), (), nothing), (ledger(own), (), nothing), (ledger(own), (0,), nothing),
        (ledger(grant()), (), nothing),
        (ledger(given), (), None), (ledger(given), (1,), None), (ledger(given), (1, 2), None),
        (ledger(given), (2,), nothing), (ledger(custody), (1,), None), (ledger(custody), (0,), nothing),
        (ledger(given, act("WITHDRAW", "A")), (1,), None),  # it ended already: noted all the same
        (replace(ledger(own), broken=True), (), None),  # nobody knows what it holds
    ):  # fmt: skip
        assert refusal(lapse(*persons), view) == wanted, persons


def test_only_what_widens_waits_for_the_newest_head():
    assert codes.table()["consent_act"].keys() == WIDENING | NARROWING | NEITHER | {"WITHDRAW_ALL"}
    whole = {
        "LIFT": {"lift_until_us": T0 + 1}, "EXPIRE": {"ended_event": "CASE_CLOSED"}, "BLOCK": {"terms": terms()},
        "GRANT": {"terms": terms(POLICE)}, "AMEND": {"terms": terms(POLICE, evidence_hash=bytes(32))},
    }  # fmt: skip
    for kind in WIDENING | NARROWING | NEITHER:
        one = act(kind, **whole.get(kind, {}))
        check_act(one, ZERO32, T0)
        if kind in WIDENING:
            with pytest.raises(HandslagError, match="HS-HEAD-STALE"):
                check_act(one, b"1" * 32, T0)
        else:
            check_act(one, b"1" * 32, T0)


BEFORE = {"categories": ("IC01", "IC13"), "evidence_hash": b"1" * 32, "data_from_us": T0, "reserved": ("LABEL",)}


@pytest.mark.parametrize(
    ("changes", "needs"),
    [
        ({}, False),
        ({"categories": ("IC13",)}, False),
        ({"valid_until_us": T0 + HOUR}, False),
        ({"review_by_us": T0 + HOUR}, False),
        ({"categories": ("IC13", "IC08")}, True),
        ({"recipients": (to_role("provider"),)}, True),
        ({"recipients": (to_role("police_coordination", follows=True),)}, True),
        ({"purposes": ("INTAKE",)}, True),
        ({"actions": ("ORAL_DISCUSS",)}, True),
        ({"valid_until_us": T0 + 101 * HOUR}, True),
        ({"valid_from_us": T0 - 1}, True),
        ({"data_from_us": T0 - HOUR}, True),
        ({"data_from_us": None}, True),
        ({"reserved": None}, True),
        ({"kind": "FOLLOW_UP", "purposes": ("FOLLOW_UP",)}, True),
    ],
)
def test_an_amendment_that_widens_needs_a_new_word(changes, needs):
    view = ledger(grant(**BEFORE))
    one = act("AMEND", "A", seq=1, prev=view.head, terms=terms(POLICE, **{**BEFORE, **changes}))
    assert refusal(one, view) == (("HS-GRANT-INCOMPLETE", "evidence") if needs else None)
    assert refusal(one) == ("HS-GRANT-INCOMPLETE", "evidence") or not needs or one.terms.evidence_hash
    fresh = replace(one, terms=replace(one.terms, evidence_hash=b"2" * 32))
    assert refusal(fresh, view) is None
    assert refusal(replace(fresh, consent_id=named("Z")), view) == ("HS-GRANT-INCOMPLETE", "consent")
    again = recorded([(grant(**BEFORE), T0), (fresh, T0)])
    assert refusal(replace(fresh, prev=again[-1].head), view.applied(again[-1])) is None


def test_another_person_is_a_new_word():
    """Who represents one person does not go on to speak for another by an amendment of the first one's consent."""
    before = {"givers": (MAN,), "given_by": "GOD_MAN"}
    view = ledger(grant(**before))
    same = act("AMEND", "A", seq=1, prev=view.head, terms=terms(POLICE, **before))
    assert refusal(same, view) is None  # control
    other = replace(same, terms=replace(same.terms, about=(2,)))
    assert refusal(other, view) == ("HS-GRANT-INCOMPLETE", "evidence")
    said = replace(other, terms=replace(other.terms, givers=(replace(MAN, at_us=T0 + 1),)))
    assert refusal(said, view) is None


@pytest.mark.parametrize("changes", [{"information": None}, {"information": replace(TOLD, interpreter=False)}])
def test_another_telling_is_a_new_word(changes):
    """A consent told in a wording out of use opens nothing: an officer alone cannot amend the wording away."""
    before = {"evidence_hash": b"1" * 32, "information": TOLD}
    view = ledger(grant(**before))
    same = act("AMEND", "A", seq=1, prev=view.head, terms=terms(POLICE, **before))
    assert refusal(same, view) is None  # control
    other = replace(same, terms=replace(same.terms, **changes))
    assert refusal(other, view) == ("HS-GRANT-INCOMPLETE", "evidence")
    assert refusal(replace(other, terms=replace(other.terms, evidence_hash=b"2" * 32)), view) is None


def test_a_longer_authority_is_nobody_s_word():
    before = {"categories": ("IC13",), "givers": (SELF, MOTHER), "minor": CHILD, "given_by": "GUARDIAN"}
    view = ledger(grant(**before))
    longer = replace(MOTHER, authority_until_us=T0 + 60 * HOUR)
    wider = {**before, "categories": ("IC13", "IC01"), "givers": (SELF, longer)}
    one = act("AMEND", "A", seq=1, prev=view.head, terms=terms(POLICE, **wider))
    assert refusal(one, view) == ("HS-GRANT-INCOMPLETE", "evidence")
    said = {**wider, "givers": (SELF, replace(longer, at_us=T0 + 1))}  # control: she was asked again
    assert refusal(replace(one, terms=terms(POLICE, **said)), view) is None
