"""One site for all tests of the doctors."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from tests.doctor.site import Site


@pytest.fixture(scope="package")
def site(tmp_path_factory):
    with ExitStack() as running:
        yield Site.build(tmp_path_factory.mktemp("doctor"), running)
