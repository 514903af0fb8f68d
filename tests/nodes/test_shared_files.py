"""Two folders of one store: what is written in one lies in the other, and nobody writes over what he has not seen."""

import pytest

from broker import actfiles
from broker.sharedfiles import MANIFEST, Plan, Seen, SharedFiles, plan
from schemas.errors import HandslagError
from tests.site import Site

ACT = f"{actfiles.FOLDER}/000001.act"
ONE = "admissions/0123456789abcdef0123456789abcdef.json"


def test_what_is_carried_where():
    seen = {name: Seen(3, "x") for name in ("same", "mine", "theirs", "both", "gone")}
    here = {"same": "x", "mine": "y", "theirs": "x", "both": "y", "new": "z", "unsure": "z"}
    there = {"same": 3, "mine": 3, "theirs": 4, "both": 4, "gone": 3, "unsure": 1, "far": 1}
    assert plan(here, seen, there) == Plan(push=("mine", "new"), pull=("both", "far", "gone", "theirs", "unsure"))


class Folders:
    """Two nodes' folders on one store."""

    def __init__(self, tmp_path, site):
        self.site = site
        self.paths = [tmp_path / "a", tmp_path / "b"]
        for path in self.paths:
            path.mkdir()
        self.nodes = [SharedFiles(path, site.store) for path in self.paths]

    def write(self, node, name, content):
        path = self.paths[node] / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)

    def read(self, node, name):
        return (self.paths[node] / name).read_bytes()

    async def sync(self):
        for node in self.nodes:
            await node.sync()

    async def number(self):
        return (await self.site.store.read(lambda rows: rows.shared.state())).number


@pytest.fixture
def folders(tmp_path):
    site = Site(tmp_path / "site")
    yield Folders(tmp_path, site)
    site.close()


async def test_what_is_written_in_one_folder_lies_in_the_other(folders):
    for name in (ACT, ONE, "admissions/regions.toml", "trust-signatures.json"):
        folders.write(0, name, b"content of " + name.encode())
    await folders.sync()
    for name in (ACT, ONE, "admissions/regions.toml", "trust-signatures.json"):
        assert folders.read(1, name) == b"content of " + name.encode()
    folders.write(1, ONE, b"revoked")
    await folders.nodes[1].look()
    await folders.nodes[0].sync()
    assert folders.read(0, ONE) == b"revoked"


async def test_nothing_else_of_the_folder_is_carried(folders):
    for name in ("keys.db", "anchor", "control.sock", MANIFEST, "admissions/.draft.part", "acts/notes.txt"):
        folders.write(0, name, b"{}")
    await folders.sync()
    assert sorted(path.name for path in folders.paths[1].rglob("*") if path.is_file()) == []


async def test_an_act_that_another_node_was_faster_with_is_refused(folders):
    folders.write(0, ACT, b"an act")
    folders.write(1, ACT, b"another of the same number")
    await folders.nodes[0].sync()
    with pytest.raises(HandslagError, match="HS-ADMIN-ACT-INVALID"):
        await folders.nodes[1].sync()
    assert folders.read(1, ACT) == b"an act"
    await folders.sync()  # and it is over


async def test_a_file_that_was_changed_on_both_sides_is_the_stores(folders):
    folders.write(0, ONE, b"1")
    await folders.sync()
    folders.write(0, ONE, b"2")
    folders.write(1, ONE, b"3")
    await folders.sync()
    assert [folders.read(node, ONE) for node in (0, 1)] == [b"2", b"2"]


async def test_a_crash_before_the_manifest_loses_nothing(folders):
    folders.write(0, ACT, b"an act")
    await folders.sync()
    folders.write(0, ONE, b"1")
    before = folders.read(0, MANIFEST)
    await folders.nodes[0].sync()
    (folders.paths[0] / MANIFEST).write_bytes(before)  # as it was when the node fell
    await folders.sync()
    assert folders.read(0, ONE) == folders.read(1, ONE) == b"1"
    (folders.paths[1] / MANIFEST).unlink()
    await folders.sync()
    assert folders.read(1, ACT) == b"an act"


async def test_a_look_at_an_unchanged_folder_writes_nothing(folders):
    folders.write(0, ACT, b"an act")
    await folders.sync()
    before = await folders.number()
    for node in folders.nodes:
        await node.look()
        await node.sync()
    assert await folders.number() == before


async def test_a_file_of_the_store_lands_nowhere_but_in_its_place(folders):
    for name in ("../acts/000009.act", "keys.db", "acts/../keys.db"):
        await folders.site.store.write(lambda rows, name=name: rows.shared.put_file(name, b"x", 0))
        with pytest.raises(HandslagError, match="HS-SETTINGS-INVALID"):
            await folders.nodes[0].sync()
        await folders.site.store.write(lambda rows: rows.shared._c.exec_driver_sql("DELETE FROM shared_file"))
    assert sorted(path.name for path in folders.paths[0].rglob("*")) == []
    assert not (folders.paths[0].parent / "acts").exists()
