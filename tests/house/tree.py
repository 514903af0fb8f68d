"""The source tree as syntax: what the tests of the house and of the code tables walk over."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("schemas", "consent", "audit", "connectors", "broker")


@cache
def files() -> tuple[str, ...]:
    """Every Python file of the product, the front door included; paths below the root."""
    found = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    return tuple(sorted(path.relative_to(ROOT).as_posix() for path in [*found, ROOT / "handslag.py"]))


@cache
def text(file: str) -> str:
    """The file's text."""
    return (ROOT / file).read_text("utf-8")


@cache
def tree(file: str) -> ast.Module:
    """The file's syntax tree."""
    return ast.parse(text(file))


def calls(file: str, *names: str) -> Iterator[ast.Call]:
    """Calls of a function or method by its last name."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Call) and called(node) in names:
            yield node


def called(node: ast.Call) -> str:
    """Last name of what is called."""
    match node.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def strings(file: str) -> set[str]:
    """Every string constant of the file."""
    return {
        node.value for node in ast.walk(tree(file)) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
