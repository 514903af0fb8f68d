"""An accidental change of the contract fails here before it breaks a signature or a trail."""

import json

import pytest

from schemas import codec
from tests.schemas.freeze import FILES
from tests.schemas.making import VECTORS, example_of, labelled


def frozen(file):
    return json.loads((VECTORS / file).read_text("utf-8"))


@pytest.mark.parametrize("file", FILES)
def test_the_contract_is_as_it_was_frozen(file):
    made, kept = FILES[file](), frozen(file)
    assert set(made) == set(kept)
    assert {name for name in made if made[name] != kept[name]} == set()


def test_a_frozen_record_still_opens():
    """Read from the file alone, so that a change of writer and reader together is seen."""
    kept = frozen("records.json")
    for cls in labelled():
        data = bytes.fromhex(kept[cls.LABEL]["hex"])
        assert cls.from_bytes(data).to_dict() == example_of(cls)
        assert codec.name_of(data) == cls.SCHEMA == kept[cls.LABEL]["schema"]
