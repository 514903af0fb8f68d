"""A further node's folder: what is copied, what is not, and who may not have one."""

import json
from datetime import UTC, datetime

import pytest

from broker import initialise, joining, settings
from broker.anchor import Anchor
from broker.doctor import examine
from schemas.errors import HandslagError
from tests.hold.test_node import beats
from tests.nodes.opened import ORIGIN, folders, further, nodes

PLAN = joining.JoinPlan("127.0.0.1:8444", ("node2.exempel.invalid",), "127.0.0.1:9465")


async def test_a_further_node_remembers_what_the_first_one_saw(tmp_path, migrated_database):
    async with nodes(tmp_path, migrated_database, 1) as (one,):
        await beats(one, 2)
        made = further(tmp_path, tmp_path / "node0/broker.toml", 7)
        assert Anchor(made.data_dir / "anchor", ORIGIN).read() == one.sealer.known
        told = {each.found.code for each in examine(tmp_path / "node7/broker.toml")}
    assert not {code for code in told if code.startswith("F-")}


def test_what_is_copied_and_what_stays(tmp_path, database):
    first, _loaded = folders(tmp_path, database)
    made = settings.load(joining.join(tmp_path / "second", first, PLAN, datetime.now(UTC)))
    other = settings.load(first)
    for name in ("log_key_file", "root_key_file", "supervisor_key_file"):
        path = getattr(made, name)
        assert path.read_bytes() == getattr(other, name).read_bytes()
        assert path.is_relative_to(tmp_path / "second")
        if name != "supervisor_key_file":
            assert path.stat().st_mode & 0o077 == 0
    assert made.store.password_file.read_bytes() == other.store.password_file.read_bytes()
    assert (made.origin, made.beat_seconds, made.store.database) == (ORIGIN, other.beat_seconds, other.store.database)
    assert made.url == "https://node2.exempel.invalid:8444"
    assert made.further_urls == (other.url,)
    assert made.admission is None
    assert made.administration is None
    assert b"PRIVATE" not in b"".join(
        path.read_bytes() for path in (tmp_path / "second/tls").iterdir() if path.suffix != ".key"
    )
    copied = {path.name for path in (tmp_path / "second").rglob("*") if path.is_file()}
    assert not {"demo-ca.key", "first.key", "second.key", "keys.db", "broker.db"} & copied


def test_a_store_in_a_file_takes_no_further_node(tmp_path):
    plan = initialise.InitPlan("127.0.0.1:0", ("127.0.0.1",), ORIGIN, None, "127.0.0.1:0")
    made = initialise.initialise(tmp_path / "broker", plan, datetime.now(UTC))
    with pytest.raises(HandslagError, match="HS-STORE-ALONE"):
        joining.join(tmp_path / "second", made.config, PLAN, datetime.now(UTC))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broker"]


def test_a_folder_that_holds_anything_is_left_alone(tmp_path, database):
    first, _loaded = folders(tmp_path, database)
    (tmp_path / "second").mkdir()
    (tmp_path / "second/mine").write_text("x")
    with pytest.raises(HandslagError, match="HS-INIT-EXISTS"):
        joining.join(tmp_path / "second", first, PLAN, datetime.now(UTC))
    assert [path.name for path in (tmp_path / "second").iterdir()] == ["mine"]


def test_a_configuration_is_written_as_it_was_read(tmp_path, database):
    first, loaded = folders(tmp_path, database)
    text = first.read_text().replace("beat_seconds = 10.0", 'wait_seconds = 3\nbeat_seconds = 2.5\n# "quoted"')
    first.write_text(text + "\n[quotas]\ncalls_per_second = 7.5\n")
    made = settings.load(joining.join(tmp_path / "second", first, PLAN, datetime.now(UTC)))
    assert (made.beat_seconds, made.wait_seconds, made.quotas.calls_per_second) == (2.5, 3, 7.5)
    assert json.loads(made.store.model_dump_json(include={"port"})) == {"port": loaded[0].store.port}
