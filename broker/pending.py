"""An administrative act on its way between two administrators, with what it will do: one JSON file, no secret in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from broker.actfiles import SIGNED
from broker.admissions import Admission
from schemas.admin import SignedAdminAct
from schemas.errors import HandslagError

_FILE = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """The act with the signatures so far; admissions with their answer files, regions, units to shut out.

    `continued`: the log of a broker in HOLD goes on.
    """

    signed: SignedAdminAct
    admissions: tuple[Admission, ...] = ()
    answers: tuple[str, ...] = ()
    regions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    revoked: tuple[str, ...] = ()
    continued: bool = False

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        data = {
            "signed": self.signed.to_bytes().hex(),
            "admissions": [each.to_json() for each in self.admissions],
            "answers": list(self.answers),
            "regions": {region: list(units) for region, units in self.regions.items()},
            "revoked": list(self.revoked),
            "continued": self.continued,
        }
        path.write_text(json.dumps(data, indent=1, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Pending:
        """Read it back; raises `HS-ADMIN-ACT-INVALID` for anything else."""
        try:
            if path.stat().st_size > _FILE:
                raise HandslagError("HS-ADMIN-ACT-INVALID", check="file")
            data = json.loads(path.read_text(encoding="utf-8"))
            return cls(
                signed=SignedAdminAct.from_bytes(bytes.fromhex(data["signed"]), SIGNED),
                admissions=tuple(Admission.from_json(each) for each in data["admissions"]),
                answers=tuple(map(str, data["answers"])),
                regions={str(region): tuple(map(str, units)) for region, units in data["regions"].items()},
                revoked=tuple(map(str, data["revoked"])),
                continued=bool(data.get("continued")),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, HandslagError):
            raise HandslagError("HS-ADMIN-ACT-INVALID", check="file") from None
