"""The `handslag admin` commands: who may sign the operator's acts, signing, carrying out, looking."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from audit.administration import ACT, SIGNERS, missing
from audit.note import Verifier
from broker import actfiles, admitting, keyfiles, settings
from broker.administration import described
from broker.cli_parts import as_json, config_option, examples, told
from broker.pending import Pending
from consent.rules import shipped
from schemas.admin import ADMINISTRATORS, AdminAct, Administrator
from schemas.errors import HandslagError
from schemas.identifiers import shown

UNSIGNED = 4
"""Exit code of a command that drew an act up and waits for signatures: nothing was changed."""


def broker_of(config: Path) -> admitting.Broker:
    """What an act needs to know of the broker; raises what its configuration and key files are refused for."""
    loaded = settings.load(config)
    try:
        # A further node admits nobody and has no authority; every other act may be made there.
        ca_pem = loaded.admission.ca_certificate_file.read_text(encoding="ascii") if loaded.admission else None
    except (OSError, UnicodeDecodeError):
        raise HandslagError("HS-SETTINGS-INVALID", field="admission.ca_certificate_file") from None
    public = keyfiles.log_key(loaded.log_key_file).public_key().public_bytes_raw()
    return admitting.Broker(
        settings=loaded,
        ca_pem=ca_pem,
        log_key=Verifier(loaded.origin, public).vkey(),
        supervisor_key=keyfiles.supervisor_key(loaded.supervisor_key_file),
    )


def ready(broker: admitting.Broker, pending: Pending, draft: Path, json_wanted: bool) -> Pending:
    """The act with the signatures that can be made here; without enough of them it is left in `draft`, exit code 4."""
    signed = admitting.signed_here(broker, pending)
    lacking = missing(signed.signed)
    if not lacking:
        return signed
    signed.save(draft)
    act = described(AdminAct.from_bytes(signed.signed.act, ACT))
    lines = [
        f"Act {act['number']} {act['kind']} {_who(act)}: drawn up.",
        f"It needs {lacking} more signature(s). Carry {draft} to the administrators:",
        f"  handslag admin sign {draft} --key KEYFILE",
        f"  handslag admin carry-out {draft} --config CONFIG",
    ]
    told(json_wanted, {"carried_out": False, "missing": lacking, "draft": str(draft), "act": act}, lines)
    raise SystemExit(UNSIGNED)


@click.group()
def admin() -> None:
    """Sign the operator's acts: two administrators, or nothing happens. Every connector is shown every act."""


@admin.command("key", epilog=examples("handslag admin key on-call.key"))
@click.argument("file", type=click.Path(path_type=Path))
@as_json
def admin_key(file: Path, as_json: bool) -> None:
    """Make an administrator's key in FILE, which stays with that administrator; print its public half."""
    key, pem = keyfiles.new_log_key()
    keyfiles.write_new(file, pem, private=True)
    public = key.public_key().public_bytes_raw().hex()
    told(as_json, {"public": public}, [public])


@admin.command("name", epilog=examples("handslag admin name duty=HEX deputy=HEX --draft name.json"))
@config_option
@click.argument("named", metavar="NAME=PUBLIC-KEY...", nargs=-1, required=True)
@click.option("--draft", type=click.Path(path_type=Path), default=Path("administrators.json"), show_default=True)
@as_json
def admin_name(config: Path, named: tuple[str, ...], draft: Path, as_json: bool) -> None:
    """Say who may sign from now on; two of those named before sign it, the first time two of the new ones.

    NAME is a function (`duty`, `deputy`), never a person's name: every agency is shown it. Exit code 4: drawn up,
    waits for signatures.
    """
    broker = broker_of(config)
    administrators = [_administrator(each) for each in named]
    signed = broker.files.draft(ADMINISTRATORS, _us(), administrators=administrators)
    pending = ready(broker, Pending(signed=signed), draft, as_json)
    carry_out(broker, pending, as_json)


@admin.command("adopt", epilog=examples("handslag admin adopt --config broker.toml"))
@config_option
@click.option("--draft", type=click.Path(path_type=Path), default=Path("adopt.json"), show_default=True)
@as_json
def admin_adopt(config: Path, draft: Path, as_json: bool) -> None:
    """Sign for every unit that an earlier version admitted without signatures."""
    broker = broker_of(config)
    carry_out(broker, ready(broker, admitting.adoption(broker, _now()), draft, as_json), as_json)


@admin.command("rules", epilog=examples("handslag admin rules --config broker.toml"))
@config_option
@click.option("--draft", type=click.Path(path_type=Path), default=Path("rules.json"), show_default=True)
@as_json
def admin_rules(config: Path, draft: Path, as_json: bool) -> None:
    """Let the rules of this installation take force: after an upgrade that brings new ones, before the start.

    The broker does not start on rules that nobody signed for. Exit code 4: drawn up, waits for signatures.
    """
    broker = broker_of(config)
    pending = admitting.rules_in_force(broker, shipped()[1].hash32, _now())
    carry_out(broker, ready(broker, pending, draft, as_json), as_json)


@admin.command("sign", epilog=examples("handslag admin sign admit.json --key on-call.key"))
@click.argument("draft", type=click.Path(path_type=Path, exists=True))
@click.option("--key", type=click.Path(path_type=Path), required=True, help="This administrator's key file.")
@click.option("--config", type=click.Path(path_type=Path), help="The broker's configuration, where it is at hand.")
@click.option("--name", help="Which administrator this is; needed where there is no configuration.")
@as_json
def admin_sign(draft: Path, key: Path, config: Path | None, name: str | None, as_json: bool) -> None:
    """Look at what DRAFT says, and sign it; read it before: this is what every agency will be shown."""
    from dataclasses import replace

    from audit.administration import signature, together

    pending = Pending.load(draft)
    pending.require_named()
    private = actfiles.private_key(key)
    if name is not None:
        made = signature(pending.signed.act, name, private)
        signed = together(pending.signed.act, *pending.signed.signatures, made)
    elif config is not None:
        signed = actfiles.signed_by(pending.signed, private, broker_of(config).files.chain)
    else:
        raise click.UsageError("give --name or --config")
    replace(pending, signed=signed).save(draft)
    act = described(AdminAct.from_bytes(signed.act, ACT))
    lacking = missing(signed)
    about = [f"About the seat {shown(pending.seat)}, ground {act['reason'] or '-'}."] if pending.seat else []
    lines = [f"Signed act {act['number']} {act['kind']}.", *about, f"Missing: {lacking}"]
    told(as_json, {"act": act, "missing": lacking}, lines)


@admin.command("carry-out", epilog=examples("handslag admin carry-out admit.json --config broker.toml"))
@config_option
@click.argument("draft", type=click.Path(path_type=Path, exists=True))
@as_json
def admin_carry_out(config: Path, draft: Path, as_json: bool) -> None:
    """Do what DRAFT says, now that two administrators have signed it."""
    carry_out(broker_of(config), Pending.load(draft), as_json)


@admin.command("list", epilog=examples("handslag admin list --config broker.toml --json"))
@config_option
@as_json
def admin_list(config: Path, as_json: bool) -> None:
    """Every act so far, as every connector is shown it, and who may sign the next."""
    broker = broker_of(config)
    chain = broker.files.chain()
    acts = [AdminAct.from_bytes(each.act, ACT) for each in broker.files.all()]
    missing = admitting.not_carried_out(broker)
    rows = [
        {**described(act), "not_carried_out": [t.unit for t in act.targets if missing.get(t.unit) == t.subject]}
        for act in acts
    ]
    lines = [f"{row['number']:>4}  {row['kind']:15} {_who(row)}{_not_done(row)}" for row in rows]
    names = sorted(chain.administrators)
    told(
        as_json, {"acts": rows, "may_sign": names}, [*lines, f"May sign ({SIGNERS} needed): {', '.join(names) or '-'}"]
    )


def _who(row: dict[str, Any]) -> str:
    return ", ".join(map(str, row["units"] or row["administrators"])) or str(row["rules"] or row["subject"])[:16]


def _not_done(row: dict[str, Any]) -> str:
    return f"  NOT CARRIED OUT: {', '.join(row['not_carried_out'])}" if row["not_carried_out"] else ""


def carry_out(broker: admitting.Broker, pending: Pending, as_json: bool) -> None:
    """Do what the act says, and tell; raises as `admitting.carried_out`."""
    admitting.carried_out(broker, pending, _now())
    act = described(AdminAct.from_bytes(pending.signed.act, ACT))
    told(as_json, {"carried_out": True, "act": act}, [f"Act {act['number']} {act['kind']}: carried out."])


def _administrator(text: str) -> Administrator:
    name, equals, key = text.partition("=")
    try:
        public = bytes.fromhex(key)
    except ValueError:
        public = b""
    if not equals or len(public) != 32:
        raise click.UsageError("NAME=PUBLIC-KEY, the key as 64 hexadecimal digits")
    return Administrator(name=name, signing_key=public)


def _now() -> datetime:
    return datetime.now(UTC)


def _us() -> int:
    return int(_now().timestamp() * 1_000_000)
