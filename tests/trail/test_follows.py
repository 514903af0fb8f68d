"""The verifier on a role that changed hands: same decisions again, and a release to the wrong holder is named."""

import pytest

from tests.consent.making import act, named, terms, to_role
from tests.trail.test_decisions import Case

POLICE, SUCCESSOR = "police_coordination", named("successor")


def case_with(tmp_path, *, follows):
    case = Case(tmp_path / "case.db")
    case.act(act("GRANT", terms=terms(to_role(POLICE, follows=follows), categories=("IC12", "IC13"))), 0)
    return case


@pytest.mark.parametrize("follows", [True, False])
def test_a_release_to_the_new_holder_stands_only_where_the_consent_follows(tmp_path, follows):
    """The broker records the old holder's decision as if it were about the new one."""
    case = case_with(tmp_path, follows=follows)
    decided, number = case.decide("e1", 1, counter_member=SUCCESSOR)
    case.disclose(decided, 2)
    report = case.report()
    if follows:
        assert report.findings == []
        assert report.decided == 1
    else:
        found = {(one.check, one.number, one.part) for one in report.findings}
        assert ("decision", number, "released") in found
        assert {check for check, _, _ in found} == {"decision", "release"}


def test_the_holder_of_the_day_is_whole_either_way(tmp_path):
    for follows in (True, False):
        folder = tmp_path / str(follows)
        folder.mkdir()
        case = case_with(folder, follows=follows)
        decided, _ = case.decide("e1", 1)
        case.disclose(decided, 2)
        assert case.report().findings == []
