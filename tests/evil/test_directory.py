"""A broker and one agency that name a key for another agency's unit; a broker that hands out the list of last year."""

from __future__ import annotations

import dataclasses

import pytest

from connectors import trust
from connectors.enrolment import load_agency_key
from connectors.keys import UnitKeyPair
from connectors.trust import signed_unit
from schemas.statements import UnitEntry
from tests.evil.house import UNITS, directory_with
from tests.evil.test_evil_broker import invite, opened

POLICE_UNIT = UNITS["police"].unit


def key_of(home, name):
    """The agency's own signing key, as its IT keeps it."""
    return load_agency_key(home.agencies[name].ctx.settings.unit_signing_key.parent / "agency.key")


@pytest.mark.parametrize("defended", [True, False])
async def test_no_agency_names_keys_for_the_unit_of_another(home, defended, monkeypatch):
    """Social services' own genuine key, listed and trusted, signs an entry for the police; the true one is left out."""
    if not defended:
        monkeypatch.setattr(trust, "vouches", lambda *_: True)
    keys = UnitKeyPair.generate()

    def swapped(each):
        entry = UnitEntry.from_bytes(each.entry)
        if entry.unit != POLICE_UNIT:
            return each
        public = keys.public
        entry = dataclasses.replace(
            entry, agency=UNITS["social"].agency, signing_key=public.signing, hpke_key=public.hpke
        )
        return signed_unit(entry, key_of(home, "social"))

    async def lie(honest, *_asked):
        return directory_with(await honest(), swapped)

    home.liar.lies["units"] = lie
    await opened(home)
    invite(home)
    await home.settle()
    assert (keys.key_id in home.liar.sealed_to()) is not defended
    if defended:
        assert home.liar.invitations == []
        assert "HS-KEY-UNTRUSTED" in home.social.failed


@pytest.mark.parametrize("defended", [True, False])
async def test_an_old_directory_is_not_used(home, defended, monkeypatch):
    """The police took new keys; the broker hands out the entry with the old ones, which somebody stole."""
    if not defended:
        monkeypatch.setattr(trust, "check_not_older", lambda *_: None)
    new = UnitKeyPair.generate().public

    def renewed(each):
        entry = UnitEntry.from_bytes(each.entry)
        if entry.unit != POLICE_UNIT:
            return each
        entry = dataclasses.replace(
            entry, signing_key=new.signing, hpke_key=new.hpke, valid_from_us=entry.valid_from_us + 1
        )
        return signed_unit(entry, key_of(home, "police"))

    async def told(honest, *_asked):
        return directory_with(await honest(), renewed)

    home.liar.lies["units"] = told
    await opened(home)
    assert home.social.ctx.units().keys(POLICE_UNIT, home.social.ctx.now()) == new
    home.liar.lies.clear()  # what the honest broker of this house tells is the old list now
    await home.settle(2)
    used = home.social.ctx.units().keys(POLICE_UNIT, home.social.ctx.now())
    assert (used == new) is defended
    alarms = [f["code"] for f in home.social.files("receipts", kind="alarm") if f["code"] != "HS-ADMIN-UNSIGNED"]
    assert alarms == (["HS-DIRECTORY-OLD"] if defended else [])
    if defended:
        invite(home)
        await home.settle(1)
        assert home.police.ctx.unit_keys.key_id not in home.liar.sealed_to()
        assert new.key_id in home.liar.sealed_to()
