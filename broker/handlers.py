"""What the operator's commands may ask of the running node, over its local socket."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from audit.administration import Acts
from broker import admissions, backup, control, resolving
from broker.actfiles import ActFiles
from broker.administration import refused, require_admitted
from broker.context import Context
from broker.continuing import Continuing
from broker.core import BrokerCore
from broker.erasing import Eraser
from broker.settings import BrokerSettings
from broker.sharing import live
from schemas.errors import HandslagError

_Handlers = Mapping[str, control.Handler]


@dataclass(frozen=True, slots=True)
class Served:
    """What of a node its commands work on."""

    settings: BrokerSettings
    context: Context
    files: ActFiles
    continuing: Continuing
    eraser: Eraser


def handlers(core: BrokerCore, served: Served) -> _Handlers:
    """Every command of the node by name."""
    return {
        **_admissions(core, served.context, served.files),
        **_looks(core, served.context),
        **_hold(core, served.continuing, served.files),
        **_backup(served.settings),
        **_erase(core, served),
    }


async def admit(core: BrokerCore, chain: Acts, admission: admissions.Admission) -> None:
    """Take one admission in when two administrators have signed it; raises `HS-ADMIN-UNSIGNED`."""
    if admission.revoked_at_us is None:
        require_admitted(chain, admission.unit, admissions.subject(admission))
    await core.admit(admission)


def _admissions(core: BrokerCore, context: Context, files: ActFiles) -> _Handlers:
    async def look() -> Acts:
        await core.record_acts(files.all())
        return files.chain()

    async def acts(_arguments: Mapping[str, Any]) -> dict[str, Any]:
        return {"acts": (await look()).count}

    async def admit_together(arguments: Mapping[str, Any]) -> dict[str, Any]:
        several = [admissions.Admission.from_json(each) for each in arguments["admissions"]]
        chain = await look()
        for each in several:
            require_admitted(chain, each.unit, admissions.subject(each))
        try:
            await core.admit_together(several)
        except HandslagError as error:
            await refused(context, files.all(), (each.unit for each in several), error.code)
            raise
        return {"units": len(several)}

    async def revoke(arguments: Mapping[str, Any]) -> dict[str, Any]:
        if (await look()).admitted.get(str(arguments["unit"])) is not None:
            raise HandslagError("HS-ADMIN-UNSIGNED", check="unit")
        return {"revoked": await core.revoke(str(arguments["unit"]))}

    return {"acts": acts, "admit_together": admit_together, "revoke": revoke}


def _looks(core: BrokerCore, context: Context) -> _Handlers:
    async def contacts(_arguments: Mapping[str, Any]) -> dict[str, Any]:
        return {"contacts": [asdict(row) for row in context.contacts.all()]}

    async def instances(_arguments: Mapping[str, Any]) -> dict[str, Any]:
        return {unit: {"instance": n, "raised_at_us": at_us} for unit, (n, at_us) in (await core.instances()).items()}

    async def seat_unit(arguments: Mapping[str, Any]) -> dict[str, Any]:
        return await resolving.told(context, arguments)

    return {"contacts": contacts, "instances": instances, "seat_unit": seat_unit}


def _hold(core: BrokerCore, continuing: Continuing, files: ActFiles) -> _Handlers:
    async def status(_arguments: Mapping[str, Any]) -> dict[str, Any]:
        missing = await continuing.missing()
        return {
            **await core.keeper.status(),
            "origin": continuing.origin,
            "missing": missing,
            "acts": files.chain().count,
            "acts_seen": core.acts_seen,
        }

    async def go_on(_arguments: Mapping[str, Any]) -> dict[str, Any]:
        signed = await continuing.go_on()
        return {"statement": signed.statement.hex(), "signature": signed.signature.hex()}

    return {"hold-status": status, "hold-continue": go_on}


def _backup(settings: BrokerSettings) -> _Handlers:
    progress = backup.Progress()

    async def take(arguments: Mapping[str, Any]) -> dict[str, Any]:
        # Only the copy: verifying is work for the command's own process, and would be felt here.
        await asyncio.to_thread(backup.copy, settings, Path(str(arguments["target"])), progress)
        return {}

    async def told(_arguments: Mapping[str, Any]) -> dict[str, Any]:
        return {"done": progress.done, "total": progress.total}

    return {"backup": take, "backup-progress": told}


def _erase(core: BrokerCore, served: Served) -> _Handlers:
    eraser, files = served.eraser, served.files

    async def named(arguments: Mapping[str, Any]) -> dict[str, Any]:
        found = await eraser.named(bytes.fromhex(str(arguments["seat_id"])))
        return {"salt": found.salt.hex(), "subject": found.subject.hex()}

    async def free(arguments: Mapping[str, Any]) -> dict[str, Any]:
        await eraser.require_free(bytes.fromhex(str(arguments["seat_id"])), str(arguments["ground"]))
        return {}

    async def go_on(_arguments: Mapping[str, Any]) -> dict[str, Any]:
        await core.record_acts(files.all())
        return {"acts": [row.shown() for row in await eraser.go_on()]}

    async def status(_arguments: Mapping[str, Any]) -> dict[str, Any]:
        rows = await served.context.store.read(lambda rows: rows.erasures.all())
        vault = served.context.recorder.vault
        epoch, holding = await asyncio.to_thread(lambda: (vault.epoch(), vault.holding()))
        return {"acts": [row.shown() for row in rows.values()], "root_key_epoch": epoch,
                "waits_for": [asdict(each) for each in holding]}  # fmt: skip

    async def retire(arguments: Mapping[str, Any]) -> dict[str, Any]:
        name = str(arguments["node"])
        now_us = served.context.now_us()
        if name in live(await served.context.store.read(lambda rows: rows.shared.nodes()), now_us):
            raise HandslagError("HS-NODE-SERVES")
        if not await asyncio.to_thread(served.context.recorder.vault.retire, name):
            raise HandslagError("HS-NODE-UNKNOWN")
        return {}

    return {"erase-named": named, "erase-free": free, "erase-go-on": go_on, "erase-status": status,
            "erase-retire": retire}  # fmt: skip
