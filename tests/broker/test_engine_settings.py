"""`[store]` and `[stream]`: what names another machine names how that machine is known."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from broker.engine_settings import StoreSettings, StreamSettings

FILES = {"ca_file": Path("ca"), "certificate_file": Path("certificate"), "key_file": Path("key")}


def test_the_short_forms_name_the_embedded_engines():
    assert StoreSettings.model_validate("sqlite") == StoreSettings()
    assert StreamSettings.model_validate("embedded") == StreamSettings()


@pytest.mark.parametrize("host", ["db.exempel", "192.0.2.1"])
def test_a_store_elsewhere_without_tls_is_refused(host):
    assert StoreSettings(engine="postgresql", host=host, ca_file=Path("ca")).host == host
    with pytest.raises(ValidationError):
        StoreSettings(engine="postgresql", host=host)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "/run/postgresql"])
def test_a_store_on_this_machine_needs_no_tls(host):
    assert StoreSettings(engine="postgresql", host=host).ca_file is None


def test_a_stream_elsewhere_without_tls_is_refused():
    here, there = ("127.0.0.1:9092",), ("127.0.0.1:9092", "kafka.exempel:9092")
    key = Path("transit.key")
    assert StreamSettings(engine="kafka", bootstrap=here, transit_key_file=key).bootstrap == here
    assert StreamSettings(engine="kafka", bootstrap=there, transit_key_file=key, **FILES).bootstrap == there
    with pytest.raises(ValidationError):
        StreamSettings(engine="kafka", bootstrap=there, transit_key_file=key)


@pytest.mark.parametrize("missing", FILES)
def test_a_part_of_what_tls_needs_is_refused(missing):
    files = {name: path for name, path in FILES.items() if name != missing}
    with pytest.raises(ValidationError):
        StreamSettings(engine="kafka", bootstrap=("127.0.0.1:9092",), transit_key_file=Path("k"), **files)


@pytest.mark.parametrize("missing", ["bootstrap", "transit_key_file"])
def test_a_kafka_stream_is_named_whole(missing):
    whole = {"bootstrap": ("127.0.0.1:9092",), "transit_key_file": Path("k")}
    del whole[missing]
    with pytest.raises(ValidationError):
        StreamSettings(engine="kafka", **whole)
