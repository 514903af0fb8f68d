"""The second part of the demonstration: the person moves, first in an ordinary transfer and then protected.

At the end it is read back what the municipalities that were left know of the next one: nothing, beyond the lists that
are the same for everybody.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deploy.demo.play import Play
from deploy.demo.scenario import load

SENTENCE = "EXEMPEL: en mening som bara handläggaren kan"


def play_moving(folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Play it in a folder; returns how each lead's seat stands, and what of the next municipality stands elsewhere."""
    scenario = load(Path(__file__).parent / "moving")
    with Play(folder, scenario, say) as play:
        play.set_up()
        secret = folder / "passphrase"
        secret.write_text(SENTENCE + "\n", encoding="utf-8")
        secret.chmod(0o600)
        play.run_steps()
        leads = {name: _leads(play, name) for name in ("social", "first", "second")}
        found = [
            f"{name} knows of {other}"
            for name, other in (("social", "first"), ("social", "second"), ("first", "second"))
            if _knows(play, name, scenario.units[other].code)
        ]
        if not _knows(play, "police", scenario.units["second"].code):
            found.append("the search finds nothing even where it must")
    return {"leads": leads, "found": found}


def _leads(play: Play, name: str) -> str:
    states = [f["state"] for f in play.files(name) if f["kind"] == "seat" and f["role"] == "social_services_lead"]
    return states[-1] if states else "-"


def _knows(play: Play, name: str, code: str) -> bool:
    """Whether a unit stands in anything that a connector gave its agency, or was given by it and keeps.

    The operator's acts are left out: they tell everybody alike which units there are. The police gave the code.
    """
    given = [f for f in play.files(name) if f["kind"] != "operator_act"]
    kept = [] if name != "police" else [p.read_text(encoding="utf-8") for p in play.inputs_of(name)]
    return code in json.dumps(given, ensure_ascii=False) or any(code in text for text in kept)
