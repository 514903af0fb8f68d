"""The command `handslag`: one front door, groups mounted by who uses them and loaded only when called.

Exit codes, the same everywhere: 0 done, 1 failed with a code of the registry on stderr, 2 wrong usage.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import os
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

HOME = Path(__file__).resolve().parent
PACKAGES = ("schemas", "consent", "audit", "connectors", "broker")
_BROKER_NEEDS = ("sqlalchemy", "alembic", "prometheus_client")


@dataclass(frozen=True, slots=True)
class Mount:
    """One command: `module:attribute`, a line of help shown without loading it, and libraries it cannot do without."""

    target: str
    text: str
    needs: tuple[str, ...] = ()


MOUNTS = {
    "demo": Mount("deploy.demo:demo", "Play one whole case between real connectors and a real broker.", _BROKER_NEEDS),
    "init": Mount("broker.cli:init", "Operator: create a broker's folder.", _BROKER_NEEDS),
    "serve": Mount("broker.cli:serve", "Operator: run the broker.", _BROKER_NEEDS),
    "config": Mount("broker.cli:config", "Operator: check the configuration.", _BROKER_NEEDS),
    "probe": Mount("deploy.probe:probe", "Operator: a standing test case: does anything move?", _BROKER_NEEDS),
    "agency": Mount("broker.cli:agency", "Operator: admit and revoke units of agencies.", _BROKER_NEEDS),
    "admin": Mount("broker.admin_cli:admin", "Operator: have two administrators sign what is done.", _BROKER_NEEDS),
    "seat": Mount("broker.seat_cli:seat", "Operator: which unit sits in a seat, on record.", _BROKER_NEEDS),
    "trail": Mount("broker.seat_cli:trail", "Operator: copy the audit trail for whoever verifies it.", _BROKER_NEEDS),
    "node": Mount("broker.node_cli:node", "Operator: the nodes that share one store.", _BROKER_NEEDS),
    "store": Mount("broker.store_cli:store", "Operator: the tables of the store.", _BROKER_NEEDS),
    "stream": Mount("broker.topic_cli:stream", "Operator: the stream on Apache Kafka.", _BROKER_NEEDS),
    "doctor": Mount("broker.cli:doctor_command", "Operator: find what is wrong.", _BROKER_NEEDS),
    "backup": Mount("broker.backup_cli:backup", "Operator: copy a running broker.", _BROKER_NEEDS),
    "restore": Mount("broker.backup_cli:restore", "Operator: put a copy back; starts in HOLD.", _BROKER_NEEDS),
    "hold": Mount("broker.backup_cli:hold", "Operator: what is held after a restore, and going on.", _BROKER_NEEDS),
    "erase": Mount("broker.erase_cli:erase", "Operator: forget what the broker holds about one seat.", _BROKER_NEEDS),
    "connector": Mount("connectors.statute_cli:connector", "Agency IT: set up and run a connector."),
    "rules": Mount("handslag:rules", "Lawyer, operator, agency IT: change which role may send what to which."),
    "case": Mount("connectors.case_cli:case", "Officer: two cases of one person: join them, or undo that."),
    "consent": Mount("connectors.record_cli:consent", "Auditor: consents, their history, and what would be decided."),
    "audit": Mount("connectors.recipient_cli:audit", "Auditor: search, export and verify the trail."),
}


RULES = {
    "check": Mount("connectors.rules_cli:check_command", "Anyone: examine a rule file."),
    "diff": Mount("connectors.rules_cli:diff_command", "Anyone: what a new rule file opens and closes."),
    "propose": Mount("broker.rules_cli:propose", "Operator: put a rule file before every agency.", _BROKER_NEEDS),
    "activate": Mount("broker.rules_cli:activate", "Operator: put a proposed rule set in force.", _BROKER_NEEDS),
    "simulate": Mount("connectors.simulating_cli:simulate_command", "Agency: what it would have changed."),
    "list": Mount("connectors.approving_cli:list_command", "Agency: proposed rule sets, and what is in force here."),
    "approve": Mount("connectors.approving_cli:approve_command", "Agency: let a rule set open what it opens."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called, so that a connector needs no broker to start."""

    mounts: Mapping[str, Mount] = MOUNTS

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - the signature is click's
        """Names in the order of the mounts."""
        return list(self.mounts)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Load a mounted command; raises `HS-PARTS-MISSING` when this installation lacks something it needs."""
        mount = self.mounts.get(cmd_name)
        if mount is None:
            return None
        return loaded(mount)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands from the table, without loading any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, mount.text) for name, mount in self.mounts.items()])


class RulesGroup(LazyGroup):
    """One group for three parties: each command comes from the side whose business it is."""

    mounts = RULES


def loaded(mount: Mount) -> click.Command:
    """The command behind a mount; raises `HS-PARTS-MISSING`."""
    from schemas.errors import HandslagError

    # INVARIANT: test_a_connector_only_installation_still_starts
    if not all(map(_installed, mount.needs)):
        raise HandslagError("HS-PARTS-MISSING")
    module, _, attribute = mount.target.partition(":")
    try:
        command = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as missing:
        if missing.name is None or not f"{module}.".startswith(f"{missing.name}."):
            raise  # a fault inside the module, not its absence
        raise HandslagError("HS-PARTS-MISSING") from None
    assert isinstance(command, click.Command)
    return command


def _installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def version() -> str:
    """The distribution's version; in a bare clone the one that pyproject.toml names."""
    clone = HOME / "pyproject.toml"
    if clone.is_file():
        return str(tomllib.loads(clone.read_text(encoding="utf-8"))["project"]["version"])
    return importlib.metadata.version("handslag")


def check_packages() -> None:
    """Refuse to start when one of the flat top-level packages is somebody else's; raises `HS-PARTS-FOREIGN`.

    Ours lie beside this file, in a clone as in an installation.
    """
    # INVARIANT: test_a_foreign_package_of_the_same_name_is_refused
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        places = [] if spec is None else [Path(place).resolve() for place in spec.submodule_search_locations or ()]
        if places and places != [HOME / name]:
            from schemas.errors import HandslagError

            raise HandslagError("HS-PARTS-FOREIGN", package=name)


def _language() -> str:
    spoken = next(filter(None, (os.environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))), "")
    return "sv" if spoken.lower().startswith("sv") else "en"


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="\b\nExamples:\n  handslag demo\n  handslag connector --help\n  handslag --lang sv doctor --json",
)
@click.option(
    "--lang",
    type=click.Choice(["sv", "en"]),
    help="Language of errors and answers.  [default: errors the system's, answers Swedish]",
)
@click.version_option(version(), prog_name="handslag")
@click.pass_context
def front(ctx: click.Context, lang: str | None) -> None:
    """Messages about a person only under that person's consent, and a trail that shows it."""
    ctx.obj = {"lang": lang or _language()}


@click.group(
    cls=RulesGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="\b\nExamples:\n  handslag rules check 2026-12-01.toml\n  handslag rules diff OLD.toml NEW.toml --json",
)
def rules() -> None:
    """Change the dated rules: examined, compared, proposed, approved by each discloser, put in force."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    argv = sys.argv[1:] if arguments is None else arguments
    try:
        from schemas.errors import HandslagError
    except ImportError:
        sys.exit("handslag: its own package `schemas` is missing or another's; install it in its own environment")
    try:
        check_packages()
        code = front.main(args=argv, prog_name="handslag", standalone_mode=False)
    except HandslagError as error:
        sys.exit(_failed(error, argv))
    except click.ClickException as usage:
        usage.show()
        sys.exit(usage.exit_code)
    except click.Abort:
        sys.exit(1)
    except Exception as fault:  # noqa: BLE001 - the outermost door: a traceback would quote what the program held
        cause = _first(fault)
        if not isinstance(cause, HandslagError):
            cause = HandslagError("HS-FAULT", exception=type(cause).__name__, at=_place(cause))
        sys.exit(_failed(cause, argv))
    # Without standalone mode click hands back the code of `ctx.exit` instead of leaving.
    sys.exit(code if isinstance(code, int) else 0)


def _first(fault: BaseException) -> BaseException:
    """What ended a task group is its first member; the others were cancelled because of it."""
    return _first(fault.exceptions[0]) if isinstance(fault, BaseExceptionGroup) else fault


def _place(fault: BaseException) -> str:
    """Module and line where a fault arose, and nothing of what was there."""
    trace = fault.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "unknown" if trace is None else f"{trace.tb_frame.f_globals.get('__name__', '?')}:{trace.tb_lineno}"


def _failed(error: Any, argv: list[str]) -> int:
    """Tell a failure on stderr, as JSON where JSON was asked for; returns the exit code."""
    lang = _asked_language(argv)
    if "--json" in argv:
        entry = error.entry
        sentence, step = (entry.sv, entry.next_sv) if lang == "sv" else (entry.en, entry.next_en)
        data = {"code": error.code, "error": sentence, "next": step, "retriable": entry.retriable}
        click.echo(json.dumps({**data, "context": error.context}, ensure_ascii=False), err=True)
    else:
        click.echo(error.diagnostics(lang), err=True)
    return 1


def _asked_language(argv: list[str]) -> str:
    for given, following in zip(argv, [*argv[1:], ""], strict=True):
        if given in {"--lang=sv", "--lang=en"}:
            return given[-2:]
        if given == "--lang" and following in {"sv", "en"}:
            return following
    return _language()


if __name__ == "__main__":
    main()
