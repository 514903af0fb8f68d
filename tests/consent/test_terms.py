"""What terms say beside recipients and time: kind, persons, givers, a child, capacity, period, what was reserved."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consent.admission import check_act
from consent.decide import decide
from consent.explain import considered, sentences
from consent.rules import parse, released, shipped
from schemas.acts import CapacityGround, Giver, InformationGiven, MinorGround, Reservation
from schemas.codes import Outcome
from schemas.errors import HandslagError
from schemas.identifiers import ZERO32
from schemas.said import SPOKEN
from tests.consent.making import HOUR, T0, act, ask, ledger, named, request, terms, to_role

RULES = shipped()[1]
POLICE = to_role("police_coordination")
OLDER = next(rules for rules in released().values() if rules.version == "2026-11-22")
DAY = 24 * HOUR


def consent(name="A", **changes):
    return act("GRANT", name, terms=terms(POLICE, **changes))


def section(view, *, rules=RULES, sections=("IC13",), **changes):
    return decide(request(sections, **changes), view, rules).sections[0]


def why(view, **changes):
    """Reasons without the one that the name adds."""
    return tuple(reason for reason in section(view, **changes).reasons if reason != "TYPE_WITHHELD")


def giver(capacity="SELF", person=0, **changes):
    return replace(Giver(person=person, capacity=capacity, method="WRITTEN", at_us=T0), **changes)


def guardian(person, until=T0 + 50 * HOUR):
    return giver("GUARDIAN", person, authority_until_us=until)


CHILD = MinorGround(
    rule_id="L6", age_band="12_TO_14", maturity="SUFFICIENT", child_view="AGREES", guardians=2, guardians_excluded=0,
    reassess_at_us=T0 + 80 * HOUR,
)  # fmt: skip
BOTH = (giver(), guardian(1), guardian(2))


HERS = {"about": (1,), "givers": (giver(person=1),)}


def minor(*givers, **changes):
    return ledger(consent(givers=givers or BOTH, minor=replace(CHILD, **changes)))


def test_what_is_no_waiver_opens_nothing():
    assert section(ledger(consent(kind="SECRECY_WAIVER"))).released
    for kind in ("PROCESSING", "MEASURE"):
        view = ledger(consent(kind=kind))
        assert why(view) == ("NO_RECORD",)
        found = considered(decide(request(), view, RULES), request(), view, RULES)
        assert [(one.kind, one.effect, one.why_not) for one in found] == [(kind, "RECORDED", ())]
    assert why(ledger(consent(kind="EVERYTHING"))) == ("INVALIDATED",)


def test_a_threat_warning_holds_nothing_else():
    asked = {"sections": (ask("IC04", public_interest_released=True),), "event_type": "threat_assessment_requested"}
    asked["purpose"] = "PROTECTION"
    given = {"categories": ("IC04", "IC06"), "purposes": ("PROTECTION",), "kind": "THREAT_WARNING"}
    assert section(ledger(consent(**given)), **asked).released
    assert why(ledger(consent(**{**given, "categories": ("IC04", "IC13")})), **asked) == ("INVALIDATED",)
    assert why(ledger(consent(**{**given, "purposes": ("PROTECTION", "PLANNING")})), **asked) == ("INVALIDATED",)
    assert why(ledger(consent(kind="FOLLOW_UP", purposes=("FOLLOW_UP", "PLANNING")))) == ("INVALIDATED",)


def test_every_person_of_a_datum_permits_or_it_stays():
    own, hers = consent("A"), consent("B", **HERS)
    both = consent("C", about=(0, 1), givers=(giver(), giver(person=1)))
    shared = {"sections": (ask("IC13", persons=(0, 1)),)}
    assert why(ledger(own), **shared) == ("OTHER_SUBJECT_NO_CONSENT",)
    assert why(ledger(hers), **shared) == ("NO_RECORD",)
    assert section(ledger(own, hers), **shared).grants == (named("A"), named("B"))
    assert section(ledger(both), **shared).grants == (named("C"),)
    assert why(ledger(both, act("WITHDRAW", "C")), **shared) == ("WITHDRAWN", "OTHER_SUBJECT_NO_CONSENT")
    assert why(ledger(own, hers, act("WITHDRAW", "B")), **shared) == ("OTHER_SUBJECT_NO_CONSENT",)
    assert why(ledger(own, hers), sections=(ask("IC13", persons=(0, 1, 2)),)) == ("OTHER_SUBJECT_NO_CONSENT",)
    alone = {"sections": (ask("IC13", persons=(1,)),)}
    assert why(ledger(hers), **alone) == ("NO_RECORD",)  # a datum in a person's case is that person's too
    assert section(ledger(own, hers), **alone).released
    assert section(ledger(own, hers)).grants == (named("A"),)
    assert why(ledger(consent(about=()))) == ("NO_RECORD",)


def test_the_release_ends_when_the_first_of_the_persons_does():
    view = ledger(consent("A"), consent("B", **HERS, valid_until_us=T0 + 30 * HOUR))
    asked = request((ask("IC13", persons=(0, 1)),))
    assert decide(asked, view, RULES).holds_until_us == T0 + 30 * HOUR
    assert decide(request(), view, RULES).holds_until_us == T0 + 100 * HOUR


def test_a_block_of_one_person_forbids_what_is_about_that_person():
    own, hers = consent("A"), consent("B", **HERS)
    block = act("BLOCK", "X", terms=terms(actions=(), categories=(), purposes=(), about=(1,)))
    assert section(ledger(own, hers, block)).released
    assert "BLOCK_IN_FORCE" in why(ledger(own, hers, block), sections=(ask("IC13", persons=(0, 1)),))
    everybody = replace(block, terms=replace(block.terms, about=None))
    assert why(ledger(own, hers, everybody)) == ("BLOCK_IN_FORCE",)


@pytest.mark.parametrize(
    ("given", "reasons"),
    [
        ((giver(),), ()),
        ((giver("GOD_MAN", 1, authority_from_us=T0 - DAY),), ()),
        ((giver("FORVALTARE", 1, authority_from_us=T0 - DAY, authority_until_us=T0 + 50 * HOUR),), ()),
        ((giver("GOD_MAN", 1),), ("GUARDIAN_AUTHORITY_ENDED",)),
        ((giver("GOD_MAN", 1, authority_from_us=T0 + HOUR),), ("GUARDIAN_AUTHORITY_ENDED",)),
        (
            (giver("DECEASED_REP", 1, authority_from_us=T0 - DAY, authority_until_us=T0 + 5 * HOUR),),
            ("GUARDIAN_AUTHORITY_ENDED",),
        ),
        ((giver("OFFENTLIGT_BITRADE", 1),), ("CAPACITY",)),
        ((giver(), giver("OFFENTLIGT_BITRADE", 1)), ("CAPACITY",)),
        ((giver(person=1),), ("CAPACITY",)),
        ((giver("GOD_MAN", 0, authority_from_us=T0 - DAY),), ("CAPACITY",)),
        ((guardian(1),), ("CAPACITY",)),
        ((), ("INVALIDATED",)),
        ((giver(method="IMPLIED"),), ("INVALIDATED",)),
        ((giver("FRIEND", 1),), ("CAPACITY",)),
        ((giver(at_us=T0 + 11 * HOUR),), ("NOT_YET_VALID",)),
    ],
)
def test_who_gave_it(given, reasons):
    assert why(ledger(consent(givers=given))) == reasons


def test_a_representative_speaks_for_one_and_each_of_several_for_himself():
    shared = {"sections": (ask("IC13", persons=(0, 1)),)}
    both = ledger(consent(about=(0, 1), givers=(giver(), giver(person=1))))
    assert section(both, **shared).released
    one = ledger(consent(about=(0, 1), givers=(giver(),)))  # nobody consents for another adult
    assert why(one, **shared) == ("OTHER_SUBJECT_NO_CONSENT",)
    assert section(one).released
    man = giver("GOD_MAN", 2, authority_from_us=T0 - DAY)
    assert why(ledger(consent(about=(0, 1), givers=(man,))), **shared) == ("CAPACITY", "OTHER_SUBJECT_NO_CONSENT")


def test_nobody_consents_for_another_adult():
    """Unsaid, a consent is the word of the case's own person; for anybody else it counts only when it says who gave."""
    shared = {"sections": (ask("IC13", persons=(0, 1)),)}
    both = consent(about=(0, 1))
    said = consent(about=(0, 1), givers=(giver(), giver(person=1)))  # control
    assert section(ledger(said), **shared).released
    assert why(ledger(both), **shared) == ("CAPACITY", "OTHER_SUBJECT_NO_CONSENT")
    assert why(ledger(both)) == ("CAPACITY",)
    assert why(ledger(consent("A"), consent("B", about=(1,))), **shared) == ("OTHER_SUBJECT_NO_CONSENT",)
    assert section(ledger(consent(about=(0,)))).released
    for about in ((1,), (0, 1)):
        with pytest.raises(HandslagError, match="HS-GRANT-INCOMPLETE"):
            check_act(consent(about=about), ZERO32, T0)
    for one in (said, consent(about=(0,))):
        check_act(one, ZERO32, T0)


def test_given_by_must_be_one_of_the_givers():
    assert section(ledger(consent(givers=(giver(),), given_by="SELF"))).released
    assert why(ledger(consent(givers=(giver(),), given_by="GUARDIAN"))) == ("CAPACITY",)
    assert why(ledger(consent(given_by="GUARDIAN"))) == ("CAPACITY",)


SPECIAL = giver("SPECIAL_GUARDIAN", 3, authority_from_us=T0 - DAY)


@pytest.mark.parametrize(
    ("givers", "changes", "reasons"),
    [
        (BOTH, {}, ()),
        (BOTH[1:], {}, ("CHILD_COSIGN_MISSING",)),
        (BOTH[:2], {}, ("GUARDIAN_MISSING",)),
        (BOTH[:1], {}, ("GUARDIAN_MISSING",)),
        ((giver(), guardian(1), guardian(1)), {}, ("GUARDIAN_MISSING",)),
        (BOTH[1:2], {}, ("CHILD_COSIGN_MISSING", "GUARDIAN_MISSING")),
        (BOTH[1:], {"age_band": "UNDER_12", "maturity": "NOT_ASSESSED"}, ()),
        (BOTH[1:], {"age_band": "UNDER_12"}, ("CHILD_COSIGN_MISSING",)),
        (BOTH, {"child_view": "OBJECTS"}, ("CAPACITY",)),
        (BOTH[2:], {"child_view": "OBJECTS"}, ("CHILD_COSIGN_MISSING", "GUARDIAN_MISSING", "CAPACITY")),
        (BOTH, {"child_view": "NOT_ASKED"}, ("CHILD_COSIGN_MISSING",)),
        (BOTH, {"child_view": "UNABLE"}, ("CAPACITY",)),
        (BOTH, {"age_band": "ADULT"}, ("CAPACITY",)),
        (BOTH, {"maturity": "VERY"}, ("CAPACITY",)),
        (BOTH[:2], {"guardians_excluded": 1}, ()),
        (BOTH, {"guardians_excluded": 1}, ("CAPACITY",)),
        (BOTH[:1], {"guardians_excluded": 2}, ("CAPACITY",)),
        ((giver(), SPECIAL), {"guardians_excluded": 2}, ()),
        ((giver(), SPECIAL), {}, ("GUARDIAN_MISSING",)),
        (BOTH, {"guardians": -1}, ("CAPACITY",)),
        (BOTH, {"reassess_at_us": T0 + 10 * HOUR}, ("GUARDIAN_AUTHORITY_ENDED",)),
    ],
)
def test_a_child_is_never_alone_and_never_overruled(givers, changes, reasons):
    assert why(minor(*givers, **changes)) == reasons


def test_a_special_guardian_decides_for_an_assessed_child_or_not_at_all():
    """Without the assessment nothing would ask for the child's own word, and nothing would end at eighteen."""
    assert why(minor(giver(), SPECIAL, guardians_excluded=2)) == ()  # control
    assert why(ledger(consent(givers=(SPECIAL,), given_by="SPECIAL_GUARDIAN"))) == ("CAPACITY",)


def test_a_childs_own_word_without_givers_is_a_child_alone():
    assert why(ledger(consent(minor=CHILD))) == ("GUARDIAN_MISSING",)


def test_at_the_end_of_a_guardians_authority_the_consent_ends():
    view = minor()
    asked = request()
    assert decide(asked, view, RULES).holds_until_us == T0 + 50 * HOUR
    assert section(view, at_us=T0 + 50 * HOUR - 1).released
    assert why(view, at_us=T0 + 50 * HOUR) == ("GUARDIAN_AUTHORITY_ENDED",)


def test_older_rules_know_no_children_and_no_coded_reservations():
    assert why(minor(), rules=OLDER) == ("CAPACITY",)
    coded = ledger(consent(reservations=(Reservation(code="NO_ORAL"),)))
    assert why(coded, rules=OLDER) == ("RESERVATION",)
    assert section(coded).released


@pytest.mark.parametrize("status", ["TEMPORARILY_LACKS", "LACKS", "UNDER_INFLUENCE", "UNDER_DURESS_SUSPECTED", "?"])
def test_without_capacity_a_human_looks(status):
    view = ledger(consent(capacity=CapacityGround(status=status, assessed_at_us=T0)))
    assert why(view) == ("CAPACITY",)
    assert decide(request(), view, RULES).outcome is Outcome.NEEDS_HUMAN


def test_an_assessment_of_capacity_runs_out():
    has = CapacityGround(status="HAS", assessed_at_us=T0, valid_until_us=T0 + 20 * HOUR)
    view = ledger(consent(capacity=has))
    assert decide(request(), view, RULES).holds_until_us == T0 + 20 * HOUR
    assert why(view, at_us=T0 + 20 * HOUR) == ("CAPACITY",)


@pytest.mark.parametrize(
    ("stated", "covered"),
    [
        ((None, None), False),
        ((T0 - 9 * DAY, T0), True),
        ((T0 - 5 * DAY, T0 - 4 * DAY), True),
        ((T0 - 9 * DAY - 1, T0), False),
        ((T0 - 9 * DAY, T0 + 1), False),
        ((T0 - 9 * DAY, None), False),
        ((None, T0), False),
        ((T0 - DAY, T0 - DAY), False),
    ],
)
def test_data_of_another_time_is_not_covered(stated, covered):
    view = ledger(consent(data_from_us=T0 - 9 * DAY, data_until_us=T0))
    of = {"sections": (ask("IC13", data_from_us=stated[0], data_until_us=stated[1]),)}
    assert why(view, **of) == (() if covered else ("DATA_PERIOD",))
    assert section(ledger(consent()), **of).released
    assert section(ledger(consent(data_until_us=T0)), sections=(ask("IC13", data_until_us=T0),)).released


@pytest.mark.parametrize(
    ("reservation", "action", "reasons", "obligations"),
    [
        (Reservation(code="NO_ORAL"), "DISCLOSE", (), ()),
        (Reservation(code="NO_ORAL"), "ORAL_DISCUSS", ("RESERVATION",), ()),
        (Reservation(code="WRITTEN_ONLY"), "ORAL_DISCUSS", ("RESERVATION",), ()),
        (Reservation(code="NO_ONWARD"), "DISCLOSE", (), ("NO_ONWARD",)),
        (Reservation(code="NO_ONWARD"), "ONWARD_DISCLOSE", ("RESERVATION",), ()),
        (Reservation(code="ASK_EACH_TIME"), "DISCLOSE", ("RESERVATION",), ()),
        (Reservation(code="BE_KIND"), "DISCLOSE", ("RESERVATION",), ()),
        (Reservation(code="NO_ORAL", text_ref=b"sealed"), "DISCLOSE", ("RESERVATION",), ()),
        (Reservation(), "DISCLOSE", ("RESERVATION",), ()),
    ],
)
def test_what_the_person_reserved(reservation, action, reasons, obligations):
    actions = ("DISCLOSE", "ORAL_DISCUSS", "ONWARD_DISCLOSE")
    view = ledger(consent(reservations=(reservation,), actions=actions))
    spoken = {"event_type": SPOKEN} if action == "ORAL_DISCUSS" else {}
    asked = request(action=action, **spoken)
    found = decide(asked, view, RULES)
    assert tuple(one for one in found.sections[0].reasons if one != "TYPE_WITHHELD") == reasons
    assert found.obligations == obligations


def test_a_limit_nobody_evaluates_waits_for_a_human():
    assert why(ledger(consent(reserved=("FREQUENCY",)))) == ("RESERVATION",)
    officer = replace(POLICE, kind="NAMED_OFFICER")
    assert why(ledger(act("GRANT", terms=terms(POLICE, officer)))) == ("RESERVATION",)
    assert why(ledger(consent(recipient_obligations=("BE_KIND",)))) == ("RESERVATION",)


def test_obligations_of_every_consent_used_go_along_once():
    one = consent("A", categories=("IC13",), recipient_obligations=("RETENTION_LIMIT", "NO_ONWARD"))
    other = consent("B", categories=("IC01",), recipient_obligations=("DELETE_ON_WITHDRAWAL", "NO_ONWARD"))
    unused = consent("C", categories=("IC07",), retention_until_us=T0 + DAY)
    found = decide(request(("IC13", "IC01")), ledger(one, other, unused), RULES)
    assert found.obligations == ("NO_ONWARD", "DELETE_ON_WITHDRAWAL", "RETENTION_LIMIT")
    lines = sentences(found, request(("IC13", "IC01")), ledger(one, other, unused), "sv", RULES)
    assert "ska raderas om samtycket återkallas (DELETE_ON_WITHDRAWAL)" in lines[-1]
    assert decide(request(), ledger(consent(retention_until_us=T0 + DAY)), RULES).obligations == ("RETENTION_LIMIT",)


TOLD = InformationGiven(
    language="sv", form="EASY", interpreter=False, how="READ_ALOUD", consequences_told=True, voluntary_told=True,
    refusal_told=True, text_hash=bytes(32),
)  # fmt: skip


def test_a_wording_out_of_use_when_told_does_not_count():
    told = {"information": TOLD, "text_version": "EXEMPEL-1"}
    assert why(ledger(consent(**told))) == ("TEXT_VERSION_STALE",)
    assert section(ledger(consent(**{**told, "text_version": "EXEMPEL-2"}))).released
    assert why(ledger(consent(text_version="EXEMPEL-1"))) == ("TEXT_VERSION_STALE",)  # silence does not bring it back
    assert section(ledger(consent(text_version="1"))).released
    assert section(ledger(consent(text_version="EXEMPEL-1")), rules=OLDER).released  # they know of no end of any
    before = parse(shipped()[0].replace(b"EXEMPEL-1 = 2026-11-01", b"EXEMPEL-1 = 2027-11-01"))
    assert section(ledger(consent(**told)), rules=before).released


def test_a_consent_about_another_says_so():
    view = ledger(consent("A"), consent("B", **HERS, categories=("IC01",)))
    found = considered(decide(request(), view, RULES), request(), view, RULES)
    assert [(one.effect, one.why_not) for one in found] == [
        ("USED", ()), (None, ("OTHER_SUBJECT_NO_CONSENT", "CATEGORY_NOT_COVERED")),
    ]  # fmt: skip


@pytest.mark.parametrize("language", ["sv", "en"])
def test_every_new_reason_has_words(language):
    view = minor(*BOTH[1:2])
    text = "\n".join(sentences(decide(request(), view, RULES), request(), view, language, RULES))
    assert {"sv": "barnets eget samtycke saknas", "en": "the child's own consent is missing"}[language] in text
