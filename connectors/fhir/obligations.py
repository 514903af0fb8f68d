"""What a PERMIT holds back, in the form that consent decision services of HL7 v3's ActCode REDACT share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from consent.fhir.systems import ACT_CODE
from consent.fhir.terms import Atom, Coding, DataPeriod, DataRef, Residual

_REDACT = {"system": ACT_CODE, "code": "REDACT"}
_EXCEPT = {"codes": "exceptAnyOfCodes", "data": "exceptData", "dataPeriod": "exceptDataPeriod"}


def written(residual: Residual) -> list[dict[str, Any]]:
    """Obligations to carry out, every one: first what is held back, then each list without which nothing goes."""
    found = [_of(residual.redact, {})] if residual.redact else []
    return found + [_of(clause, _EXCEPT) for clause in residual.keep]


def _of(atoms: Iterable[Atom], names: dict[str, str]) -> dict[str, Any]:
    parameters: dict[str, list[dict[str, str]]] = {}
    for atom in atoms:
        kind = "codes" if isinstance(atom, Coding) else "data" if isinstance(atom, DataRef) else "dataPeriod"
        parameters.setdefault(names.get(kind, kind), []).append(_atom(atom))
    return {"id": dict(_REDACT), "parameters": parameters}


def _atom(atom: Atom) -> dict[str, str]:
    if isinstance(atom, DataRef):
        return {"meaning": atom.meaning, "reference": atom.reference}
    if isinstance(atom, DataPeriod):
        return {name: value for name, value in atom._asdict().items() if value}
    return {"system": atom.system, "code": atom.code}
