"""What may come in: sizes, media types, headers, and how many calls at once."""

import asyncio
import base64
import gzip
import json

import pytest

from schemas import calls, limits
from tests.gateway.support import NOTE, UNIT

FETCH = calls.FetchRequest(limit=10).to_bytes()


def code(body):
    return json.loads(body)["code"]


async def test_a_call_reaches_the_core_and_its_answer_comes_back(line):
    status, headers, body = await line.post("/v1/inbox:fetch", FETCH)
    assert (status, headers["Content-Type"]) == (200, "application/vnd.handslag.avro")
    assert calls.FetchAnswer.from_bytes(body) == calls.FetchAnswer(items=(), heads=())
    assert line.core.asked == [(UNIT, calls.FetchRequest(limit=10))]


async def test_an_oversize_body_is_refused_unread(line):
    reader, writer = await raw(line)
    head = request_head(line, "/v1/inbox:fetch", f"Content-Length: {limits.CALL + 1}\r\nExpect: 100-continue\r\n")
    writer.write(head)
    first = await reader.readuntil(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 413 ")
    await closed(writer)
    assert line.core.asked == []


async def test_a_client_that_waits_is_asked_to_send(line):
    reader, writer = await raw(line)
    writer.write(request_head(line, "/v1/inbox:fetch", f"Content-Length: {len(FETCH)}\r\nExpect: 100-continue\r\n"))
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(FETCH)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    await closed(writer)


async def test_a_chunked_oversize_body_is_refused_before_its_end(line):
    reader, writer = await raw(line)
    writer.write(request_head(line, "/v1/inbox:fetch", "Transfer-Encoding: chunked\r\n"))
    size = limits.CALL + 1
    writer.write(f"{size:x}\r\n".encode() + bytes(size) + b"\r\n")  # and no last chunk: the body goes on
    async with asyncio.timeout(10):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 413 ")
    await closed(writer)
    assert line.core.asked == []


async def test_a_body_at_the_bound_is_read(line):
    status, _headers, body = await line.post("/v1/inbox:fetch", bytes(limits.CALL))
    assert (status, code(body)) == (400, "HS-PAYLOAD-REJECTED")


@pytest.mark.parametrize("kind", ["application/json", "application/octet-stream", None])
async def test_another_content_type_is_refused(line, kind):
    status, _headers, body = await line.post("/v1/inbox:fetch", FETCH, Content_Type=kind)
    assert (status, code(body)) == (415, "HS-CONTENT-TYPE")


async def test_a_compressed_body_is_refused(line):
    bomb = gzip.compress(bytes(50_000_000))
    status, _headers, body = await line.post("/v1/submissions", bomb, Content_Encoding="gzip")
    assert (status, code(body)) == (415, "HS-CONTENT-TYPE")


@pytest.mark.parametrize("garbage", [b"", b"\xc3", FETCH[:-1], FETCH + b"\0", FETCH[:10], b"\xc3\x01" + bytes(20)])
async def test_garbage_is_refused_in_the_one_shape(line, garbage):
    status, headers, body = await line.post("/v1/inbox:fetch", garbage)
    assert (status, headers["Content-Type"]) == (400, "application/problem+json")
    assert code(body) in {"HS-PAYLOAD-REJECTED", "HS-SCHEMA-UNKNOWN"}
    assert line.core.asked == []


@pytest.mark.parametrize("instance", [None, "", "0", "-1", "1.0", "x", "9" * 10, "٣"])
async def test_an_instance_number_has_one_form(line, instance):
    reader, writer = await raw(line)
    named = b"" if instance is None else b"Handslag-Instance: " + instance.encode() + b"\r\n"
    writer.write(request_head(line, "/v1/units", "", method="GET").replace(b"Handslag-Instance: 1\r\n", named))
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
    await closed(writer)
    assert line.core.saw == []


async def test_headers_reach_the_core_before_the_call(line):
    assert (await line.get("/v1/units", Handslag_Checkpoint=None))[0] == 200
    assert line.core.saw == [(UNIT, 1, None)]
    assert code((await line.get("/v1/units", Handslag_Checkpoint="***"))[2]) == "HS-HEADER-INVALID"
    assert (await line.get("/v1/units"))[0] == 200
    assert line.core.saw[-1] == (UNIT, 1, NOTE)
    line.core.newest_instance = 2
    line.core.asked.clear()
    assert code((await line.post("/v1/inbox:fetch", FETCH))[2]) == "HS-INSTANCE-OLD"
    assert line.core.asked == []


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/v1/inbox:fetch", calls.FetchRequest(limit=0), "HS-TOO-LARGE"),
        ("/v1/inbox:fetch", calls.FetchRequest(limit=limits.INBOX_ITEMS + 1), "HS-TOO-LARGE"),
        ("/v1/proofs", calls.ProofsRequest(leaf_hashes=(bytes(32),) * (limits.PROOFS + 1)), "HS-TOO-LARGE"),
        (
            "/v1/inbox:ack",
            calls.AckRequest(acks=(calls.Ack(item_id=bytes(16), hand_number=1, verdict="ACK"),) * 201),
            "HS-TOO-LARGE",
        ),
        (
            "/v1/submissions",
            calls.SubmitRequest(bundle=b"", unit_signature=bytes(64), submissions=()),
            "HS-BUNDLE-INVALID",
        ),
    ],
)
async def test_counts_are_bounded(line, path, body, expected):
    assert code((await line.post(path, body.to_bytes()))[2]) == expected
    assert line.core.asked == []


async def test_withdrawals_find_room_when_bulk_calls_do_not(line):
    gate = asyncio.Event()

    async def held():
        yield b"x"
        await gate.wait()

    waiting = [asyncio.create_task(line.post("/v1/submissions", held())) for _ in range(4)]
    while len(line.core.saw) < 4:
        await asyncio.sleep(0.01)
    status, headers, body = await line.post("/v1/submissions", b"x")
    assert (status, code(body), headers["Retry-After"]) == (429, "HS-BUSY", "1")
    act = calls.ConsentsRequest(call_id=bytes(16), seat_id=bytes(16), act=b"", signature=bytes(64))
    assert (await line.post("/v1/consents", act.to_bytes()))[0] == 200
    gate.set()
    assert {status for status, _headers, _body in await asyncio.gather(*waiting)} == {400}
    assert (await line.post("/v1/submissions", b"x"))[0] == 400


async def raw(line):
    context, fingerprint = line.pki.client()
    line.core.admitted[fingerprint] = UNIT
    return await asyncio.open_connection("127.0.0.1", line.serving.gateway.port, ssl=context)


async def closed(writer):
    writer.close()
    await writer.wait_closed()


def request_head(line, path, more, method="POST"):
    text = (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/vnd.handslag.avro\r\n"
        f"Handslag-Instance: 1\r\nHandslag-Checkpoint: {base64.b64encode(NOTE.encode()).decode()}\r\n{more}\r\n"
    )
    return text.encode()
