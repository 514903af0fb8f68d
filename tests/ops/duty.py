"""A runbook's own commands, and the shell of whoever is on call."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time

from tests.ops import servers
from tests.ops.servers import ROOT

RUNBOOKS = ROOT / "docs/runbooks"


def blocks(page):
    """`look`, `act` and `check` of a runbook: the marked blocks, as they stand there."""
    text = (RUNBOOKS / f"{page}.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^<!-- drill: (\w+) -->\n```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))


class Duty:
    """What the one on call has: a shell with the names of docs/runbooks/README.md set, and nothing more."""

    def __init__(self, folder, names):
        self.folder = folder
        tools = folder / "bin"
        tools.mkdir()
        python, door = shlex.quote(sys.executable), shlex.quote(str(ROOT / "handslag.py"))
        (tools / "handslag").write_text(f'#!/bin/sh\nexec {python} {door} "$@"\n')
        (tools / "handslag").chmod(0o755)
        text = (RUNBOOKS / "README.md").read_text(encoding="utf-8")
        assert set(names) <= set(re.findall(r"^export (\w+)=", text, re.MULTILINE))
        self.env = {**os.environ, **names, "PATH": f"{tools}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}

    def does(self, commands):
        """Run a block as typed; returns everything it said."""
        done = subprocess.run(
            ["sh", "-c", commands],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.stdout + done.stderr


class Watch:
    """A Prometheus with the shipped alerts and the Alertmanager it tells."""

    def __init__(self, prometheus, alerts):
        self.prometheus, self.alerts = prometheus, alerts

    def rings(self, name):
        """Wait until Alertmanager has the alert; returns the seconds it took."""
        started = time.monotonic()
        servers.until(lambda: name in servers.ringing(self.alerts), f"Alertmanager rings for {name}")
        return time.monotonic() - started

    def silent(self, name):
        def both():
            return self.prometheus.rules()[name]["state"] == "inactive" and name not in servers.ringing(self.alerts)

        servers.until(both, f"{name} is silent")
