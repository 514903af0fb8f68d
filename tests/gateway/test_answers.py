"""What comes out: one shape for every refusal, nothing but codes in it, and lists that are the same for everybody."""

import io
import json
import logging
import re

import pytest

from broker import logs
from broker.gateway import calls as table
from broker.gateway.problems import problem
from broker.metrics import CALLS
from schemas import calls, catalogue
from schemas.errors import HandslagError, registry
from tests.gateway.support import UNIT

FETCH = calls.FetchRequest(limit=1).to_bytes()
MEMBERS = ["code", "context", "next_en", "next_sv", "retriable", "status", "title_en", "title_sv", "type"]
CANARY = "19121212-1212"


@pytest.mark.parametrize("code", sorted(registry()))
async def test_every_code_has_the_same_shape(line, code):
    line.core.raises = HandslagError(code)
    status, headers, body = await line.post("/v1/inbox:fetch", FETCH)
    told = json.loads(body)
    entry = registry()[code]
    assert status == told["status"] == entry.status
    assert headers["Content-Type"] == "application/problem+json"
    assert re.fullmatch(r"[0-9a-f]{32}", headers["Handslag-Correlation"])
    assert sorted(told) == MEMBERS
    assert (told["code"], told["title_sv"], told["next_en"]) == (code, entry.sv, entry.next_en)
    assert told["retriable"] is entry.retriable


async def test_unknown_foreign_and_closed_seats_answer_alike(line):
    answers = []
    for seat, context in ((b"\1", {}), (b"\2", {"state": "CLOSED"}), (b"\3", {"field": "seat_id"})):
        line.core.raises = HandslagError("HS-SEAT-UNKNOWN", **context)
        request = calls.CloseRequest(call_id=bytes(16), seat_id=seat * 16)
        status, headers, body = await line.post("/v1/seats:close", request.to_bytes())
        answers.append((status, body, {k: v for k, v in headers.items() if k not in {"Date", "Handslag-Correlation"}}))
    # INVARIANT: nothing but the moment and the random correlation id tells the three apart
    assert answers[0] == answers[1] == answers[2]
    assert answers[0][0] == 404


async def test_context_is_told_unless_it_looks_like_a_value(line):
    line.core.raises = HandslagError("HS-CODE-UNKNOWN", field="purposes", limit=3, value=CANARY, name="Åsa")
    told = json.loads((await line.post("/v1/inbox:fetch", FETCH))[2])
    assert told["context"] == {"field": "purposes", "limit": 3}


async def test_an_internal_fault_hides_every_value(line):
    stream = io.StringIO()
    kept = logging.getLogger().handlers[:]
    try:
        logs.configure(stream)
        line.core.raises = RuntimeError(f"row of {CANARY} at {UNIT}")
        status, headers, body = await line.post("/v1/inbox:fetch", FETCH)
    finally:
        logging.getLogger().handlers[:] = kept
    assert (status, json.loads(body)["code"]) == (500, "HS-INTERNAL")
    written = stream.getvalue()
    # positive control: the fault was logged, by type and under the number that the caller holds
    told = json.loads(written)
    assert (told["exception"], told["call"]) == ("RuntimeError", "fetch")
    assert told["correlation"] == headers["Handslag-Correlation"]
    for secret in (CANARY, UNIT, "Traceback", "row of"):
        assert secret not in written
        assert secret.encode() not in body


async def test_a_successful_call_logs_nothing(line):
    stream = io.StringIO()
    kept = logging.getLogger().handlers[:]
    try:
        logs.configure(stream)
        assert (await line.post("/v1/inbox:fetch", FETCH))[0] == 200
        assert stream.getvalue() == ""
        logging.getLogger("handslag.test").warning("control")
        assert "control" in stream.getvalue()
    finally:
        logging.getLogger().handlers[:] = kept


def test_a_foreign_log_record_loses_its_text():
    stream = io.StringIO()
    kept = logging.getLogger().handlers[:]
    try:
        logs.configure(stream)
        try:
            raise ValueError(CANARY)
        except ValueError:
            logging.getLogger("aiohttp.server").exception("Error handling %s", CANARY)
    finally:
        logging.getLogger().handlers[:] = kept
    assert CANARY not in stream.getvalue()
    assert json.loads(stream.getvalue())["exception"] == "ValueError"


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/v1/nothing"), ("GET", "/v1/submissions"), ("PUT", "/v1/units")]
)
async def test_an_unknown_call_has_the_one_shape(line, method, path):
    async with line.session.request(method, line.url + path, headers={"Handslag-Instance": "1"}) as answer:
        assert (answer.status, (await answer.json(content_type=None))["code"]) == (404, "HS-CALL-UNKNOWN")


@pytest.mark.parametrize("path", ["/v1/checkpoint/cosign"])
async def test_what_does_not_exist_yet_says_so(line, path):
    status, _headers, body = await line.post(path, b"")
    assert (status, json.loads(body)["code"]) == (501, "HS-NOT-YET")


async def test_lists_are_the_same_for_everybody(line):
    assert (await line.get("/v1/units"))[2] == calls.UnitsAnswer(units=()).to_bytes()
    assert (await line.get("/v1/rules"))[2] == b'version = "1"\n'
    assert (await line.get("/v1/checkpoint"))[1]["Content-Type"].startswith("text/plain")
    status, headers, body = await line.get("/v1/tile/0/x001/067.p/8")
    assert (status, headers["Content-Type"], len(body)) == (200, "application/octet-stream", 256)
    assert line.core.asked[-1] == (0, 1067, 8)
    assert json.loads((await line.get("/v1/tile/0/67"))[2])["code"] == "HS-TILE-UNKNOWN"


async def test_schemas_are_served_as_written(line):
    listed = json.loads((await line.get("/v1/schemas"))[2])["schemas"]
    assert {row["name"] for row in listed} == set(catalogue.loaded())
    name = "handslag.wire.Core"
    assert json.loads((await line.get(f"/v1/schemas/{name}"))[2]) == catalogue.by_name(name).source
    assert (await line.get("/v1/schemas/nothing"))[0] == 400


async def test_no_answer_names_the_software_or_may_be_cached(line):
    for _status, headers, _body in (await line.get("/v1/units"), await line.post("/v1/nothing", b"")):
        assert (headers["Server"], headers["Cache-Control"]) == ("handslag", "no-store")


def test_every_call_has_a_name_for_metrics():
    named = [*table.POSTS.values(), *table.GETS.values(), *table.FAMILIES.values()]
    assert {call.name for call in named} | set(table.NOT_YET.values()) | {"unknown"} == set(CALLS)


def test_no_path_has_a_place_for_an_identifier():
    assert not [path for path in [*table.POSTS, *table.GETS, *table.NOT_YET] if re.search(r"[{<*]", path)]
    assert set(table.FAMILIES) == {"/v1/acts/", "/v1/schemas/", "/v1/tile/"}


def test_equal_errors_give_equal_bytes():
    first, second = (problem(HandslagError("HS-TOO-LARGE", limit=1, field="a"), "c") for _ in range(2))
    assert first.body == second.body


async def test_every_refusal_after_authentication_is_an_entry(line):
    await line.post("/v1/nothing", b"")
    await line.post("/v1/inbox:fetch", b"not a record")
    assert [code for _unit, code in line.core.refusals] == ["HS-CALL-UNKNOWN", "HS-PAYLOAD-REJECTED"]


async def test_a_broker_that_is_behind_still_takes_a_withdrawal_and_shows_its_log(line):
    async def behind(unit, instance, note):
        raise HandslagError("HS-BROKER-BEHIND")

    line.core.seen = behind
    status, _headers, body = await line.post("/v1/inbox:fetch", b"")
    assert (status, json.loads(body)["code"]) == (503, "HS-BROKER-BEHIND")
    status, _headers, body = await line.post("/v1/consents", b"")
    assert json.loads(body)["code"] == "HS-PAYLOAD-REJECTED"  # it was looked at
    async with line.session.get(line.url + "/v1/checkpoint", headers={"Handslag-Instance": "1"}) as answer:
        assert answer.status == 200
