"""An administrative act on its way between two administrators, with what it will do: one JSON file, no key in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from audit.administration import ABOUT_SEATS, ACT
from audit.vault import erasure_subject
from broker.actfiles import SIGNED
from broker.admissions import Admission
from schemas.admin import AdminAct, SignedAdminAct
from schemas.errors import HandslagError

_FILE = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """The act with the signatures so far; admissions with their answer files, regions, units to shut out.

    `continued`: the log of a broker in HOLD goes on. `seat` and `salt` (16 and 32 bytes): of an act about a seat, which
    names neither; such a file is destroyed once the act is carried out.
    """

    signed: SignedAdminAct
    admissions: tuple[Admission, ...] = ()
    answers: tuple[str, ...] = ()
    regions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    revoked: tuple[str, ...] = ()
    continued: bool = False
    seat: bytes = b""
    salt: bytes = b""

    def require_named(self) -> None:
        """Raise `HS-ADMIN-ACT-INVALID` unless an act about a seat is about the one that this file names."""
        # INVARIANT: test_whoever_signs_an_erasure_signs_for_the_seat_in_the_draft
        act = AdminAct.from_bytes(self.signed.act, ACT)
        if act.kind in ABOUT_SEATS and act.subject != erasure_subject(self.seat, self.salt):
            raise HandslagError("HS-ADMIN-ACT-INVALID", check="subject")

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        data = {
            "signed": self.signed.to_bytes().hex(),
            "admissions": [each.to_json() for each in self.admissions],
            "answers": list(self.answers),
            "regions": {region: list(units) for region, units in self.regions.items()},
            "revoked": list(self.revoked),
            "continued": self.continued,
            "seat": self.seat.hex(),
            "salt": self.salt.hex(),
        }
        if self.seat:  # it names a seat: for those who sign, and nobody else on this machine
            path.unlink(missing_ok=True)
            path.touch(mode=0o600)
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
                seat=bytes.fromhex(data.get("seat", "")),
                salt=bytes.fromhex(data.get("salt", "")),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, HandslagError):
            raise HandslagError("HS-ADMIN-ACT-INVALID", check="file") from None
