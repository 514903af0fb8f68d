"""The patches beside this file: a header in words (`Defence:`, `Test:`), then a unified diff with paths `a/` and `b/`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent.parent


@dataclass(frozen=True, slots=True)
class Patch:
    """One defence switched off, and the pytest node id (without parameters) of the test that must go red."""

    path: Path
    defence: str
    test: str

    @property
    def name(self) -> str:
        """`NN-words`."""
        return self.path.stem


def all_patches() -> list[Patch]:
    """Every patch, by name; raises ValueError for a header that lacks a line."""
    return [_read(path) for path in sorted(FOLDER.glob("*.patch"))]


def _read(path: Path) -> Patch:
    head = path.read_text(encoding="utf-8").split("diff --git ", 1)[0].splitlines()
    said = {name: text for name, _, text in (line.partition(": ") for line in head)}
    if not said.get("Defence") or not said.get("Test"):
        raise ValueError(f"{path.name} does not say which defence it switches off and which test must go red")
    return Patch(path, said["Defence"], said["Test"])
