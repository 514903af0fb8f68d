"""Faults of the broker's own machine."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import signal
import socket
from pathlib import Path
from typing import Any

from cryptography import x509

from broker import pki
from tests.doctor.planting import DAY, Sick, over, plants, went_back
from tests.doctor.site import (
    NOW,
    Site,
    here,
    pem,
    set_line,
)


def server(config: Path, certificate: x509.Certificate, key: Any = None) -> Sick:
    tls = config.parent / "tls"
    (tls / "demo-server.pem").write_bytes(pem(certificate))
    if key is not None:
        (tls / "demo-server.key").write_bytes(pki.key_pem(key))
    return Sick(config)


def broker_certificate(site: Site, *, host: str = "127.0.0.1", at: dt.datetime = NOW, authority: Any = None) -> Sick:
    key = pki.new_key()
    made = pki.server_certificate(authority or site.authority, key, (host,), at)
    return server(site.broker(), made, key)


@plants("broker", "F-CERT-EXPIRED")
def a_server_certificate_of_last_year(site, stack):
    return broker_certificate(site, at=NOW - 200 * DAY)


@plants("broker", "F-CERT-EARLY")
def a_server_certificate_of_next_month(site, stack):
    return broker_certificate(site, at=NOW + 30 * DAY)


@plants("broker", "F-CERT-SOON")
def a_server_certificate_that_ends_next_week(site, stack):
    return broker_certificate(site, at=NOW - 83 * DAY)


@plants("broker", "F-CERT-NAME")
def a_server_certificate_for_another_host(site, stack):
    return broker_certificate(site, host="exempel.invalid")


@plants("broker", "F-CERT-AUTHORITY")
def a_server_certificate_of_another_authority(site, stack):
    return broker_certificate(site, authority=pki.new_authority(NOW))


@plants("broker", "F-CERT-KEY")
def another_key_under_the_server_certificate(site, stack):
    config = site.broker()
    (config.parent / "tls/demo-server.key").write_bytes(pki.key_pem(pki.new_key()))
    return Sick(config)


@plants("broker", "F-CERT-MISSING")
def no_server_certificate(site, stack):
    config = site.broker()
    (config.parent / "tls/demo-server.pem").unlink()
    return Sick(config)


@plants("broker", "F-AUTHORITY-EXPIRED")
def the_brokers_authority_is_over(site, stack):
    config = site.broker()
    (config.parent / "tls/demo-ca.pem").write_bytes(pem(over(site.authority)))
    return Sick(config)


@plants("broker", "F-KEY-FILE")
def a_log_key_that_is_gone(site, stack):
    config = site.broker()
    (config.parent / "keys/log.key").unlink()
    return Sick(config)


@plants("broker", "F-KEY-OPEN")
def a_root_key_that_others_may_read(site, stack):
    config = site.broker()
    (config.parent / "keys/root.key").chmod(0o604)
    return Sick(config)


@plants("broker", "F-FOLDER-OPEN")
def a_data_folder_that_others_may_enter(site, stack):
    config = site.broker()
    (config.parent / "data").chmod(0o750)
    return Sick(config)


@plants("broker", "F-FOLDER-MISSING")
def a_data_folder_that_is_gone(site, stack):
    config = site.broker()
    shutil.rmtree(config.parent / "data")
    return Sick(config)


@plants("broker", "F-BROKER-KEYS")
def a_root_key_of_another_broker(site, stack):
    config = site.broker()
    path = config.parent / "keys/root.key"
    path.write_text(json.dumps({"format": "handslag root key 1", "epoch": 1, "keks": {"1": os.urandom(32).hex()}}))
    return Sick(config)


@plants("broker", "F-BROKER-KEYS")
def a_key_database_that_is_gone(site, stack):
    config = site.broker()
    (config.parent / "data/keys.db").unlink()
    return Sick(config)


@plants("broker", "F-STORE-OLD")
def a_store_put_back_under_its_anchor(site, stack):
    broker, _config, _process = went_back(site, stack, anchor=False)
    return Sick(broker)


@plants("broker", "F-NOT-READY")
def a_broker_that_a_connector_contradicts(site, stack):
    broker, config, _process = went_back(site, stack, anchor=True)
    set_line(broker, "beat_seconds", "3600.0")
    stack.enter_context(site.serve(broker))
    here("connector", "doctor", "--config", config)  # any call carries the newest checkpoint
    return Sick(broker)


@plants("broker", "F-STORE-OLD", follow=("F-NOT-READY",))
def a_store_put_back_under_a_running_broker(site, stack):
    broker, _config, _process = went_back(site, stack, anchor=False)
    stack.enter_context(site.serve(broker))
    return Sick(broker)


@plants("broker", "F-ANCHOR")
def an_anchor_that_is_gone(site, stack):
    config = site.broker()
    (config.parent / "data/anchor").unlink()
    return Sick(config)


@plants("broker", "F-STORE-DAMAGED")
def nonsense_in_the_store(site, stack):
    config = site.broker()
    with (config.parent / "data/broker.db").open("r+b") as file:
        file.write(os.urandom(8192))
    return Sick(config)


@plants("broker", "F-STORE-AWAY")
def a_database_server_that_nobody_reaches(site, stack):
    config = site.broker()
    set_line(config, "store", '{ engine = "postgresql", host = "127.0.0.1", port = 1 }')
    return Sick(config)


@plants("broker", "F-ADMISSIONS")
def half_an_admission(site, stack):
    config = site.broker()
    path = next((config.parent / "data/admissions").glob("*.json"))
    path.write_bytes(path.read_bytes()[:100])
    return Sick(config)


@plants("broker", "F-PORT-TAKEN")
def somebody_on_the_brokers_port(site, stack):
    config = site.broker()
    port = int(config.read_text().split('url = "https://127.0.0.1:')[1].split('"')[0])
    taken = stack.enter_context(socket.socket())
    taken.bind(("127.0.0.1", port))
    taken.listen(1)
    return Sick(config)


@plants("broker", "F-NODE-SILENT")
def a_broker_that_hangs(site, stack):
    config = site.broker()
    process = stack.enter_context(site.serve(config))
    process.signal(signal.SIGSTOP)
    stack.callback(process.signal, signal.SIGCONT)
    return Sick(config)


@plants("broker", "F-DISK-FULL", follow=("F-STORE-DAMAGED", "F-BROKER-KEYS"))
def a_broker_disk_that_takes_no_more(site, stack):
    return Sick(site.broker(), {"SEED_FILE": "8192"})


@plants("broker", "F-DISK-LOW")
def half_a_gigabyte_left(site, stack):
    return Sick(site.broker(), {"SEED_FREE": str(512 * 2**20)})


@plants("broker", "F-NO-LOCKS")
def a_broker_drive_without_locks(site, stack):
    return Sick(site.broker(), {"SEED_NO_LOCKS": "1"})
