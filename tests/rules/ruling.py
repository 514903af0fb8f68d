"""Rule files for the tests: the shipped one with a line changed, reviewed and with a source for every row."""

from __future__ import annotations

import tomllib

from consent.rules import Rules, parse, shipped
from consent.rules_about import rows

SHIPPED = shipped()[0].decode()


def reviewed(text: str = SHIPPED, version: str = "2026-12-01") -> str:
    """A file that may be proposed, of a version of its own."""
    since = text.split("in_force_from = ")[1].split("\n", maxsplit=1)[0]
    old = tomllib.loads(text)["version"]
    text = text.replace(f'version = "{old}"', f'version = "{version}"').replace(since, version[:10])
    sources = "".join(f'"{row}" = "EXEMPEL {row}"\n' for row in sorted(set(rows(tomllib.loads(text)))))
    review = '[review]\nby = "exempel-jurist"\nat = 2026-11-20\n'
    return f"{text}\n{review}\n[sources]\n{sources}"


def changed(*pairs: tuple[str, str], text: str = SHIPPED) -> str:
    """A file with words replaced; each must be there."""
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


def rules(text: str) -> Rules:
    """What a file says."""
    return parse(text.encode())


# What the police may tell social services (LB-11) and what health care may (LB-23), one line each.
POLICE = 'recipient = "social_services_lead"\ncategories = ["IC04", "IC06"]'
HEALTH = 'categories = ["IC07"]'
OPENING = changed((HEALTH, 'categories = ["IC07", "IC08"]'))
CLOSED = changed((POLICE, 'recipient = "social_services_lead"\ncategories = ["IC06"]'))
