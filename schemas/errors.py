"""The one registry of errors: code, who acts, whether to try again, HTTP status, Swedish and English.

    HandslagError                every failure that crosses a package boundary
    └── PayloadRejected          bytes that are not what they should be (always `HS-PAYLOAD-REJECTED`)

The table lies in `tables/errors.toml`; documentation and tests are made from it. A text never repeats a value
from the input: what was wrong is told by the code, what is known about it goes into `context`, whose values are
names of this product (field names, codes, counts), never content.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Self


@dataclass(frozen=True, slots=True)
class ErrorEntry:
    """One row of the registry."""

    code: str
    who: str
    retriable: bool
    status: int
    sv: str
    en: str
    next_sv: str
    next_en: str


@cache
def registry() -> dict[str, ErrorEntry]:
    """Every error of the product by its code."""
    text = resources.files("schemas").joinpath("tables/errors.toml").read_text(encoding="utf-8")
    return {code: ErrorEntry(code=code, **row) for code, row in tomllib.loads(text).items()}


class HandslagError(Exception):
    """A failure with a code of the registry.

    `context` holds product words only (a field's name, a count, another code), never a value of the input.
    """

    def __init__(self, code: str, /, **context: str | int) -> None:  # `/`: a broker's context may name `code`
        entry = registry()[code]
        self.code = code
        self.context = context
        self.retry_after_s: int | None = None
        super().__init__(code, entry.en)

    def after(self, seconds: int) -> Self:
        """The same error with the seconds to wait before the next try (RFC 9110 section 10.2.3, Retry-After)."""
        self.retry_after_s = seconds
        return self

    @property
    def entry(self) -> ErrorEntry:
        """The row of the registry."""
        return registry()[self.code]

    def diagnostics(self, language: str = "en") -> str:
        """Sentence and next step for a person, in `sv` or `en`."""
        entry = self.entry
        told = f" ({', '.join(f'{k}: {v}' for k, v in sorted(self.context.items()))})" if self.context else ""
        if language == "sv":
            return f"{self.code}: {entry.sv}{told}. {entry.next_sv}"
        return f"{self.code}: {entry.en}{told}. {entry.next_en}"

    def __str__(self) -> str:
        return self.diagnostics("en")


class PayloadRejected(HandslagError):  # noqa: N818 - the protocol's own word
    """Bytes that do not decode to what was asked for; nothing of them was used."""

    def __init__(self, /, **context: str | int) -> None:
        super().__init__("HS-PAYLOAD-REJECTED", **context)
