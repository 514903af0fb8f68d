"""Whether two versions of a schema read each other: FULL_TRANSITIVE, and stricter than Avro where Avro would lie.

Agencies upgrade in different years and the trail must decode for ever, so every version ever released must read every
other. What Avro's own resolution cannot do (Avro 1.12 specification, "Schema Resolution") is refused; so is what it
does silently wrong for us. Those are the extra rules: a library reads the bytes, and somebody is told something false.
Pure: schemas as dictionaries in, broken rules out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from typing import Any

from schemas import catalogue
from schemas.errors import HandslagError

Schema = Mapping[str, Any]

# Both sides build these from their own parts and compare hashes or signatures; the record itself never travels. One
# field more, even a nullable one, and the two sides hash different bytes: here a change is a new label and record.
REBUILT = frozenset(
    {
        "handslag.ledger.HeadLink",
        "handslag.member.TrustStatement",
        "handslag.wire.BundleLeaf",
        "handslag.wire.EventStatement",
        "handslag.wire.KeyCommitment",
        "handslag.wire.SeatKey",
        "handslag.wire.SectionAad",
        "handslag.wire.WCommitment",
        "handslag.wire.WrapInfo",
    }
)


class Rule(StrEnum):
    """Which rule two schemas break; `extra` ones are ours, the others Avro's own."""

    TYPE = "type"
    NULLABILITY = "nullability"
    DEFAULT = "default"
    SYMBOLS = "symbols"
    SIZE = "size"
    LINT = "lint"
    NAME = "name"
    PROMOTION = "promotion"
    SYMBOL_DEFAULT = "symbol-default"
    LOGICAL_TYPE = "logical-type"
    CATEGORY = "category"
    TYPE_CATEGORY = "type-category"
    MANDATORY = "mandatory"
    ALIAS = "alias"
    REBUILT = "rebuilt"
    GONE = "gone"
    FINGERPRINT = "fingerprint"

    @property
    def extra(self) -> bool:
        """Whether Avro's libraries may well read what this rule refuses."""
        return self not in _AVRO

    @property
    def why(self) -> str:
        """One sentence for whoever wrote the schema."""
        return _WHY[self]


_AVRO = frozenset({Rule.TYPE, Rule.NULLABILITY, Rule.DEFAULT, Rule.SYMBOLS, Rule.SIZE})
_WHY = {
    Rule.TYPE: "another type cannot be read in both directions; add a new nullable field beside it",
    Rule.NULLABILITY: "null written by one is not readable by the other; add a new nullable field beside it",
    Rule.DEFAULT: "a field that only one version has must be nullable with default null",
    Rule.SYMBOLS: "a symbol that only one version knows cannot be read by the other; add a new field with a new list",
    Rule.SIZE: "another size of a fixed value cannot be read",
    Rule.LINT: "the schema would not be loaded; see schemas/lint.py",
    Rule.NAME: "a name or namespace is what records are found and bound by; a new name is a new schema",
    Rule.PROMOTION: "bytes need not be UTF-8: what one version writes as bytes the other cannot read as string",
    Rule.SYMBOL_DEFAULT: "a default symbol turns an unknown word silently into another one",
    Rule.LOGICAL_TYPE: "the number stays and its meaning changes (milliseconds read as microseconds)",
    Rule.CATEGORY: "a field in another category is released under another consent",
    Rule.TYPE_CATEGORY: "what the event's name tells would be decided under another consent",
    Rule.MANDATORY: "older senders leave out what newer receivers must have",
    Rule.ALIAS: "a rename is read in one direction only; add a new nullable field and stop writing the old one",
    Rule.REBUILT: "both sides build this record and compare its hash; a change is a new record with a new label",
    Rule.GONE: "a released schema must stay, or what was written with it cannot be read any more",
    Rule.FINGERPRINT: "two versions have one CRC-64-AVRO fingerprint and different content",
}


@dataclass(frozen=True, slots=True)
class Break:
    """One broken rule and where: `Record.field`, with nested names joined by dots."""

    rule: Rule
    where: str


def breaks(one: Schema, other: Schema) -> tuple[Break, ...]:
    """Every reason why two versions of one record schema do not read each other; empty when they do.

    Symmetrical. A schema without `doc` (a project form) is compared as if it had them.
    """
    unloaded = tuple(_unloaded(one)) + tuple(_unloaded(other))
    if unloaded:  # recursion, above all: nothing below could end on it
        return tuple(dict.fromkeys(unloaded))
    if _full_name(one, "") in REBUILT and catalogue.project_form(one) != catalogue.project_form(other):
        return (Break(Rule.REBUILT, str(one["name"])),)
    found = [*_event(one, other), *_differ(_resolved(one, "", {}), _resolved(other, "", {}), _named(one, other))]
    return tuple(dict.fromkeys(found))


def breaks_of_sets(versions: Mapping[str, Mapping[str, Schema]], today: str) -> tuple[tuple[str, str, Break], ...]:
    """Compare every version of every schema with every other: (version, version, what breaks).

    `versions` maps a version to its schemas by full name; a schema of an older version that `today` lacks is gone.
    """
    found: list[tuple[str, str, Break]] = []
    for one, other in combinations(sorted(versions, key=lambda version: (version == today, version)), 2):
        for name in sorted(versions[one].keys() & versions[other].keys()):
            found += [(one, other, broken) for broken in breaks(versions[one][name], versions[other][name])]
        if other == today:
            gone = sorted(versions[one].keys() - versions[today].keys())
            found += [(one, today, Break(Rule.GONE, name)) for name in gone]
    return (*found, *_shared_fingerprints(versions))


def _shared_fingerprints(versions: Mapping[str, Mapping[str, Schema]]) -> Iterator[tuple[str, str, Break]]:
    """Two contents with one CRC: bytes would not say which of the two wrote them."""
    seen: dict[bytes, tuple[str, bytes]] = {}
    for version in sorted(versions):
        for name, schema in sorted(versions[version].items()):
            try:
                header = catalogue.entry_of(catalogue.documented(schema)).header
            except HandslagError:
                continue  # told as `lint` where it is compared
            before, form = seen.setdefault(header, (version, catalogue.project_form(schema)))
            if form != catalogue.project_form(schema):
                yield before, version, Break(Rule.FINGERPRINT, name)


def _unloaded(schema: Schema) -> Iterator[Break]:
    # A project form has no `doc` at all; one that has some is looked at as it stands.
    form = schema if "doc" in schema else catalogue.documented(schema)
    try:
        catalogue.entry_of(form)
    except HandslagError as error:
        yield Break(Rule.LINT, f"{schema.get('name', '')}: {error.context.get('rule', '')}")


def _event(one: Schema, other: Schema) -> Iterator[Break]:
    name = _named(one, other)
    if one.get("type_category") != other.get("type_category"):
        yield Break(Rule.TYPE_CATEGORY, name)
    if set(one.get("mandatory_categories", ())) != set(other.get("mandatory_categories", ())):
        yield Break(Rule.MANDATORY, name)


def _named(one: Schema, other: Schema) -> str:
    """The record's name, whichever of the two is asked first."""
    return min(str(one["name"]), str(other["name"]))


def _full_name(node: Schema, namespace: str) -> str:
    name = str(node["name"])
    space = node.get("namespace", namespace)
    return name if "." in name or not space else f"{space}.{name}"


def _resolved(node: Any, namespace: str, known: dict[str, Any]) -> Any:
    """The type with every reference replaced by what it names; nothing recurses, the lint saw to it."""
    if isinstance(node, list):
        return [_resolved(part, namespace, known) for part in node]
    if isinstance(node, str):
        return known.get(f"{namespace}.{node}", known.get(node, {"type": node}))
    kind = node["type"]
    if kind == "array":
        return {**node, "items": _resolved(node["items"], namespace, known)}
    if kind not in {"record", "enum", "fixed"}:
        inner = _resolved(kind, namespace, known)
        return {**node, **inner} if isinstance(inner, dict) else inner
    name = _full_name(node, namespace)
    whole = {**node, "name": name}
    if kind == "record":
        inside = name.rpartition(".")[0]
        whole["fields"] = [{**field, "type": _resolved(field["type"], inside, known)} for field in node["fields"]]
    known[name] = whole
    return whole


def _differ(one: Any, other: Any, where: str) -> Iterator[Break]:
    """What keeps two resolved types from reading each other."""
    if isinstance(one, list) or isinstance(other, list):
        if not (isinstance(one, list) and isinstance(other, list)):
            yield Break(Rule.NULLABILITY, where)
        inner, outer = _given(one), _given(other)
        yield from _differ(inner, outer, where)
        return
    if one.get("aliases") or other.get("aliases"):
        yield Break(Rule.ALIAS, where)
    if one["type"] != other["type"]:
        text = {one["type"], other["type"]} == {"string", "bytes"}
        yield Break(Rule.PROMOTION if text else Rule.TYPE, where)
        return
    if any(one.get(key) != other.get(key) for key in ("logicalType", "precision", "scale")):
        yield Break(Rule.LOGICAL_TYPE, where)
    yield from _same_kind(one, other, where)


def _given(kind: Any) -> Any:
    """The type of a value that is given: a nullable is `["null", T]`, the lint saw to it."""
    return kind[1] if isinstance(kind, list) else kind


def _same_kind(one: Schema, other: Schema, where: str) -> Iterator[Break]:
    if one.get("name") != other.get("name"):
        yield Break(Rule.NAME, where)
    match one["type"]:
        case "array":
            yield from _differ(one["items"], other["items"], f"{where}[]")
        case "fixed" if one["size"] != other["size"]:
            yield Break(Rule.SIZE, where)
        case "enum":
            if set(one["symbols"]) != set(other["symbols"]):
                yield Break(Rule.SYMBOLS, where)
            if "default" in one or "default" in other:
                yield Break(Rule.SYMBOL_DEFAULT, where)
        case "record":
            yield from _fields(one, other, where)


def _fields(one: Schema, other: Schema, where: str) -> Iterator[Break]:
    mine = {field["name"]: field for field in one["fields"]}
    theirs = {field["name"]: field for field in other["fields"]}
    for name in sorted(mine.keys() | theirs.keys()):
        here, ours, yours = f"{where}.{name}", mine.get(name), theirs.get(name)
        if ours is None or yours is None:
            alone = ours or yours
            assert alone is not None
            if alone.get("aliases"):
                yield Break(Rule.ALIAS, here)
            if "default" not in alone:
                yield Break(Rule.DEFAULT, here)
            continue
        if ours.get("aliases") or yours.get("aliases"):
            yield Break(Rule.ALIAS, here)
        if ours.get("category") != yours.get("category"):
            yield Break(Rule.CATEGORY, here)
        yield from _differ(ours["type"], yours["type"], here)
