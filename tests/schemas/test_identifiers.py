"""Unit codes and identifiers."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import identifiers
from schemas.errors import HandslagError


def test_uuid7_of_rfc_9562():
    """RFC 9562 appendix A.6: Unix time 0x017F22E279B0, rand_a 0xCC3, rand_b 0x18C4DC0C0C07398F."""
    made = identifiers.uuid7(0x017F22E279B0 * 1000, bytes.fromhex("0cc318c4dc0c0c07398f"))
    assert identifiers.shown(made) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"
    # The bits that version and variant take over do not matter.
    assert identifiers.uuid7(0x017F22E279B0 * 1000 + 999, bytes.fromhex("fcc3d8c4dc0c0c07398f")) == made


@given(now=st.integers(0, (2**48 - 1) * 1000), random=st.binary(min_size=10, max_size=10))
def test_uuid7_keeps_its_time_version_and_variant(now, random):
    made = uuid.UUID(bytes=identifiers.uuid7(now, random))
    assert made.version == 7
    assert made.variant == uuid.RFC_4122
    assert made.int >> 80 == now // 1000
    assert identifiers.parsed(identifiers.shown(made.bytes)) == made.bytes


@pytest.mark.parametrize(("now", "random"), [(0, bytes(9)), (0, bytes(11)), (-1, bytes(10)), (2**48 * 1000, bytes(10))])
def test_uuid7_refuses_what_does_not_fit(now, random):
    with pytest.raises(HandslagError) as refused:
        identifiers.uuid7(now, random)
    assert refused.value.code == "HS-IDENTIFIER-INVALID"


@pytest.mark.parametrize("text", ["", "x", "017f22e2-79b0-7cc3-98c4-dc0c0c07398", "g" * 32])
def test_a_badly_spelled_identifier_is_refused(text):
    with pytest.raises(HandslagError) as refused:
        identifiers.parsed(text)
    assert refused.value.code == "HS-IDENTIFIER-INVALID"


@pytest.mark.parametrize("code", ["SOC/1280/KONSULT", "POL/SYD", "KV/EXEMPEL", "SIS/EXEMPEL/A1", "REG/12/VÅRD/ÖPPEN"])
def test_a_unit_code_is_taken_as_it_is(code):
    assert identifiers.checked_unit(code) == code
    assert identifiers.authority_of(code) == code.split("/")[0]


@pytest.mark.parametrize(
    "code",
    [
        *("", "SOC", "soc/1280", "SOC/", "/SOC", "SOC//A1", "SOC/A", "SOC/1280/", "SOC/1280\n", " SOC/1280", "S/1280"),
        *("SOC/12 80", "SOC/1/2", "SOC/AA/BB/CC/DD", "SOC/" + "A" * 17, "A" * 13 + "/AA", "SOC/A\u0130", "SOC/A:B"),
    ],
)
def test_a_malformed_unit_code_is_refused_without_repeating_it(code):
    with pytest.raises(HandslagError) as refused:
        identifiers.checked_unit(code)
    assert refused.value.code == "HS-IDENTIFIER-INVALID"
    assert refused.value.context == {"field": "unit"}
