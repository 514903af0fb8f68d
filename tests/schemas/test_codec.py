"""Decoding what a stranger sent: a size first, then a fingerprint, one kind of error, nothing left over."""

import copy
import random

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import catalogue, codec
from schemas.errors import HandslagError, PayloadRejected
from tests.schemas.making import example, expanded

NAMES = sorted(catalogue.loaded())
RECEIPT = "handslag.inbox.Receipt"
ROUTING = "handslag.wire.RoutingItem"


def example_bytes(name):
    """Valid single-object bytes of a schema."""
    return codec.encode(name, example(expanded(dict(catalogue.by_name(name).source)), name))


def long(value):
    """A zigzag varint as the Avro specification writes a long."""
    value = (value << 1) ^ (value >> 63)
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def decoded(name, data):
    """Whether it decodes; any other refusal than the one of bytes that do not follow their schema goes through."""
    try:
        return isinstance(codec.decode(name, data), dict)
    except PayloadRejected:
        return False


def refused(call):
    """The code of the refusal; anything but an error of the registry fails the test."""
    with pytest.raises(HandslagError) as error:
        call()
    return error.value.code


def test_the_published_fingerprint_of_int():
    """CRC-64-AVRO of `"int"` as the Avro project's own test table gives it: 7275d51a3f395c8f, low byte first."""
    wire = bytes.fromhex(fastavro.schema.fingerprint('"int"', "CRC-64-AVRO"))
    assert wire == 0x7275D51A3F395C8F.to_bytes(8, "little")


def crc64(data):
    """The specification's own algorithm: 64-bit Rabin fingerprint with the published empty value."""
    empty = 0xC15D213AA4D7A795
    found = empty
    for byte in data:
        found ^= byte
        for _ in range(8):
            found = (found >> 1) ^ (empty & -(found & 1))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_header_is_marker_and_fingerprint_low_byte_first(name):
    assert crc64(b'"int"') == 0x7275D51A3F395C8F
    entry = catalogue.by_name(name)
    canonical = fastavro.schema.to_parsing_canonical_form(copy.deepcopy(entry.parsed))
    assert entry.header == b"\xc3\x01" + crc64(canonical.encode()).to_bytes(8, "little")


@pytest.mark.parametrize("name", NAMES)
def test_an_example_survives_and_its_pieces_do_not(name):
    data = example_bytes(name)
    assert codec.encode(name, codec.decode(name, data)) == data
    assert codec.name_of(data) == name
    assert refused(lambda: codec.decode(name, data + b"\x00")) == "HS-PAYLOAD-REJECTED"
    for length in range(len(data)):
        code = refused(lambda length=length: codec.decode(name, data[:length]))
        assert code == ("HS-SCHEMA-UNKNOWN" if 2 <= length < 10 else "HS-PAYLOAD-REJECTED")


@pytest.mark.parametrize("name", NAMES)
def test_no_bytes_make_anything_but_our_own_errors(name):
    """Random bytes, and valid bytes with bits turned over, cut, doubled: decoded or refused, nothing else."""
    rng = random.Random(name)
    fine = example_bytes(name)
    body = fine[10:]
    for _ in range(250):
        wrong = bytearray(body)
        for _ in range(rng.randrange(1, 5)):
            wrong[rng.randrange(len(wrong))] ^= 1 << rng.randrange(8)
        at = rng.randrange(len(body))
        for hostile in (bytes(wrong), rng.randbytes(rng.randrange(120)), body[:at] + rng.randbytes(6) + body[at:]):
            decoded(name, fine[:10] + hostile)
    assert decoded(name, fine)  # positive control


@settings(max_examples=150, deadline=None)
@given(name=st.sampled_from(NAMES), body=st.binary(max_size=300))
def test_any_body_is_decoded_or_rejected(name, body):
    decoded(name, catalogue.by_name(name).header + body)


@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=40))
def test_bytes_without_our_header_are_told_apart(data):
    for call in (lambda: codec.name_of(data), lambda: codec.decode(RECEIPT, data)):
        assert refused(call) in {"HS-PAYLOAD-REJECTED", "HS-SCHEMA-UNKNOWN"}


def test_the_size_is_looked_at_first():
    data = example_bytes(RECEIPT)
    assert codec.decode(RECEIPT, data, limit=len(data))
    assert refused(lambda: codec.decode(RECEIPT, data, limit=len(data) - 1)) == "HS-TOO-LARGE"
    assert refused(lambda: codec.decode(RECEIPT, bytes(codec.DEFAULT_LIMIT + 1))) == "HS-TOO-LARGE"
    assert refused(lambda: codec.decode(RECEIPT, bytes(codec.DEFAULT_LIMIT))) == "HS-PAYLOAD-REJECTED"


@pytest.mark.parametrize("size", [-1, -(2**62), -(2**63), 2**31, 2**40, 2**62, 2**63 - 1])
def test_hostile_lengths_allocate_nothing(size):
    """A length of bytes, a count of items and a block's size in bytes, each far from what follows."""
    core = catalogue.by_name("handslag.wire.Submission")
    proofs = catalogue.by_name("handslag.api.ProofsRequest")
    units = catalogue.by_name("handslag.api.UnitsAnswer")
    for entry, body in (
        (core, long(size) + bytes(64)),
        (proofs, long(size) + bytes(64)),
        (proofs, long(-1) + long(size)),
        (units, long(size) + bytes(64)),
        (units, long(2) + long(size) + bytes(64)),
    ):
        assert refused(lambda entry=entry, body=body: codec.decode(entry.name, entry.header + body)) == (
            "HS-PAYLOAD-REJECTED"
        )


def test_text_that_is_no_utf8_is_rejected():
    answer = catalogue.by_name("handslag.api.SubmitAnswer")
    plain = long(0) + long(1) + long(0) + long(2) + b"HS" + long(0)
    assert codec.decode(answer.name, answer.header + plain)["refusals"][0]["code"] == "HS"
    for wrong in (b"\xff\xfe", b"\xed\xa0", b"\xc0\x80"):
        body = plain.replace(b"HS", wrong)
        assert refused(lambda body=body: codec.decode(answer.name, answer.header + body)) == "HS-PAYLOAD-REJECTED"


@pytest.mark.parametrize("name", NAMES)
def test_unknown_and_missing_keys_are_refused_on_writing(name):
    source = expanded(dict(catalogue.by_name(name).source))
    fine = example(source, name)
    assert refused(lambda: codec.encode(name, {**fine, "surplus": 1})) == "HS-PAYLOAD-REJECTED"
    for field in source["fields"]:
        less = {key: value for key, value in fine.items() if key != field["name"]}
        if not isinstance(field["type"], list):
            assert refused(lambda less=less: codec.encode(name, less)) == "HS-PAYLOAD-REJECTED"


@pytest.mark.parametrize(
    "wrong",
    [
        {"seat_id": bytes(15)},
        {"seat_id": "x" * 16},
        {"attempt": "1"},
        {"attempt": 2**70},
        {"attempt": None},
        {"roles": None},
        {"roles": 5},
        {"roles": [None]},
        {"roles": [{}]},
        {"refused_code": 5},
        {"refused_code": "\ud800"},
        {"refused_code": b"HS"},
    ],
)
def test_a_wrong_type_is_rejected_on_writing(wrong):
    fine = example(expanded(dict(catalogue.by_name(RECEIPT).source)), RECEIPT)
    assert codec.encode(RECEIPT, fine)
    assert refused(lambda: codec.encode(RECEIPT, {**fine, **wrong})) == "HS-PAYLOAD-REJECTED"


def test_a_refusal_tells_nothing_of_the_input():
    """The library's own messages repeat what it read."""
    fine = example(expanded(dict(catalogue.by_name(RECEIPT).source)), RECEIPT)
    canary = "EXEMPEL-CANARY-196001012384"
    for wrong in ({"attempt": canary}, {"roles": [canary]}, {canary: 1}, {"seat_id": canary.encode()}):
        with pytest.raises(PayloadRejected) as error:
            codec.encode(RECEIPT, {**fine, **wrong})
        shown = str(error.value) + error.value.diagnostics("sv") + repr(error.value.context) + repr(error.value.args)
        assert canary not in shown
        assert error.value.__cause__ is None
        assert error.value.__suppress_context__


def test_an_unknown_name_has_a_code():
    assert refused(lambda: codec.encode("handslag.wire.Nothing", {})) == "HS-SCHEMA-UNKNOWN"
    assert refused(lambda: codec.decode("handslag.wire.Nothing", b"")) == "HS-SCHEMA-UNKNOWN"
