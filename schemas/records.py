"""Frozen records that mirror an `.avsc` field by field, with encoding to and from its bytes."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

from schemas import codec
from schemas.errors import PayloadRejected

VERSION = 1  # of every signed or stored structure; names the cipher suite as well


class Record:
    """What all wire records share: `SCHEMA` names the `.avsc`, `LABEL` separates signed and hashed kinds."""

    __slots__ = ()
    SCHEMA: ClassVar[str]
    LABEL: ClassVar[str] = ""

    def to_dict(self) -> dict[str, Any]:
        """The record as fastavro writes it."""
        plan = _plan(type(self))
        out: dict[str, Any] = {"label": self.LABEL, "version": VERSION} if self.LABEL else {}
        for name, down, _up in plan:
            value = getattr(self, name)
            out[name] = value if down is None or value is None else down(value)
        return out

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The record of what fastavro read; raises PayloadRejected when label or version are another's."""
        if cls.LABEL and (data["label"] != cls.LABEL or data["version"] != VERSION):
            raise PayloadRejected(field="label")
        values: dict[str, Any] = {}
        for name, _down, up in _plan(cls):
            value = data[name]
            values[name] = value if up is None or value is None else up(value)
        return cls(**values)

    def to_bytes(self) -> bytes:
        """Avro single-object encoding; what is signed or hashed is exactly these bytes."""
        return codec.encode(self.SCHEMA, self.to_dict())

    @classmethod
    def from_bytes(cls, data: bytes, limit: int = codec.DEFAULT_LIMIT) -> Self:
        """Decode; raises PayloadRejected or HandslagError (`HS-TOO-LARGE`, `HS-SCHEMA-UNKNOWN`)."""
        return cls.from_dict(codec.decode(cls.SCHEMA, data, limit))


_Convert = Callable[[Any], Any] | None
_plans: dict[str, tuple[tuple[str, _Convert, _Convert], ...]] = {}


def _plan(cls: type[Record]) -> tuple[tuple[str, _Convert, _Convert], ...]:
    """Per field: its name and how nested records go down to dictionaries and come up again."""
    plan = _plans.get(cls.SCHEMA)
    if plan is None:
        hints = typing.get_type_hints(cls)
        names = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
        plan = _plans[cls.SCHEMA] = tuple((name, *_converters(hints[name])) for name in names)
    return plan


def _converters(hint: Any) -> tuple[_Convert, _Convert]:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        inner = next(a for a in typing.get_args(hint) if a is not type(None))
        return _converters(inner)
    if origin is tuple:
        down, up = _converters(typing.get_args(hint)[0])
        return (
            list if down is None else (lambda items: [down(item) for item in items]),
            tuple if up is None else (lambda items: tuple(up(item) for item in items)),
        )
    if isinstance(hint, type) and issubclass(hint, Record):
        return (lambda record: record.to_dict()), hint.from_dict
    return None, None
