"""Content."""

from collections.abc import Mapping

from audit.report import Report
from audit.trailfile import TrailFile


def check_content(trail: TrailFile, keys: Mapping[bytes, bytes], report: Report) -> None:
    """X."""
