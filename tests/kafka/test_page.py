"""docs/kafka.md does what it says: its lines make certificates that work, and its servers are as closed as ours."""

from __future__ import annotations

import re
import ssl
import subprocess
from pathlib import Path

import pytest

from broker.stream import acls
from deploy import kafka_jars

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/kafka.md").read_text(encoding="utf-8")


def block(mark):
    return re.search(rf"<!-- {mark} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)[1]


def settings(text):
    return dict(line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    subprocess.run(["sh", "-eu", "-c", block("run: certificates")], cwd=folder, capture_output=True, check=True)
    return folder


def shaken(made, server, client):
    """Both ends of TLS shake hands in memory; raises ssl.SSLError when one does not like the other."""
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=made / "kafka-ca.pem")
    serving.verify_mode = ssl.CERT_REQUIRED
    serving.load_cert_chain(made / f"{server}.both.pem")
    asking = ssl.create_default_context(cafile=made / "kafka-ca.pem")
    asking.load_cert_chain(made / f"{client}.pem", made / f"{client}.key")
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        asking.wrap_bio(down, up, server_hostname=f"{server}.exempel.invalid"),
        serving.wrap_bio(up, down, server_side=True),
    ]
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue


def test_its_certificates_let_nodes_and_servers_in_and_name_them(made):
    shaken(made, "kafka-1", "node-1")
    shaken(made, "kafka-1", "kafka-2")
    with pytest.raises(ssl.SSLError):
        shaken(made, "node-1", "kafka-1")
    named = {name: acls.principal((made / f"{name}.pem").read_bytes()) for name in ("kafka-1", "node-1", "node-2")}
    assert f"--principal {named['node-1']} --principal {named['node-2']}" in PAGE
    assert named["kafka-1"] in settings(block("compare: closed"))["super.users"].split(";")
    assert all(file.stat().st_mode & 0o077 == 0 for file in made.glob("*.key"))


def test_its_servers_are_as_closed_as_those_that_the_tests_try():
    said = settings(block("compare: closed"))
    ours = settings((kafka_jars.HERE / "closed.properties").read_text(encoding="utf-8"))
    assert {name: said.get(name) for name in ours if name != "super.users"} == {
        name: value for name, value in ours.items() if name != "super.users"
    }
    assert set(re.findall(r":(\w+)(?:,|$)", said["listener.security.protocol.map"])) == {"SSL"}
    assert said["unclean.leader.election.enable"] == "false"
