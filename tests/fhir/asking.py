"""Questions of the vectors, as the command spells them."""

import json
from pathlib import Path

from connectors.fhir import question

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "fhir"


def vectors():
    """Every case, in the order of files and cases."""
    return [case for file in sorted(VECTORS.glob("*.json")) for case in json.loads(file.read_text("utf-8"))["cases"]]


def data(resource):
    return json.dumps(resource, ensure_ascii=False).encode()


def asked(ask):
    return question.asked(
        actors=tuple(ask["actor"]),
        purpose=ask["purpose"],
        category=ask.get("category", "patient-privacy"),
        classes=tuple(ask.get("class", ())),
        at=ask["at"],
    )
