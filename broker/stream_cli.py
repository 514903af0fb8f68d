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


@stream.command("key", epilog=examples("handslag stream key --config broker.toml"))
@config_option
@as_json
def stream_key(config: Path, as_json: bool) -> None:
    """Make the transit key of the first node; further nodes get a copy of a running node's file.

    Submissions lie encrypted in Kafka under the key of their day, and a day's key is destroyed two days after it began:
    keep no copy of the file, in no backup.
    """
    file = settings.load(config).stream.transit_key_file
    if file is None:
        raise HandslagError("HS-SETTINGS-INVALID", field="stream.transit_key_file")
    KeyFile.create(file, day_of(time.time_ns() // 1000))
    told(as_json, {"file": str(file)}, [f"The transit key lies in {file}. Copy it to every other node, nowhere else."])
