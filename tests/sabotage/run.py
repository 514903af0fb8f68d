"""Trying one patch: copy, apply, run the named test, look whether it failed for a reason of its own."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.sabotage.patches import ROOT, Patch

PATIENCE_S = 150
_STUMBLES = ("NameError", "ImportError", "SyntaxError", "AttributeError", "TypeError", "UnboundLocalError")
_FAILED = re.compile(r"\b(\d+) failed\b")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one patch; `why` says in a sentence why it was not caught, `how` in a line how the test failed."""

    patch: Patch
    seconds: float
    why: str | None
    how: str = ""

    @property
    def caught(self) -> bool:
        """Whether the named test went red."""
        return self.why is None


def copy_of_tree(target: Path) -> None:
    """Copy what git has or would take; modification times stay, so that bytecode of the copy stays good."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=True,
    ).stdout.decode()  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    jars = ROOT / "build" / "kafka-libs"  # what git does not have: the copies' tests start the same Kafka
    if jars.is_dir():
        (target / "build").mkdir(exist_ok=True)
        (target / "build" / "kafka-libs").symlink_to(jars)


def baseline(root: Path, patches: Sequence[Patch]) -> str | None:
    """Run every named test once on the honest copy; returns the end of what pytest said when one fails."""
    done = _pytest(root, sorted({patch.test for patch in patches}), PATIENCE_S + 20 * len(patches))
    return None if done.returncode == 0 else done.stdout[-6000:]


def apply(patch: Patch, tree: Path) -> str | None:
    """Apply a patch to a tree; returns a sentence when it does not fit any more."""
    done = subprocess.run(
        ["git", "apply", "--whitespace=nowarn", str(patch.path)],
        cwd=tree, capture_output=True, text=True, check=False, env={"GIT_CEILING_DIRECTORIES": str(tree.parent)},
    )  # fmt: skip
    if done.returncode == 0:
        return None
    return f"the patch is stale, it does not apply to this tree; make it anew ({done.stderr.strip()})"


def tried(root: Path, tree: Path, patch: Patch) -> Outcome:
    """Copy the honest tree, switch the defence off, run the named test."""
    started = time.monotonic()
    shutil.copytree(root, tree, symlinks=True)
    why, how = apply(patch, tree), ""
    if why is None:
        why, how = _judged(tree, patch)
    shutil.rmtree(tree, ignore_errors=True)
    return Outcome(patch, time.monotonic() - started, why, how)


def _judged(tree: Path, patch: Patch) -> tuple[str | None, str]:
    """Why the patch was not caught, or None and how the test failed."""
    try:
        done = _pytest(tree, [patch.test], PATIENCE_S, "-x")
        if _only_errors(done):  # processes that did not get up on a busy machine: neither red nor green
            done = _pytest(tree, [patch.test], PATIENCE_S, "-x")
    except subprocess.TimeoutExpired:
        return f"the test did not end within {PATIENCE_S} s", ""
    if done.returncode == 0:
        return "the defence is off and the test passes all the same: it proves nothing", ""
    if _only_errors(done):
        return f"the test did not fail, it could not run (exit code {done.returncode}):\n{done.stdout[-2000:]}", ""
    how = next((line[1:].strip() for line in done.stdout.splitlines() if line.startswith("E  ")), "")
    # A defence is switched off so that the program goes on without it: one that stumbles proves nothing.
    if how.startswith(_STUMBLES):
        return f"the patch broke the program instead of the defence: {how}", how
    return None, how


def _only_errors(done: subprocess.CompletedProcess[str]) -> bool:
    """Whether pytest ended without a test that passed or failed."""
    return done.returncode != 0 and (done.returncode != 1 or not _FAILED.search(done.stdout))


def _pytest(tree: Path, tests: Sequence[str], patience_s: int, *options: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", *options, *tests]
    with subprocess.Popen(
        argv, cwd=tree, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        try:
            told, _ = process.communicate(timeout=patience_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # the servers that its tests started, too
            raise
    return subprocess.CompletedProcess(argv, process.returncode, told)
