"""One case between a real broker and three real connectors, told up to the withdrawal; then an auditor asks."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

import handslag
from deploy.demo import scenario as scenarios
from deploy.demo.play import Play

REF = "EXEMPEL-A77"  # the police's own reference of the case
LOOK = ("--purpose", "LAWFULNESS", "--case-number", "K-7", "--actor", "auditor-3")


class Auditor:
    """Runs commands in the folder of one connector, as an auditor of that agency does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, str(Path(handslag.__file__)), "--lang", "en", *map(str, arguments)]
        return subprocess.run(argv, cwd=self.folder, capture_output=True, text=True, check=False, timeout=60)

    def answer(self, *arguments: str | Path) -> dict:
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="package")
def told(tmp_path_factory):
    """(play, auditor at the police, moment before the withdrawal, moment after it)."""
    demo = Path(handslag.__file__).parent / "deploy" / "demo"
    with Play(tmp_path_factory.mktemp("audit") / "case", scenarios.load(demo), print) as play:
        play.set_up()
        moments = []
        # The consents, one answer that is partly released, the withdrawal; no machine goes away here.
        wanted = [step for step in play.scenario.steps if not (step.stop or step.start)]
        names = [step.drop for step in wanted]
        told = wanted[: names.index("probation-04-meeting") + 1]
        told.append(wanted[names.index("probation-05-withdraw-case")])
        for step in told:
            if step.drop == "probation-05-withdraw-case":
                moments.append(now())
            play.scenario.steps[:] = [step]
            play.run_steps()
        play._until(lambda: any(f["kind"] == "ledger" for f in play.files("police")), "the withdrawal at the police")
        moments.append(now())
        yield play, Auditor(play.config("police").parent), *moments


def now() -> str:
    return datetime.now(UTC).isoformat()
