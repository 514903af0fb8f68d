"""A connector of the house whose disk is gone, and the same unit set up anew by the documented steps; no backup."""

from __future__ import annotations

import shutil
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from broker import admissions
from connectors import enrolment, rekeying
from connectors.client import Connector
from tests.evil import house as evil
from tests.evil.house import Agency
from tests.rotation.weeks import Weeks


async def disk_lost(case: Weeks, name: str, folder: Path, stack: AsyncExitStack) -> Agency:
    """The agency `name` begins with an empty folder, new unit keys and its agency's key from the safe.

    What is left of the old connector is given back: a thief's copy.
    """
    thief = case.agency(name)
    thief.ctx.settings.database.parent.parent.replace(folder / f"{name}-stolen")
    home = folder / name
    shutil.rmtree(home, ignore_errors=True)
    old = folder / f"{name}-stolen"
    key = old / "keys" / "agency.key"
    enrolment.initialise(home, evil.UNITS[name], key, {})
    core, loaded = case.home.liar._core, case.home.node.settings
    request = admissions.read_request((home / "request.json").read_bytes())
    known = admissions.load_all(loaded.data_dir)
    admission = admissions.admit(request, evil._authority(loaded), known, datetime.now(UTC))
    admissions.save(loaded.data_dir, admission)
    evil.signed_for(loaded, admission)
    await core.record_acts(case.home.node.files.all())
    await core.admit_together([admission])
    answer = (old / "answer.json").read_text()
    import json

    told = {**json.loads(answer), "certificate_pem": admission.certificate_pem}
    (home / "answer.json").write_text(json.dumps(told))
    enrolment.enrol(home / "connector.toml", home / "answer.json")
    listed = folder / "trust.toml"
    enrolment.install_trust(home / "connector.toml", listed, enrolment.fingerprint_of(listed))
    connector = await stack.enter_async_context(Connector(home / "connector.toml"))
    made = Agency(connector)
    made.ahead_us = thief.ahead_us
    case.home.agencies[name] = made
    return thief


def lost_seats(agency: Agency) -> list[dict[str, Any]]:
    return rekeying.listed(agency.ctx)


def asked(agency: Agency) -> dict[str, Any]:
    """The newest request for a signature that an agency was shown."""
    found: dict[str, Any] = agency.files("receipts", kind="rekey_asked")[-1]
    return found


async def rekeyed(case: Weeks, name: str, signers: tuple[str, str]) -> str:
    """The whole procedure for one lost seat; returns its id."""
    me = case.agency(name)
    await case.settle(2)
    [row] = lost_seats(me)
    me.command(do="rekey_ask", seat=row["seat"], actor_ref="IT 1")
    await case.settle(2)
    aloud = lost_seats(me)[0]["read_aloud"]
    for signer in signers:
        agency = case.agency(signer)
        agency.command(do="rekey_sign", request=asked(agency)["request"], heard=aloud, actor_ref="handläggare 2")
        await case.settle(1)
    back = case.agency(signers[0]).files("receipts", kind="result", do="rekey_sign")[-1]["read_aloud"]
    me.command(do="rekey_compare", seat=row["seat"], heard=back, actor_ref="IT 1")
    await case.settle(3)
    return str(row["seat"])
