"""The commands `handslag stream init`, `check` and `acls`: the topic in Apache Kafka, and who may touch it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from broker import settings
from broker.cli_parts import as_json, config_option, examples, told
from broker.engine_settings import StreamSettings
from broker.stream import acls, kafka_setup, topic
from broker.stream_cli import stream
from schemas.errors import HandslagError

__all__ = ["stream"]

_PATH = click.Path(path_type=Path)
_admin_file = click.option(
    "--command-config",
    default="admin.properties",
    show_default=True,
    help="The file by which Kafka's own tools present themselves, for the lines that are written.",
)


def _as(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of a command that may act under another certificate than the node's."""
    key = click.option("--as-key", type=_PATH, help="The key of --as-certificate.")
    certificate = click.option(
        "--as-certificate", type=_PATH, help="Ask as whoever administers Kafka, not as the node."
    )
    return certificate(key(command))


@stream.command("init", epilog=examples("handslag stream init --as-certificate admin.pem --as-key admin.key",
                                        "handslag stream init --lines"))  # fmt: skip
@config_option
@_as
@click.option("--lines", is_flag=True, help="Ask no server: write the line for whoever administers Kafka.")
@_admin_file
@as_json
def stream_init(
    config: Path,
    as_certificate: Path | None,
    as_key: Path | None,
    lines: bool,
    command_config: str,
    as_json: bool,
) -> None:
    """Make the topic of submissions if there is none; one that differs is shown and refused, never changed."""
    of = _settings(config, as_certificate, as_key)
    must = topic.wanted(of)
    if lines:
        line = topic.creating(must, of.bootstrap[0], command_config)
        told(as_json, {"topic": must.name, "line": line}, [line])
        return
    found = asyncio.run(kafka_setup.look(of))
    made = found is None
    if found is None:
        found = asyncio.run(kafka_setup.make(of, must))
    _report(of, found, command_config, as_json, made=made)


@stream.command("check", epilog=examples("handslag stream check --config broker.toml", "handslag stream check --json"))
@config_option
@_as
@_admin_file
@as_json
def stream_check(
    config: Path, as_certificate: Path | None, as_key: Path | None, command_config: str, as_json: bool
) -> None:
    """Look whether the topic is as it must be, has copies enough in sync, and lets this certificate do its work.

    Changes nothing. `handslag doctor` looks at the same on the node itself.
    """
    of = _settings(config, as_certificate, as_key)
    found = asyncio.run(kafka_setup.look(of))
    if found is None:
        raise HandslagError("HS-STREAM-OTHER", check="topic")
    _report(of, found, command_config, as_json, made=False)
    missing = asyncio.run(kafka_setup.missing_rights(of))
    if missing:
        raise HandslagError("HS-STREAM-FORBIDDEN", check=", ".join(missing))


@stream.command(
    "acls",
    epilog=examples("handslag stream acls --config broker.toml", "handslag stream acls --principal User:CN=node-2"),
)
@config_option
@click.option("--principal", "principals", multiple=True, help="A node's name as Kafka writes it; may be repeated. "
              "[default: the name in certificate_file]")  # fmt: skip
@_admin_file
@as_json
def stream_acls(config: Path, principals: tuple[str, ...], command_config: str, as_json: bool) -> None:
    """Write the line that grants broker nodes their one topic, for whoever administers Kafka to run.

    Everybody else has nothing: the servers refuse whoever is not named in a grant.
    """
    of = _settings(config, None, None)
    named = list(principals) or [_named(of)]
    line = acls.line(of.topic, named, of.bootstrap[0], command_config)
    told(as_json, {"topic": of.topic, "principals": named, "operations": list(acls.OPERATIONS), "line": line}, [line])


def _settings(config: Path, certificate: Path | None, key: Path | None) -> StreamSettings:
    of = settings.load(config).stream
    if of.engine != "kafka":
        raise HandslagError("HS-STREAM-NOT-KAFKA")
    if (certificate is None) != (key is None):
        raise click.UsageError("--as-certificate and --as-key go together")
    return of if certificate is None else of.model_copy(update={"certificate_file": certificate, "key_file": key})


def _named(of: StreamSettings) -> str:
    try:
        return acls.principal((of.certificate_file or Path()).read_bytes())
    except OSError:
        raise HandslagError("HS-SETTINGS-INVALID", field="stream.certificate_file") from None


def _report(of: StreamSettings, found: topic.Found, command_config: str, json_wanted: bool, *, made: bool) -> None:
    """Say what is there; raises `HS-STREAM-OTHER`, `HS-STREAM-COPIES` after it was said."""
    must = topic.wanted(of)
    differ = topic.differences(must, found)
    mending = topic.mending(must, differ, of.bootstrap[0], command_config)
    thin = sum(each < of.min_insync_replicas for each in found.in_sync)
    data = {
        "topic": must.name,
        "topic_id": found.topic_id.hex(),
        "made": made,
        "partitions": len(found.copies),
        "copies": min(found.copies, default=0),
        "in_sync": min(found.in_sync, default=0),
        "without_leader": found.leaderless,
        "refusing_writes": thin,
        "differences": [{"name": d.name, "wanted": d.wanted, "found": d.found, "why": d.why} for d in differ],
        "line": mending,
    }
    lines = [
        f"{must.name}: {'made' if made else 'is there'}; {data['partitions']} partitions, {data['copies']} copies, "
        f"{data['in_sync']} in sync where they are fewest; {thin} partitions refuse writes."
    ]
    lines += [f"  {d.name} is {d.found or 'not set'}, must be {d.wanted}: {d.why}" for d in differ]
    lines += [f"  {mending}"] if mending else []
    told(json_wanted, data, lines)
    if differ:
        raise HandslagError("HS-STREAM-OTHER", check=", ".join(each.name for each in differ))
    if thin or found.leaderless:
        raise HandslagError("HS-STREAM-COPIES")
