"""Which Handslag this is, for what a connector tells of itself.

The front door `handslag.py` reads the same by itself: it must start, and say so, where this package is missing.
"""

from __future__ import annotations

import importlib.metadata
import tomllib
from functools import cache
from pathlib import Path


@cache
def current() -> str:
    """The distribution's version; in a bare clone the one that pyproject.toml names."""
    clone = Path(__file__).resolve().parent.parent / "pyproject.toml"
    if clone.is_file():
        return str(tomllib.loads(clone.read_text(encoding="utf-8"))["project"]["version"])
    return importlib.metadata.version("handslag")
