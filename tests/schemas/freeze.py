"""Write the frozen vectors of the schemas anew: `python -m tests.schemas.freeze`.

Only for a change of the contract that is meant: after it, old signatures and old trails no longer verify, so a new
version byte or a new schema is nearly always the right answer instead.
"""

import json

from schemas import catalogue, codec, event_types, projection
from schemas.event_types import TypeClass
from tests.schemas.making import VECTORS, example_of, labelled


def schema_vectors():
    """Header and project hash of every schema, and of every projection of an event."""
    return {
        name: {"header": entry.header.hex(), "project_hash": entry.project_hash.hex()}
        for name, entry in sorted(catalogue.loaded().items())
    }


def projection_vectors():
    """Project hash of every section's schema: what the associated data of a section bind."""
    return {
        code: {
            category: projection.projected(code, category).project_hash.hex()
            for category in projection.categories_of(code)
        }
        for code, kind in sorted(event_types.table().items())
        if kind.available and kind.type_class is TypeClass.CONTENT
    }


def record_vectors():
    """One encoded example of every labelled record."""
    return {
        cls.LABEL: {"schema": cls.SCHEMA, "hex": codec.encode(cls.SCHEMA, example_of(cls)).hex()} for cls in labelled()
    }


FILES = {"schemas.json": schema_vectors, "projections.json": projection_vectors, "records.json": record_vectors}


def main():
    """Overwrite the three files."""
    VECTORS.mkdir(parents=True, exist_ok=True)
    for file, made in FILES.items():
        (VECTORS / file).write_text(json.dumps(made(), indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
