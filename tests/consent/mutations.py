"""Small changes to a module's source, one at a time: what a slip of the pen could have written instead.

Comparisons, `and`/`or`, `not`, arithmetic and bits, numbers, words, conditions taken as always or never true, parts of
a condition left out, `min`/`max`, `any`/`all`, changes of a variable left out. Not changed: documentation, annotations,
decorators.
"""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

OTHER = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr, ast.LShift: ast.RShift,
    ast.RShift: ast.LShift, ast.Mult: ast.FloorDiv,
}  # fmt: skip
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}


class Mutant(NamedTuple):
    """One change: its number in the file, the function, the line, what stood and stands there; and its name.

    `key` stays the same when lines move; of changes alike in one function the later ones are counted.
    """

    number: int
    where: str
    line: int
    was: str
    now: str
    key: str


class _Place(NamedTuple):
    parent: ast.AST
    field: str
    index: int | None
    where: str


def _places(node: ast.AST, where: str) -> Iterator[tuple[ast.AST, _Place]]:
    """Every node that may be changed, with where it hangs."""
    for field, value in ast.iter_fields(node):
        if field in {"annotation", "returns", "decorator_list", "type_params"}:
            continue
        items = value if isinstance(value, list) else [value]
        for index, item in enumerate(items):
            if not isinstance(item, ast.AST) or _is_documentation(item) or isinstance(item, ast.JoinedStr):
                continue
            inside = where
            if isinstance(item, ast.FunctionDef | ast.ClassDef):
                inside = f"{where}.{item.name}" if where else item.name
            yield item, _Place(node, field, index if isinstance(value, list) else None, inside or "module")
            yield from _places(item, inside)


def _is_documentation(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def variants(node: ast.AST) -> Iterator[ast.AST]:
    """What could stand in the place of a node."""
    match node:
        case ast.Compare():
            for place, op in enumerate(node.ops):
                if type(op) in OTHER:
                    yield _with(node, ops=[*node.ops[:place], OTHER[type(op)](), *node.ops[place + 1 :]])
        case ast.BoolOp():
            yield _with(node, op=OTHER[type(node.op)]())
            for place in range(len(node.values)):
                rest = node.values[:place] + node.values[place + 1 :]
                yield rest[0] if len(rest) == 1 else _with(node, values=rest)
        case ast.UnaryOp(op=ast.Not()):
            yield node.operand
        case ast.BinOp() if type(node.op) in OTHER:
            yield _with(node, op=OTHER[type(node.op)]())
        case ast.Constant(value=bool()):
            yield _with(node, value=not node.value)
        case ast.Constant(value=int()):
            yield _with(node, value=node.value + 1)
        case ast.Constant(value=str()) if node.value:
            yield _with(node, value=node.value + "X")
        case ast.If() | ast.IfExp():
            yield _with(node, test=ast.Constant(True))
            yield _with(node, test=ast.Constant(False))
        case ast.comprehension() if node.ifs:
            yield _with(node, ifs=[])
        case ast.Call(func=ast.Name(id=name)) if name in NAMES:
            yield _with(node, func=ast.Name(NAMES[name], ast.Load()))
        case ast.AugAssign():
            yield ast.Pass()
            yield ast.Assign(targets=[node.target], value=node.value)
        case ast.Continue():
            yield ast.Break()


def _with(node: ast.AST, **changes: object) -> ast.AST:
    new = copy.copy(node)
    for field, value in changes.items():
        setattr(new, field, value)
    return new


def _said(node: ast.AST) -> str:
    """The change in one line; of an `if` its condition."""
    shown = node.test if isinstance(node, ast.If) else node
    if isinstance(shown, ast.comprehension):
        return " ".join(["for", ast.unparse(shown.target), *(f"if {ast.unparse(one)}" for one in shown.ifs)])
    text = " ".join(ast.unparse(ast.fix_missing_locations(shown)).split())
    return f"if {text}" if isinstance(node, ast.If) else text


def _each(tree: ast.Module) -> Iterator[tuple[ast.AST, _Place, ast.AST]]:
    for node, place in list(_places(tree, "")):
        for new in variants(node):
            yield node, place, new


def mutants(source: str) -> list[Mutant]:
    """Every single change of a module."""
    found = []
    for number, (node, place, new) in enumerate(_each(ast.parse(source))):
        line = getattr(node, "lineno", getattr(place.parent, "lineno", 0))
        found.append(Mutant(number, place.where, line, _said(node), _said(new), ""))
    return named(found)


def named(found: list[Mutant]) -> list[Mutant]:
    """The same with a key each."""
    seen: Counter[str] = Counter()
    done = []
    for one in found:
        key = f"{one.where}: {one.was} -> {one.now}"
        seen[key] += 1
        done.append(one._replace(key=key if seen[key] == 1 else f"{key} ({seen[key]})"))
    return done


def mutated(source: str, number: int) -> ast.Module:
    """The module with one change made."""
    tree = ast.parse(source)
    _, place, new = next(change for at, change in enumerate(_each(tree)) if at == number)
    if place.index is None:
        setattr(place.parent, place.field, new)
    else:
        getattr(place.parent, place.field)[place.index] = new
    return ast.fix_missing_locations(tree)
