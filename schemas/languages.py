"""A text in the two languages that people read here; words of codes stand in the tables instead."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Text:
    """One sentence or word in Swedish and in English; `{}` in it are places for values."""

    sv: str
    en: str

    def told(self, language: str, *values: object, **named: object) -> str:
        """The text in `sv`, else in English, with the values in their places."""
        text = self.sv if language == "sv" else self.en
        return text.format(*values, **named) if values or named else text
