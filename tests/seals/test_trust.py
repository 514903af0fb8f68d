"""The trust list counts with two agencies' signatures and the configured fingerprint only."""

from dataclasses import replace

import pytest

from connectors.trust import (
    TrustList,
    check_not_older,
    directory,
    newest,
    parse,
    rendered,
    signed_by,
    signed_unit,
    spoken,
    trusted,
)
from schemas.statements import TrustedAgency, TrustStatement, UnitEntry
from tests.seals.forge import flipped
from tests.seals.world import DAY, NOW, refused, unit_keys

POLIS, KOMMUN, KRIMINALVARD = "POL-EXEMPEL", "SOC-EXEMPEL", "KV-EXEMPEL"


def agency(code):
    return unit_keys(f"agency {code}")


def statement(*codes, **changes):
    agencies = tuple(TrustedAgency(agency=code, signing_key=agency(code).public.signing) for code in codes)
    values = {
        "origin": 'exempel.invalid/"logg"\n',
        "log_key": "exempel.invalid+00000000+AAAA",
        "agencies": agencies,
        "supervisor_key": unit_keys("supervisor").public.hpke,
    }
    return TrustStatement(**{**values, **changes})


def trust_list(*signers, codes=(POLIS, KOMMUN, KRIMINALVARD)):
    listed = TrustList(statement(*codes), {})
    for code in signers:
        listed = signed_by(listed, code, agency(code))
    return listed


def entry(unit="KV/EXEMPEL/AA", code=KRIMINALVARD, **changes):
    keys = unit_keys(unit).public
    values = {
        "unit": unit,
        "agency": code,
        "controller": "EXEMPEL",
        "roles": ("prison_probation",),
        "signing_key": keys.signing,
        "hpke_key": keys.hpke,
        "valid_from_us": NOW - DAY,
        "valid_until_us": NOW + DAY,
    }
    return UnitEntry(**{**values, **changes})


def trust():
    listed = trust_list(POLIS, KOMMUN)
    return trusted(listed, listed.fingerprint.hex())


def test_a_list_signed_by_two_agencies_is_trusted():
    listed = trust_list(POLIS, KOMMUN)
    again = parse(rendered(listed))
    assert again == listed
    for spelling in (listed.fingerprint.hex(), spoken(listed.fingerprint), spoken(listed.fingerprint).upper()):
        assert trusted(again, spelling).origin == listed.statement.origin
    assert spoken(bytes(range(32))).splitlines()[0] == "0001 0203 0405 0607"
    assert trust().agency_key(POLIS) == agency(POLIS).public.signing
    assert trust().agency_key("OTHER") is None
    assert trust().log_key.startswith("exempel")


def test_the_operator_alone_cannot_make_a_trust_list():
    one = trust_list(POLIS)
    assert refused(trusted, one, one.fingerprint.hex()) == ("HS-TRUST-INVALID", "signers")
    key = agency(POLIS).public.signing
    doubled = TrustList(
        statement(agencies=tuple(TrustedAgency(agency=code, signing_key=key) for code in (POLIS, KOMMUN))), {}
    )
    for code in (POLIS, KOMMUN):
        doubled = signed_by(doubled, code, agency(POLIS))
    assert refused(trusted, doubled, doubled.fingerprint.hex()) == ("HS-TRUST-INVALID", "agencies")
    own = trust_list("OPERATOR-A", "OPERATOR-B", codes=("OPERATOR-A", "OPERATOR-B"))
    assert refused(trusted, own, trust_list(POLIS, KOMMUN).fingerprint.hex()) == ("HS-TRUST-INVALID", "fingerprint")


def test_every_signature_must_hold_and_be_of_a_listed_agency():
    listed = trust_list(POLIS, KOMMUN)
    told = listed.fingerprint.hex()
    for signatures in (
        {**listed.signatures, POLIS: flipped(listed.signatures[POLIS])},
        {**listed.signatures, "OTHER": bytes(64)},
        {POLIS: listed.signatures[KOMMUN], KOMMUN: listed.signatures[POLIS]},
    ):
        assert refused(trusted, replace(listed, signatures=signatures), told) == ("HS-TRUST-INVALID", "signature")
    assert refused(signed_by, listed, "OTHER", agency(POLIS))[0] == "HS-TRUST-INVALID"
    assert refused(signed_by, listed, POLIS, agency(KOMMUN))[0] == "HS-TRUST-INVALID"


@pytest.mark.parametrize("change", ["origin", "log_key", "supervisor_key", "agency"])
def test_any_other_content_has_another_fingerprint(change):
    listed = trust_list(POLIS, KOMMUN)
    text = rendered(listed)
    lines = text.splitlines()
    if change == "agency":
        changed = text.replace(agency(KRIMINALVARD).public.signing.hex(), agency("evil").public.signing.hex())
    else:
        at = next(n for n, line in enumerate(lines) if line.startswith(change))
        lines[at] = lines[at][:-2] + ("0" if lines[at][-2] != "0" else "1") + '"'
        changed = "\n".join(lines)
    assert changed != text
    assert refused(trusted, parse(changed), listed.fingerprint.hex()) == ("HS-TRUST-INVALID", "fingerprint")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text + "\nsecret = 1\n",
        lambda text: "unknown = 1\n" + text,
        lambda text: "not toml",
        lambda text: text.replace("origin", "# origin"),
        lambda text: text.replace('supervisor_key = "', 'supervisor_key = "00'),
        lambda text: text.replace('supervisor_key = "', 'supervisor_key = "zz'),
        lambda text: text + text[text.rindex("[[signature]]") :],
        lambda text: 'agency = "x"\n' + text.replace("[[agency]]", "[[signature]]"),
    ],
)
def test_a_file_of_another_form_is_refused(spoil):
    text = rendered(trust_list(POLIS, KOMMUN))
    assert parse(text)
    assert refused(parse, spoil(text))[0] == "HS-TRUST-INVALID"


def test_the_directory_takes_what_the_agency_signed():
    units = [signed_unit(entry(), agency(KRIMINALVARD)), signed_unit(entry("POL/EXEMPEL/AA", POLIS), agency(POLIS))]
    found = directory([*units, units[0]], trust())
    assert found.unit("KV/EXEMPEL/AA", NOW).roles == ("prison_probation",)
    assert found.keys("KV/EXEMPEL/AA", NOW) == unit_keys("KV/EXEMPEL/AA").public
    assert found.unlisted == 0
    assert refused(found.unit, "KV/EXEMPEL/BB", NOW) == ("HS-KEY-UNTRUSTED", "unit")
    for at in (NOW - DAY - 1, NOW + DAY + 1):
        assert refused(found.unit, "KV/EXEMPEL/AA", at)[0] == "HS-KEY-EXPIRED"


def test_a_directory_entry_of_the_brokers_making_is_refused():
    evil = entry(signing_key=unit_keys("evil").public.signing, hpke_key=unit_keys("evil").public.hpke)
    for signer in ("evil", POLIS):
        forged = signed_unit(evil, agency(signer))
        assert refused(directory, [forged], trust()) == ("HS-KEY-UNTRUSTED", "unit-signature")
    unlisted = directory([signed_unit(replace(evil, agency="EVIL"), agency("evil"))], trust())
    assert (unlisted.unlisted, dict(unlisted.entries)) == (1, {})
    assert directory([signed_unit(entry(), agency(KRIMINALVARD))], trust()).entries


def test_two_entries_for_one_unit_at_once_are_an_equivocation():
    other = entry(signing_key=unit_keys("other").public.signing, valid_from_us=NOW)
    found = directory([signed_unit(each, agency(KRIMINALVARD)) for each in (entry(), other)], trust())
    assert refused(found.unit, "KV/EXEMPEL/AA", NOW)[0] == "HS-EQUIVOCATION"
    assert found.unit("KV/EXEMPEL/AA", NOW - 1) == entry()


def test_no_agency_signs_for_a_unit_under_anothers_code():
    """POL is the police's code and KV/EXEMPEL one region's; a code that begins no unit code speaks for the rest."""
    codes = ("POL", "KV/EXEMPEL", "KOMMUNEN")
    listed = trust_list("POL", "KOMMUNEN", codes=codes)
    known = trusted(listed, listed.fingerprint.hex())
    allowed = {("POL/EXEMPEL/AA", "POL"), ("KV/EXEMPEL/AA", "KV/EXEMPEL"), ("SOC/EXEMPEL/AA", "KOMMUNEN")}
    for unit in ("POL/EXEMPEL/AA", "KV/EXEMPEL/AA", "SOC/EXEMPEL/AA"):
        for code in codes:
            signed = [signed_unit(entry(unit, code), agency(code))]
            if (unit, code) in allowed:
                assert directory(signed, known).unit(unit, NOW).agency == code
            else:
                assert refused(directory, signed, known) == ("HS-KEY-UNTRUSTED", "unit-agency")
    region = trust_list("POL", "POL/EXEMPEL", codes=("POL", "POL/EXEMPEL"))
    both = trusted(region, region.fingerprint.hex())
    assert directory([signed_unit(entry("POL/EXEMPEL/AA", "POL/EXEMPEL"), agency("POL/EXEMPEL"))], both).entries
    above = signed_unit(entry("POL/EXEMPEL/AA", "POL"), agency("POL"))
    assert refused(directory, [above], both) == ("HS-KEY-UNTRUSTED", "unit-agency")  # the longest code speaks


def test_an_older_entry_of_a_unit_is_not_used():
    old, new = entry(), entry(signing_key=unit_keys("new").public.signing, valid_from_us=NOW)
    first, second = (directory([signed_unit(each, agency(KRIMINALVARD))], trust()) for each in (old, new))
    seen = newest(second)
    assert refused(check_not_older, first, seen)[0] == "HS-DIRECTORY-OLD"
    check_not_older(second, newest(first))
    check_not_older(second, seen)
    check_not_older(directory([], trust()), seen)  # a unit that is gone is only not invited


def test_an_entry_that_is_over_ends_the_ones_before_it():
    ended = entry(valid_from_us=NOW - 10, valid_until_us=NOW - 5)
    found = directory([signed_unit(each, agency(KRIMINALVARD)) for each in (entry(), ended)], trust())
    assert refused(found.unit, "KV/EXEMPEL/AA", NOW)[0] == "HS-KEY-EXPIRED"
    assert found.unit("KV/EXEMPEL/AA", NOW - 20) == entry()


def test_a_directory_entry_must_be_well_formed():
    for changes, code in (({"unit": "kv exempel"}, "HS-IDENTIFIER-INVALID"), ({"hpke_key": b"x"}, "HS-KEY-UNTRUSTED")):
        signed = signed_unit(entry(**changes), agency(KRIMINALVARD))
        assert refused(directory, [signed], trust())[0] == code
