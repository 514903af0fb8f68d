"""Every patch of `tests/sabotage/` still fits this tree, and the test it names exists."""

from __future__ import annotations

import re

import pytest

from tests.sabotage.patches import ROOT, Patch, all_patches
from tests.sabotage.run import apply, copy_of_tree

PATCHES = all_patches()


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    tree = tmp_path_factory.mktemp("tree")
    copy_of_tree(tree)
    return tree


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.name)
def test_a_patch_fits_and_names_a_test_that_exists(tree, patch):
    touched = re.findall(r"^\+\+\+ b/(.+)$", patch.path.read_text(), re.MULTILINE)
    assert touched
    assert not [name for name in touched if name.startswith("tests/")]  # the product is switched off, not the test
    before = {name: (tree / name).read_text() for name in touched}
    assert apply(patch, tree) is None
    for name, text in before.items():
        assert (tree / name).read_text() != text
        compile((tree / name).read_text(), name, "exec")
        (tree / name).write_text(text)
    file, test = patch.test.split("::")
    assert re.search(rf"^(async )?def {re.escape(test)}\(", (ROOT / file).read_text(), re.MULTILINE)


def test_a_stale_patch_says_so(tree, tmp_path):
    path = tmp_path / "99-stale.patch"
    path.write_text(PATCHES[0].path.read_text().replace("gate_version ==", "gate_version >="))
    assert "stale" in (apply(Patch(path, "-", "-"), tree) or "")


def test_there_are_enough():
    assert len(PATCHES) >= 14
    assert len({patch.name for patch in PATCHES}) == len(PATCHES)
