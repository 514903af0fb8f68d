"""A real small disk, filled to the last byte under a running broker: what must get in gets in.

The broker's data folder is a file system of its own with 24 MiB in memory; mounting it needs root, or sudo.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import deploy.demo
from broker.disk import NAME, DiskRoom, free_bytes
from deploy.demo.play import Play
from deploy.demo.scenario import load

MIB = 1024 * 1024
SIZE, RESERVE, BALLAST = 24 * MIB, 8 * MIB, 2 * MIB
_READY_FOR_MESSAGES = "social-08-request-assessment"


def as_root(*words: str) -> None:
    """Run a command as root, by sudo where the tests themselves are not; without either the test fails and says so."""
    done = subprocess.run(
        [*(() if os.geteuid() == 0 else ("sudo", "-n")), *words], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.fail(f"this test mounts a small file system of its own, and may not: {done.stderr.strip()}")


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Move a folder's files to a file system of `SIZE` bytes, mounted in its place."""
    kept = folder.with_name("kept")
    folder.rename(kept)
    folder.mkdir(mode=0o700)
    owner = f"uid={os.geteuid()},gid={os.getegid()}"
    as_root("mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0700,{owner}", "tmpfs", str(folder))
    try:
        shutil.copytree(kept, folder, dirs_exist_ok=True)
        yield
    finally:
        as_root("umount", "-l", str(folder))


def fill(folder: Path, leave: int) -> Path:
    """What another program writes on the same disk: everything but `leave` bytes."""
    path = folder / f"of-another-program-{leave}"
    with path.open("wb") as file, contextlib.suppress(OSError):
        while (free := free_bytes(folder)) > leave:
            file.write(bytes(min(64 * 1024, max(4096, free - leave))))
            file.flush()
    return path


class Eyes:
    """What operations sees of the running broker."""

    def __init__(self, config: Path) -> None:
        self.url = "http://" + tomllib.loads(config.read_text("utf-8"))["operations"]["listen"]

    def reasons(self) -> list[str]:
        try:
            with urllib.request.urlopen(self.url + "/readyz", timeout=5) as answer:
                return json.loads(answer.read())["reasons"]
        except urllib.error.HTTPError as refused:
            with refused:
                return json.loads(refused.read())["reasons"]

    def metric(self, series: str) -> float:
        with urllib.request.urlopen(self.url + "/metrics", timeout=5) as answer:
            text = answer.read().decode()
        return float(re.search(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)[1])


class OnSmallDisk(Play):
    """The demonstration's processes; the broker's first start finds a small disk below its data folder."""

    mounted: contextlib.ExitStack | None = None

    def start(self, name: str) -> None:
        if name == "broker" and self.mounted is not None:
            with self.broker.open("a", encoding="utf-8") as config:
                config.write(f"\n[disk]\nreserve_bytes = {RESERVE}\nballast_bytes = {BALLAST}\n")
            self.mounted.enter_context(small_disk(self.trail))
            self.mounted = None
        super().start(name)


@pytest.fixture
def served(tmp_path) -> Iterator[tuple[Play, Eyes]]:
    """A case in which all may write to each other, on a broker whose disk is small."""
    scenario = load(Path(deploy.demo.__file__).parent)
    names = [step.drop for step in scenario.steps]
    steps = scenario.steps[: names.index(_READY_FOR_MESSAGES) + 1]
    played = OnSmallDisk(tmp_path / "site", replace(scenario, steps=steps), lambda _line: None)
    with contextlib.ExitStack() as mounted, played as play:  # the processes end before the disk goes
        play.mounted = mounted
        play.set_up()
        play.run_steps()
        yield play, Eyes(play.broker)


def got(play: Play, unit: str, **wanted: object) -> bool:
    return any(all(found.get(key) == value for key, value in wanted.items()) for found in play.files(unit))


def test_what_must_get_in_gets_in_on_a_full_disk(served, until):
    play, eyes = served
    assert (play.trail / NAME).stat().st_size == BALLAST
    assert (eyes.metric("handslag_disk_low"), eyes.reasons()) == (0, [])

    fill(play.trail, RESERVE - MIB)
    started = time.monotonic()
    until(lambda: eyes.reasons() == ["HS-DISK-LOW"], 5)
    assert time.monotonic() - started < 2
    assert eyes.metric("handslag_disk_low") == 1
    play._drop("probation-04-meeting")  # nobody's life hangs on it
    until(lambda: eyes.metric('handslag_refusals_total{code="HS-DISK-LOW"}') >= 1, 20)

    full = fill(play.trail, 0)
    until(lambda: not (play.trail / NAME).exists(), 10)  # the ballast goes, and leaves its room to the broker
    assert full.stat().st_size > 4 * MIB
    assert free_bytes(play.trail) <= BALLAST
    play._drop("police-04-assessment")
    until(lambda: got(play, "social", kind="delivery", event_type="threat_assessment_completed"), 30)
    assert not got(play, "social", kind="delivery", event_type="coordination_meeting_scheduled")
    play._drop("probation-05-withdraw-case")
    until(lambda: got(play, "probation", kind="result", id="probation-05-withdraw-case"), 30)
    assert eyes.reasons() == ["HS-DISK-LOW"]

    for path in play.trail.glob("of-another-program-*"):
        path.unlink()
    until(lambda: eyes.reasons() == [], 10)
    assert eyes.metric("handslag_disk_low") == 0
    until((play.trail / NAME).exists, 10)
    ordinary = "social-09-meeting-with-deadline"  # taken again, although the withdrawal stops what it says
    play._drop(ordinary)
    until(lambda: got(play, "social", kind="receipt", id=ordinary), 30)


def test_a_disk_without_a_reserve_would_be_full_for_the_withdrawal_too(tmp_path):
    """Positive control: the same disk, filled the same way, holds not one page when no ballast lets go."""
    folder = tmp_path / "data"
    folder.mkdir()
    with small_disk(folder):
        bare = DiskRoom(folder, 0, 0)
        bare.look()
        fill(folder, 0)
        bare.look()
        with pytest.raises(OSError, match="No space left"):
            (folder / "withdrawal").write_bytes(bytes(64 * 1024))
        for path in folder.glob("of-another-program-*"):
            path.unlink()
        kept = DiskRoom(folder, RESERVE, BALLAST)
        kept.look()
        fill(folder, 0)
        assert kept.look()
        (folder / "withdrawal").write_bytes(bytes(64 * 1024))
