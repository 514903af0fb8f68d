"""Who gets through the door: TLS 1.3, a certificate of the right authority, and an admitted unit."""

import asyncio
import io
import json
import logging
import ssl
from datetime import timedelta

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from broker import pki
from schemas.errors import HandslagError
from tests.gateway.support import NOTE, UNIT, Pki, csr, usual


async def refused_by_tls(line, context):
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        with pytest.raises((aiohttp.ClientError, ssl.SSLError, ConnectionError)):
            async with session.get(line.url + "/v1/units", headers=usual()) as answer:
                await answer.read()
    assert line.core.asked == []


async def asked_with(line, context):
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session,
        session.get(line.url + "/v1/units", headers=usual()) as answer,
    ):
        body = await answer.read()
        return answer.status, json.loads(body) if answer.status >= 400 else {}


async def test_an_admitted_unit_is_known_by_its_certificate(line):
    status, _headers, _body = await line.get("/v1/units")
    assert status == 200
    assert line.core.saw == [(UNIT, 1, NOTE)]


async def test_no_certificate_is_refused(line):
    await refused_by_tls(line, line.pki.trusting())


async def test_a_certificate_of_another_authority_is_refused(line, tmp_path):
    other = Pki(tmp_path / "other")
    context, fingerprint = other.client()
    context.load_verify_locations(line.pki.folder / "ca.pem")
    line.core.admitted[fingerprint] = UNIT
    await refused_by_tls(line, context)


async def test_an_expired_certificate_is_refused(line):
    context, fingerprint = line.pki.client(ago=timedelta(days=pki.LEAF_DAYS, seconds=1))
    line.core.admitted[fingerprint] = UNIT
    await refused_by_tls(line, context)


async def test_a_server_certificate_is_no_client(line):
    chain = line.pki.folder / "chain.pem"
    chain.write_bytes((line.pki.folder / "server.pem").read_bytes() + (line.pki.folder / "server.key").read_bytes())
    await refused_by_tls(line, line.pki.trusting(chain))


async def test_tls_1_2_is_refused(line):
    context, fingerprint = line.pki.client()
    line.core.admitted[fingerprint] = UNIT
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    await refused_by_tls(line, context)


async def test_a_certificate_that_nobody_admitted_is_told_so(line):
    context, _fingerprint = line.pki.client()
    status, body = await asked_with(line, context)
    assert (status, body["code"], body["context"]) == (403, "HS-UNIT-UNKNOWN", {})


async def test_a_certificate_of_another_unit_than_it_was_admitted_for_is_refused(line):
    context, fingerprint = line.pki.client("POL/EXEMPEL")
    line.core.admitted[fingerprint] = UNIT
    assert (await asked_with(line, context))[1]["code"] == "HS-UNIT-UNKNOWN"


async def test_swedish_letters_survive_the_certificate(line):
    unit = "SOC/ÅÄÖEXEMPEL"
    context, fingerprint = line.pki.client(unit)
    line.core.admitted[fingerprint] = unit
    assert (await asked_with(line, context))[0] == 200
    assert line.core.saw[-1][0] == unit


async def test_a_connection_does_not_outlive_a_revocation(line):
    assert (await line.get("/v1/units"))[0] == 200
    line.core.admitted.clear()
    assert (await line.get("/v1/units"))[0] == 403


async def test_a_connection_does_not_outlive_its_certificate(line):
    context, fingerprint = line.pki.client(ago=timedelta(days=pki.LEAF_DAYS, seconds=-2))
    line.core.admitted[fingerprint] = UNIT
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        statuses = []
        for pause in (0, 2.5):
            await asyncio.sleep(pause)
            async with session.get(line.url + "/v1/units", headers=usual()) as answer:
                statuses.append(answer.status)
                await answer.read()
        assert statuses == [200, 403]


async def test_no_session_can_be_resumed(line):
    context, fingerprint = line.pki.client()
    line.core.admitted[fingerprint] = UNIT
    reader, writer = await asyncio.open_connection("127.0.0.1", line.serving.gateway.port, ssl=context)
    writer.write(b"GET /v1/units HTTP/1.1\r\nHost: 127.0.0.1\r\nHandslag-Instance: 1\r\n\r\n")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    connection = writer.get_extra_info("ssl_object")
    assert connection.version() == "TLSv1.3"
    assert not connection.session.has_ticket
    writer.close()
    await writer.wait_closed()


async def test_bytes_that_are_no_request_are_not_logged(line):
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)  # the plainest of handlers: the text must be gone before any of them
    logging.getLogger().addHandler(handler)
    try:
        context, _fingerprint = line.pki.client()
        reader, writer = await asyncio.open_connection("127.0.0.1", line.serving.gateway.port, ssl=context)
        writer.write(b"19121212-1212 \x01\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.0 400 ")
        writer.close()
        await writer.wait_closed()
        logging.getLogger("handslag.http").error("control 19121212-1212")
    finally:
        logging.getLogger().removeHandler(handler)
    assert "HTTP-FAULT" in stream.getvalue()
    assert "1912" not in stream.getvalue()


async def test_a_renewed_server_certificate_is_taken_without_a_restart(line):
    folder = line.pki.folder
    before = await server_serial(line)
    (folder / "server.pem").write_text("no certificate")
    with pytest.raises(HandslagError) as told:
        line.serving.renew_certificate()
    assert told.value.context == {"field": "tls.certificate_file"}
    assert await server_serial(line) == before
    key = pki.new_key()
    renewed = pki.server_certificate(line.pki.authority, key, ["127.0.0.1"], line.pki.now)
    (folder / "server.pem").write_bytes(renewed.public_bytes(serialization.Encoding.PEM))
    (folder / "server.key").write_bytes(pki.key_pem(key))
    line.serving.renew_certificate()
    assert await server_serial(line) == renewed.serial_number


async def server_serial(line):
    context, _fingerprint = line.pki.client()
    _reader, writer = await asyncio.open_connection("127.0.0.1", line.serving.gateway.port, ssl=context)
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    await writer.wait_closed()
    return x509.load_der_x509_certificate(der).serial_number


def test_a_request_for_another_unit_is_refused(tmp_path):
    files = Pki(tmp_path / "pki")
    key = pki.new_key()
    for request in (csr(key), csr(key, "POL/EXEMPEL"), csr(key, UNIT, "POL/EXEMPEL"), b"garbage"):
        with pytest.raises(HandslagError, match="HS-CERTIFICATE-INVALID"):
            pki.client_certificate(files.authority, request, UNIT, files.now)
    assert pki.named_unit(pki.client_certificate(files.authority, csr(key, UNIT), UNIT, files.now)) == UNIT


def test_the_authority_says_what_it_is_for(tmp_path):
    subject = Pki(tmp_path / "pki").authority.certificate.subject.rfc4514_string()
    assert "DEMONSTRATION ONLY" in subject
