"""One connector on real files, as the tests of the agency's side have it."""

from tests.agency.conftest import world

__all__ = ["world"]
