"""The ten minutes of docs/auditor.md: every command of the page runs as it stands and ends as the page says."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

import handslag

PAGE = Path(handslag.__file__).parent / "docs" / "auditor.md"


def commands():
    """(command, what the page shows of its answer) in order."""
    found = []
    for block in re.findall(r"```console\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        for part in block.split("$ ")[1:]:
            command, _, answer = part.replace("\\\n", " ").partition("\n")
            found.append((command, [line.strip() for line in answer.splitlines() if line.strip()]))
    return found


def test_every_command_runs_and_answers_as_the_page_says(told):
    play, auditor, *_ = told
    for name in ("export", "copy"):
        shutil.rmtree(auditor.folder / name, ignore_errors=True)
    # "The operator gives you a copy", while the broker runs.
    (auditor.folder / "copy").mkdir()
    play.handslag("trail", "copy", auditor.folder / "copy" / "trail.db", "--config", play.broker)
    ran = commands()
    assert len(ran) >= 7
    for command, shown in ran:
        program, *arguments = shlex.split(command)
        assert program == "handslag"
        done = auditor.run(*arguments)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        for line in shown:
            if line != "...":
                assert line in done.stdout, f"{command}\nlacks: {line}\n{done.stdout}"


@pytest.mark.parametrize("word", ["completeness", "fingerprint", "does not show"])
def test_the_page_says_what_is_not_shown(word):
    assert word in PAGE.read_text(encoding="utf-8")
