"""Trying one patch: copy, apply, run the named test, look whether it failed for a reason of its own."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.sabotage.patches import ROOT, Patch

PATIENCE_S = 150
_FAILED = re.compile(r"\b(\d+) failed\b")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one patch; `why` says in a sentence why it was not caught."""

    patch: Patch
    seconds: float
    why: str | None

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


def baseline(root: Path, patches: Sequence[Patch]) -> str | None:
    """Run every named test once on the honest copy; returns the end of what pytest said when one fails."""
    done = _pytest(root, sorted({patch.test for patch in patches}), PATIENCE_S * 2)
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
    why = apply(patch, tree) or _survived(tree, patch)
    shutil.rmtree(tree, ignore_errors=True)
    return Outcome(patch, time.monotonic() - started, why)


def _survived(tree: Path, patch: Patch) -> str | None:
    try:
        done = _pytest(tree, [patch.test], PATIENCE_S, "-x")
    except subprocess.TimeoutExpired:
        return f"the test did not end within {PATIENCE_S} s"
    if done.returncode == 0:
        return "the defence is off and the test passes all the same: it proves nothing"
    if done.returncode != 1 or not _FAILED.search(done.stdout):
        return f"the test did not fail, it could not run (exit code {done.returncode}):\n{done.stdout[-2000:]}"
    return None


def _pytest(tree: Path, tests: Sequence[str], patience_s: int, *options: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", *options, *tests]
    return subprocess.run(
        argv, cwd=tree, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=patience_s
    )
