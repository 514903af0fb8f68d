"""What an auditor is told of consents, on both axes of time, by the commands; and that every look is an entry."""

from tests.auditor.conftest import LOOK, REF

ASKED = (
    "--to", "social_services_lead", "--event-type", "threat_assessment_completed", "--for", "THREAT_ASSESSMENT",
    "--category", "IC04", "--public-interest", "IC04",
)  # fmt: skip


def test_as_of_and_known_at_are_two_axes(told):
    _play, auditor, before, after = told

    def in_force(*times):
        answer = auditor.answer("consent", "show", "--ref", REF, *LOOK, *times)
        return [row["in_force"] for row in answer["consents"]]

    assert in_force("--as-of", before) == [True]
    assert in_force("--as-of", after) == [False]
    # As it was known before the withdrawal was recorded, the consent still holds for the later moment.
    assert in_force("--as-of", after, "--known-at", before) == [True]
    assert in_force("--as-of", "2020-01-01T00:00:00Z") == [False]
    assert in_force("--known-at", "2020-01-01T00:00:00Z") == []


def test_decide_answers_as_it_would_have_been_decided(told):
    _play, auditor, before, after = told

    def outcome(*times, asked=ASKED):
        answer = auditor.answer("consent", "decide", "--ref", REF, *LOOK, *asked, *times)
        return answer["outcome"], [reason for section in answer["sections"] for reason in section["reasons"]]

    assert outcome("--as-of", before) == ("RELEASED", [])
    assert outcome("--as-of", after) == ("WITHHELD", ["WITHDRAWN", "TYPE_WITHHELD"])
    assert outcome("--as-of", after, "--known-at", before) == ("RELEASED", [])
    assert outcome("--as-of", before, asked=ASKED[:-2]) == ("REFUSED", ["PUBLIC_INTEREST_NOT_RELEASED"])


def test_history_tells_every_act_and_who_signed_it(told):
    _play, auditor, *_ = told
    acts = auditor.answer("consent", "history", "--ref", REF, *LOOK)["acts"]
    assert [(act["ledger_seq"], act["act"], act["signed"]) for act in acts] == [
        (1, "GRANT", True),
        (2, "WITHDRAW_ALL", False),
    ]


def test_every_look_left_an_entry(told):
    _play, auditor, *_ = told
    looks = [
        auditor.answer("consent", "show", "--ref", REF, *LOOK)["entry_id"],
        auditor.answer("consent", "history", "--ref", REF, *LOOK)["entry_id"],
        auditor.answer("consent", "decide", "--ref", REF, *LOOK, *ASKED)["entry_id"],
    ]
    entries = auditor.answer("audit", "search", "--ref", REF, *LOOK)["entries"]
    found = {one["entry_id"]: one for one in entries}
    assert {found[look]["operation"] for look in looks} == {"CONSULTATION"}
    assert {(found[look]["actor_ref"], found[look]["query_purpose"]) for look in looks} == {("auditor-3", "LAWFULNESS")}
    assert entries[-1]["operation"] == "AUDIT_QUERY"


def test_a_look_without_purpose_is_no_look(told):
    _play, auditor, *_ = told
    before = len(auditor.answer("audit", "search", "--ref", REF, *LOOK)["entries"])
    assert auditor.run("consent", "show", "--ref", REF, *LOOK[2:]).returncode == 2
    assert auditor.run("consent", "show", *LOOK).returncode == 2
    assert auditor.run("consent", "show", "--ref", "EXEMPEL-NONE", *LOOK).returncode == 1
    # The one search before, and this one.
    assert len(auditor.answer("audit", "search", "--ref", REF, *LOOK)["entries"]) == before + 1


def test_search_shows_ground_consents_reasons_and_proofs(told):
    _play, auditor, before, _after = told
    (decision,) = auditor.answer("audit", "search", "--ref", REF, *LOOK, "--outcome", "PARTIAL")["entries"]
    assert (decision["basis"], decision["proof"]) == ("CONSENT", True)
    (grant,) = decision["consents"]
    by_category = {section["category"]: section for section in decision["sections"]}
    assert by_category["IC04"]["consents"] == [grant]
    assert "CATEGORY_NOT_COVERED" in by_category["IC06"]["reasons"]
    table = auditor.run("audit", "search", "--ref", REF, *LOOK, "--outcome", "PARTIAL").stdout
    for word in ("ground CONSENT", grant, "+ IC04 threat", "the consent does not cover the category", "yes"):
        assert word in table
    later = auditor.answer("audit", "search", "--ref", REF, *LOOK, "--since", before)["entries"]
    assert "WITHDRAW_ALL" in {one["act"] for one in later}
    assert "DECISION" not in {one["operation"] for one in later}
    assert auditor.run("audit", "search", "--ref", REF, *LOOK, "--outcome", "MAYBE").returncode == 1
