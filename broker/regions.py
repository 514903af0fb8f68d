"""Police units are admitted region by region: a lone new unit in the directory tells everybody that something began.

Which units a region has is no register of ours: the agency says so when it hands its requests over, the operator
repeats it with `--whole-region`, and what was said is kept in `admissions/regions.toml` (public, codes only).
"""

from __future__ import annotations

import json
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from broker.keyfiles import write_atomic
from schemas.errors import HandslagError

POLICE = "POL"
FILE = "regions.toml"


def region_of(unit: str) -> str | None:
    """`POL/EXEMPEL` of `POL/EXEMPEL/SYD`; None for a unit that is not the police's."""
    parts = unit.split("/")
    return "/".join(parts[:2]) if parts[0] == POLICE and len(parts) > 1 else None


def checked(
    asked: Iterable[str], declared: Mapping[str, frozenset[str]], whole: Iterable[str], *, lone: bool
) -> dict[str, frozenset[str]]:
    """The regions as declared after these units are admitted.

    `asked` are the unit codes of one command, `whole` the regions that it says are complete, `declared` what earlier
    commands said. A unit that its region already lists is no news and passes. Raises `HS-REGION-INCOMPLETE` when a new
    unit's region was not said to be whole, `HS-REGION-LONE` when one unit alone would join a region on file and `lone`
    does not say that this is meant.
    """
    # INVARIANT: test_a_police_unit_alone_is_refused
    new: dict[str, set[str]] = defaultdict(set)
    for unit in asked:
        region = region_of(unit)
        if region is not None and unit not in declared.get(region, frozenset()):
            new[region].add(unit)
    said = set(whole)
    for region, units in sorted(new.items()):
        if region not in said:
            raise HandslagError("HS-REGION-INCOMPLETE")
        if region in declared and len(units) == 1 and not lone:
            raise HandslagError("HS-REGION-LONE")
    grown = {region: declared.get(region, frozenset()) | units for region, units in new.items()}
    return {**declared, **grown}


def load(data_dir: Path) -> dict[str, frozenset[str]]:
    """What was declared, region -> its unit codes; raises `HS-ADMISSION-INVALID` for a file that cannot be read."""
    try:
        text = (data_dir / "admissions" / FILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError):
        raise HandslagError("HS-ADMISSION-INVALID", field="regions") from None
    try:
        rows = tomllib.loads(text).get("region", [])
        return {str(row["code"]): frozenset(map(str, row["units"])) for row in rows}
    except (tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError):
        raise HandslagError("HS-ADMISSION-INVALID", field="regions") from None


def save(data_dir: Path, declared: Mapping[str, frozenset[str]]) -> None:
    """Keep what was declared, durable when this returns."""
    lines = ["# The units of each police region, as their agency said when they were admitted together."]
    for code, units in sorted(declared.items()):
        listed = json.dumps(sorted(units), ensure_ascii=False)
        lines += ["", "[[region]]", f"code = {json.dumps(code, ensure_ascii=False)}", f"units = {listed}"]
    (data_dir / "admissions").mkdir(mode=0o700, exist_ok=True)
    write_atomic(data_dir / "admissions" / FILE, ("\n".join(lines) + "\n").encode())
