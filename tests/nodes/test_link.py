"""A connector and a broker of several nodes, over real TLS: who is away is left, and nothing is sent twice for it."""

import asyncio
import contextlib
import json
import ssl
from datetime import UTC, datetime

import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization

from broker import pki
from connectors import enrolment, link, settings
from connectors.link import Link
from connectors.nodes import HOME_S, Nodes
from deploy.processes import free_ports
from schemas.errors import HandslagError

URLS = ("https://a.exempel.invalid", "https://b.exempel.invalid", "https://c.exempel.invalid")


class Hour:
    s = 0.0

    def __call__(self):
        return self.s


def test_calls_that_fail_together_skip_no_node():
    nodes = Nodes(URLS)
    asked = [nodes.now(), nodes.now()]
    for url in asked:
        nodes.away(url)
    assert asked == [URLS[0], URLS[0]]
    assert nodes.now() == URLS[1]


def test_the_first_of_the_list_is_asked_again_after_a_while():
    hour = Hour()
    nodes = Nodes(URLS, hour)
    nodes.away(URLS[0])
    hour.s = HOME_S - 1
    assert nodes.now() == URLS[1]
    hour.s = HOME_S
    assert nodes.now() == URLS[0]


def test_after_the_last_comes_the_first_and_a_list_of_one_stays():
    nodes = Nodes(URLS)
    for url in URLS:
        nodes.away(url)
    assert nodes.now() == URLS[0]
    alone = Nodes(URLS[:1])
    alone.away(URLS[0])
    assert alone.now() == URLS[0]


class House:
    """TLS endpoints that count what they are asked; answering bytes, a status with a code, or nothing."""

    def __init__(self, folder):
        now = datetime.now(UTC)
        self.authority = pki.new_authority(now)
        key = pki.new_key()
        certificate = pki.server_certificate(self.authority, key, ["127.0.0.1"], now)
        (folder / "server.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (folder / "server.key").write_bytes(pki.key_pem(key))
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(folder / "server.pem", folder / "server.key")
        self.folder = folder
        self.asked = []

    @contextlib.asynccontextmanager
    async def node(self, answer, port=0):
        async def handle(request):
            self.asked.append(port)
            if answer is None:
                request.transport.abort()
            if answer == "stands still":
                await asyncio.sleep(30)
            if answer == "late":
                await asyncio.sleep(0.5)
            if isinstance(answer, tuple):
                return web.json_response({"code": answer[1]}, status=answer[0])
            return web.Response(body=answer or b"")

        runner = web.ServerRunner(web.Server(handle, access_log=None), shutdown_timeout=0.1)
        await runner.setup()
        port = port or free_ports(1)[0]
        await web.TCPSite(runner, "127.0.0.1", port, ssl_context=self.context).start()
        try:
            yield f"https://127.0.0.1:{port}"
        finally:
            await runner.cleanup()

    def settings(self, *urls):
        who = enrolment.Unit(unit="SOC/EXEMPEL/KONSULT", agency="SOC/EXEMPEL", controller="EX", roles=("provider",))
        home = self.folder / "connector"
        if not home.exists():
            enrolment.initialise(home, who, None, {})
        request = json.loads((home / "request.json").read_text())
        made = pki.client_certificate(self.authority, request["csr_pem"].encode(), who.unit, datetime.now(UTC))
        pem = made.public_bytes(serialization.Encoding.PEM).decode()
        answer = {"certificate_pem": pem, "ca_pem": self.authority.pem.decode(), "broker_url": urls[0],
                  "origin": "exempel.invalid/audit", "log_key": "-", "further_urls": list(urls[1:])}  # fmt: skip
        (self.folder / "answer.json").write_text(json.dumps(answer))
        return enrolment.enrol(home / "connector.toml", self.folder / "answer.json")


@pytest.fixture
def house(tmp_path):
    return House(tmp_path)


@contextlib.asynccontextmanager
async def linked(house, *urls):
    async with Link(house.settings(*urls), lambda: None) as way:
        yield way


def nobody():
    return f"https://127.0.0.1:{free_ports(1)[0]}"


async def test_the_answer_of_the_operator_brings_every_node(house):
    made = house.settings(*URLS)
    assert made.broker_urls == URLS
    assert house.settings(URLS[0]).broker_urls == URLS[:1]  # and a shorter list takes the others away


def test_an_answer_with_other_addresses_than_https_is_refused(house):
    house.settings(*URLS)
    answer = json.loads((house.folder / "answer.json").read_text()) | {"further_urls": ["http://a.exempel.invalid"]}
    (house.folder / "answer.json").write_text(json.dumps(answer))
    with pytest.raises(HandslagError, match="HS-CONFIG-INVALID"):
        enrolment.enrol(house.folder / "connector/connector.toml", house.folder / "answer.json")
    assert settings.load(house.folder / "connector/connector.toml").broker_urls == URLS


async def test_a_node_that_is_gone_is_left_within_the_same_call(house):
    async with house.node(b"here") as second, linked(house, nobody(), second) as way:
        assert await way.raw("/v1/checkpoint") == b"here"
        assert await way.raw("/v1/checkpoint") == b"here"
    assert len(house.asked) == 2


async def test_a_call_whose_answer_was_lost_is_not_repeated_by_the_link(house):
    async with house.node(None) as first, house.node(b"here") as second, linked(house, first, second) as way:
        with pytest.raises(HandslagError, match="HS-BROKER-UNREACHABLE"):
            await way._once("POST", "/v1/submissions", b"x")
        assert len(house.asked) == 1
        assert await way._once("POST", "/v1/submissions", b"x") == b"here"  # who repeats it finds the other node
    assert len(house.asked) == 2


@pytest.mark.parametrize("code", ["HS-NOT-READY", "HS-NOT-RECORDED", "HS-BROKER-BEHIND"])
async def test_a_node_that_says_it_cannot_serve_is_left(house, code):
    async with house.node((503, code)) as first, house.node(b"here") as second, linked(house, first, second) as way:
        with pytest.raises(HandslagError, match=code):
            await way.raw("/v1/checkpoint")
        assert await way.raw("/v1/checkpoint") == b"here"


async def test_a_refusal_is_the_brokers_and_no_other_node_is_asked(house):
    refusal = (403, "HS-UNIT-UNKNOWN")
    async with house.node(refusal) as first, house.node(b"here") as second, linked(house, first, second) as way:
        for _ in range(2):
            with pytest.raises(HandslagError, match="HS-UNIT-UNKNOWN"):
                await way.raw("/v1/checkpoint")


async def test_when_no_node_is_there_it_says_so_and_wakes_who_waits_when_one_is_back(house):
    port = free_ports(1)[0]
    async with linked(house, nobody(), f"https://127.0.0.1:{port}") as way:
        with pytest.raises(HandslagError, match="HS-BROKER-UNREACHABLE"):
            await way.raw("/v1/checkpoint")
        waits = asyncio.create_task(way.back.wait())
        await asyncio.sleep(0)
        async with house.node(b"here", port):
            assert await way.raw("/v1/checkpoint") == b"here"
        await asyncio.wait_for(waits, 5)


async def test_a_node_that_stands_still_is_left_while_there_is_another(house, monkeypatch):
    monkeypatch.setattr(link, "PATIENCE_S", 0.5)
    async with house.node("stands still") as first, house.node(b"here") as second, linked(house, first, second) as way:
        began = asyncio.get_running_loop().time()
        with pytest.raises(HandslagError, match="HS-BROKER-UNREACHABLE"):
            await way._once("POST", "/v1/submissions", b"x")
        assert asyncio.get_running_loop().time() - began < 10
        assert await way._once("POST", "/v1/submissions", b"x") == b"here"


class Word:
    """A request and an answer of any bytes."""

    def to_bytes(self):
        return b"x"

    @classmethod
    def from_bytes(cls, body, _limit):
        return body


async def test_a_withdrawal_at_a_node_that_stands_still_is_answered_by_another_at_once(house):
    loop = asyncio.get_running_loop()
    async with house.node("stands still") as first, house.node(b"here") as second, linked(house, first, second) as way:
        for _ in range(2):
            began = loop.time()
            assert await way.call("/v1/consents", Word(), Word, pressing=True) == b"here"
            assert loop.time() - began < 5  # half a second and a TLS connection; standing still it would be ten
        assert len(house.asked) == 3  # and the second time nobody asks the one that stands still
        assert await way.raw("/v1/checkpoint") == b"here"


@pytest.mark.parametrize("trouble", [None, (503, "HS-NOT-RECORDED"), (503, "HS-NOT-READY")])
async def test_a_pressing_call_goes_on_to_the_next_node_whatever_the_first_says_of_itself(house, trouble):
    async with house.node(trouble) as first, house.node(b"here") as second, linked(house, first, second) as way:
        assert await way.call("/v1/consents", Word(), Word, pressing=True) == b"here"
    async with house.node(trouble) as first, linked(house, nobody(), first) as way:
        with pytest.raises(HandslagError, match=trouble[1] if trouble else "HS-BROKER-UNREACHABLE"):
            await way.call("/v1/consents", Word(), Word, pressing=True)


async def test_a_refusal_of_a_pressing_call_is_the_brokers_and_a_lone_node_is_asked_once(house, monkeypatch):
    monkeypatch.setattr(link, "SILENT_S", 0.05)
    refusal = (403, "HS-UNIT-UNKNOWN")
    async with house.node(refusal) as first, house.node(b"here") as second, linked(house, first, second) as way:
        with pytest.raises(HandslagError, match="HS-UNIT-UNKNOWN"):
            await way.call("/v1/consents", Word(), Word, pressing=True)
    house.asked.clear()
    async with house.node("late") as alone, linked(house, alone) as way:
        assert await way.call("/v1/consents", Word(), Word, pressing=True) == b"late"
    assert len(house.asked) == 1


async def test_a_pressing_call_does_not_hang_on_the_last_silent_node(house, monkeypatch):
    monkeypatch.setattr(link, "SILENT_S", 0.05)
    monkeypatch.setattr(link, "LAST_S", 0.3)
    busy = (503, "HS-NOT-RECORDED")
    async with house.node("stands still") as first, house.node(busy) as second, linked(house, first, second) as way:
        began = asyncio.get_running_loop().time()
        with pytest.raises(HandslagError, match="HS-NOT-RECORDED"):
            await way.call("/v1/consents", Word(), Word, pressing=True)
        assert asyncio.get_running_loop().time() - began < 5
