"""The commands `handslag stream`: what an operator does for a stream on Apache Kafka."""

from __future__ import annotations

import time
from pathlib import Path

import click

from broker import settings
from broker.cli_parts import as_json, config_option, examples, told
from broker.transit import KeyFile, day_of
from schemas.errors import HandslagError


@click.group()
def stream() -> None:
    """The stream on Apache Kafka: its keys and its topic."""


@stream.command(
    "key",
    epilog=examples("handslag stream key --config broker.toml", "handslag stream key --config broker.toml --instead"),
)
@config_option
@click.option("--instead", is_flag=True, help="Every node has lost the file: begin again without what it could open.")
@as_json
def stream_key(config: Path, instead: bool, as_json: bool) -> None:
    """Make the transit key of the first node; further nodes get a copy of a running node's file.

    Submissions in Kafka and content in PostgreSQL lie under the key of a day, and a day's key is destroyed two days
    after it began: keep no copy of the file, in no backup. With --instead senders are asked to seal anew what is open.
    """
    file = settings.load(config).stream.transit_key_file
    if file is None:
        raise HandslagError("HS-SETTINGS-INVALID", field="stream.transit_key_file")
    KeyFile.create(file, day_of(time.time_ns() // 1000), instead=instead)
    told(as_json, {"file": str(file)}, [f"The transit key lies in {file}. Copy it to every other node, nowhere else."])
