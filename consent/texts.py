"""Which wordings exist that can be told to a person before a consent: data, one row for each language and form."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from typing import NamedTuple

from schemas.acts import InformationGiven


class Text(NamedTuple):
    """One wording: its version, language (BCP 47), form (a word of list `text_form`) and SHA-256 (32 bytes)."""

    version: str
    language: str
    form: str
    sha256: bytes


@cache
def shipped() -> frozenset[Text]:
    """The wordings that come with this version."""
    text = resources.files("consent").joinpath("texts").joinpath("index.toml").read_text(encoding="utf-8")
    return frozenset(
        Text(row["version"], row["language"], row["form"], bytes.fromhex(row["sha256"]))
        for row in tomllib.loads(text)["texts"]
    )


def known(version: str, told: InformationGiven, texts: frozenset[Text] | None = None) -> bool:
    """Whether the telling names a wording that exists, in that language and form and with that hash."""
    among = shipped() if texts is None else texts
    return Text(version, told.language, told.form, told.text_hash) in among
