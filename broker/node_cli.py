"""Commands about the nodes of one store: `handslag node status`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from broker import control, settings
from broker.cli_parts import as_json, config_option, examples, told
from schemas.errors import HandslagError


@click.group()
def node() -> None:
    """Look at the nodes that share one store."""


@node.command("status", epilog=examples("handslag node status --config broker.toml", "handslag node status --json"))
@config_option
@as_json
def status(config: Path, as_json: bool) -> None:
    """List the nodes of the store: which of them are there, which one leads, what version each runs.

    Asks the running node of this configuration. Raises HS-STORE-ALONE where the store is a file.
    """
    loaded = settings.load(config)
    if loaded.store.engine == "sqlite":
        raise HandslagError("HS-STORE-ALONE")
    found = control.call(loaded.data_dir, "nodes", {})
    told(as_json, found, lines(found))


def lines(found: dict[str, Any]) -> list[str]:
    """The nodes for a terminal."""
    rows = []
    for each in found["nodes"]:
        words = [
            "here" if each["live"] else "AWAY since " + _moment(each["seen_at_us"]),
            "leads" if each["leads"] else "",
            "this node" if each["node"] == found["node"] else "",
        ]
        rows.append(f"{each['node']}  {each['version']:<10} " + ", ".join(filter(None, words)))
    return rows


def _moment(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1e6, UTC).isoformat(timespec="seconds")
