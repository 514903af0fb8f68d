"""Plants every fault of docs/faults.md for real, from that page alone: what is wrong, and what follows from it.

A plant spoils a copy of a site that has run, or starts what is in the way (an endpoint, a process), and gives the
configuration to examine. The doctor must then name exactly the fault, and of what follows at least nothing undeclared.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import signal
import socket
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from broker import admissions, control, pki
from connectors import enrolment, identity, trust
from connectors import settings as connector_settings
from connectors.link import tls_context
from deploy.processes import free_ports
from tests.doctor.site import (
    NOW,
    Report,
    Site,
    apart,
    copy_data,
    csr,
    endpoint,
    here,
    listening,
    pem,
    seen,
    server_pair,
    set_line,
    until,
)

DAY = dt.timedelta(days=1)
UNIT = "SOC/EXEMPEL/KONSULT"


@dataclass
class Sick:
    """What to examine: a configuration, what the machine has besides, and further words of the command."""

    config: Path
    environment: dict[str, str] = field(default_factory=dict)
    words: tuple[str, ...] = ()


Plant = Callable[[Site, ExitStack], Sick]


@dataclass(frozen=True)
class Seeded:
    """A plant with what the page says of it: side, the faults to be named, and those that may follow."""

    name: str
    side: str
    plant: Plant
    faults: frozenset[str]
    follow: frozenset[str]

    def examined(self, site: Site) -> Report:
        """Plant it and ask the doctor, in a process of its own where the machine itself is wrong."""
        with ExitStack() as stack:
            sick = self.plant(site, stack)
            words = (*(("connector", "doctor") if self.side == "connector" else ("doctor",)), "--config", sick.config)
            if sick.environment:
                return apart(sick.environment, *words, *sick.words)
            return here(*words, *sick.words)


SEEDED: dict[str, Seeded] = {}


def plants(side: str, *faults: str, follow: tuple[str, ...] = ()) -> Callable[[Plant], Plant]:
    def kept(plant: Plant) -> Plant:
        name = f"{side} {plant.__name__.replace('_', ' ')}"
        SEEDED[name] = Seeded(name, side, plant, frozenset(faults), frozenset(follow))
        return plant

    return kept


# --- the connector's certificate


@plants("connector", "F-CERT-MISSING")
def no_certificate(site, stack):
    config = site.connector()
    (config.parent / "keys/certificate.pem").unlink()
    return Sick(config)


@plants("connector", "F-CERT-MISSING")
def nonsense_for_an_authority(site, stack):
    config = site.connector()
    (config.parent / "keys/ca.pem").write_text("EXEMPEL")
    return Sick(config)


def issued(
    site: Site, config: Path, unit: str = UNIT, at: dt.datetime = NOW, authority: Any = None
) -> x509.Certificate:
    """A certificate for the connector's key, put in place."""
    certificate = pki.client_certificate(authority or site.authority, csr(config, unit), unit, at)
    (config.parent / "keys/certificate.pem").write_bytes(pem(certificate))
    return certificate


@plants("connector", "F-CERT-EXPIRED", follow=("F-CERT-REFUSED",))
def a_certificate_of_last_year(site, stack):
    config = site.connector()
    issued(site, config, at=NOW - 200 * DAY)
    return Sick(config)


@plants("connector", "F-CERT-EARLY", follow=("F-CERT-REFUSED",))
def a_certificate_of_next_month(site, stack):
    config = site.connector()
    issued(site, config, at=NOW + 30 * DAY)
    return Sick(config)


@plants("connector", "F-CERT-SOON")
def a_certificate_that_ends_next_week(site, stack):
    config, unit = site.extra()
    certificate = issued(site, config, unit, NOW - 83 * DAY)
    data = site.folder / "broker/data"
    (kept,) = [each for each in admissions.load_all(data) if each.unit == unit]
    sha = certificate.fingerprint(hashes.SHA256())
    control.call(data, "admit_together", {"admissions": [replace(kept, certificate_sha256=sha).to_json()]})
    return Sick(config)


@plants("connector", "F-CERT-NAME")
def certificate_and_key_of_another_unit(site, stack):
    config = site.connector()
    for name in ("certificate.pem", "certificate.key"):
        shutil.copy2(site.folder / "syd/keys" / name, config.parent / "keys" / name)
    return Sick(config)


@plants("connector", "F-CERT-NAME", follow=("F-CERT-KEY",))
def certificate_of_another_unit_beside_the_own_key(site, stack):
    config = site.connector()
    shutil.copy2(site.folder / "syd/keys/certificate.pem", config.parent / "keys/certificate.pem")
    return Sick(config)


@plants("connector", "F-CERT-KEY")
def another_key_under_the_certificate(site, stack):
    config = site.connector()
    (config.parent / "keys/certificate.key").write_bytes(pki.key_pem(pki.new_key()))
    return Sick(config)


@plants("connector", "F-CERT-AUTHORITY", follow=("F-TLS-INSPECTION",))
def another_authority_in_the_authority_file(site, stack):
    config = site.connector()
    (config.parent / "keys/ca.pem").write_bytes(pki.new_authority(NOW).pem)
    return Sick(config)


@plants("connector", "F-AUTHORITY-EXPIRED", follow=("F-SERVER-EXPIRED", "F-CERT-REFUSED"))
def an_authority_whose_year_is_over(site, stack):
    config = site.connector()
    (config.parent / "keys/ca.pem").write_bytes(pem(over(site.authority)))
    return Sick(config)


def over(authority: pki.Authority) -> x509.Certificate:
    """The same authority with a certificate of two years ago."""
    old = authority.certificate
    builder = x509.CertificateBuilder(
        subject_name=old.subject, issuer_name=old.issuer, public_key=old.public_key(), serial_number=1,
        not_valid_before=NOW - 800 * DAY, not_valid_after=NOW - 400 * DAY,
    )  # fmt: skip
    for extension in old.extensions:
        builder = builder.add_extension(extension.value, critical=extension.critical)
    return builder.sign(authority.key, hashes.SHA256())


@plants("connector", "F-CERT-REFUSED")
def a_certificate_of_an_authority_the_broker_does_not_know(site, stack):
    config, other = site.connector(), pki.new_authority(NOW)
    issued(site, config, authority=other)
    (config.parent / "keys/ca.pem").write_bytes(site.authority.pem + other.pem)
    return Sick(config)


@plants("connector", "F-UNIT-UNKNOWN")
def a_certificate_that_was_never_admitted(site, stack):
    config = site.connector()
    issued(site, config)
    return Sick(config)


# --- the way to the broker


@plants("connector", "F-SERVER-NAME")
def a_url_that_the_brokers_certificate_does_not_name(site, stack):
    config = site.connector()
    set_line(config, "broker_url", f'"https://localhost:{site.port}"')
    return Sick(config)


@plants("connector", "F-SERVER-EXPIRED")
def a_broker_with_an_old_certificate(site, stack):
    config = site.connector()
    files = server_pair(config.parent / "fake", site.authority, ("127.0.0.1",), NOW - 200 * DAY)
    port = stack.enter_context(endpoint(files, {"*": (200, b"{}")}))
    set_line(config, "broker_url", f'"https://127.0.0.1:{port}"')
    return Sick(config)


@plants("connector", "F-TLS-INSPECTION")
def somebody_who_looks_into_tls(site, stack):
    config = site.connector()
    files = server_pair(config.parent / "fake", pki.new_authority(NOW), ("127.0.0.1",))
    port = stack.enter_context(endpoint(files, {"*": (200, b"{}")}))
    set_line(config, "broker_url", f'"https://127.0.0.1:{port}"')
    return Sick(config)


@plants("connector", "F-TLS-INSPECTION", follow=("F-SERVER-NAME", "F-SERVER-EXPIRED"))
def an_inspection_with_a_name_of_its_own(site, stack):
    config = site.connector()
    files = server_pair(config.parent / "fake", pki.new_authority(NOW), ("exempel.invalid",), NOW - 200 * DAY)
    port = stack.enter_context(endpoint(files, {"*": (200, b"{}")}))
    set_line(config, "broker_url", f'"https://127.0.0.1:{port}"')
    return Sick(config)


@plants("connector", "F-NAME")
def a_name_that_nobody_knows(site, stack):
    config = site.connector()
    set_line(config, "broker_url", '"https://exempel.invalid:8443"')
    return Sick(config)


@plants("connector", "F-PORT")
def a_port_where_nobody_is(site, stack):
    config = site.connector()
    set_line(config, "broker_url", f'"https://127.0.0.1:{free_ports(1)[0]}"')
    return Sick(config)


@plants("connector", "F-SILENT")
def a_host_that_says_nothing(site, stack):
    config = site.connector()
    set_line(config, "broker_url", f'"https://127.0.0.1:{stack.enter_context(listening())}"')
    return Sick(config)


@plants("connector", "F-NOT-TLS")
def a_login_page_at_the_brokers_address(site, stack):
    config = site.connector()
    port = stack.enter_context(endpoint(None, {"*": (200, b"EXEMPEL")}))
    set_line(config, "broker_url", f'"https://127.0.0.1:{port}"')
    return Sick(config)


@plants("connector", "F-PROXY", follow=("F-PORT",))
def a_network_that_only_a_proxy_leaves(site, stack):
    config = site.connector()
    set_line(config, "broker_url", f'"https://127.0.0.1:{free_ports(1)[0]}"')
    return Sick(config, {"https_proxy": "http://127.0.0.1:3128", "no_proxy": ""})


@plants("connector", "F-PROXY", follow=("F-NAME",))
def a_name_that_only_the_proxy_knows(site, stack):
    config = site.connector()
    set_line(config, "broker_url", '"https://exempel.invalid:8443"')
    return Sick(config, {"HTTPS_PROXY": "http://127.0.0.1:3128", "no_proxy": ""})


# --- clocks


@plants("connector", "F-CLOCK-AHEAD")
def a_clock_ten_minutes_ahead(site, stack):
    return Sick(site.connector(), {"SEED_CLOCK_S": "600"})


@plants("connector", "F-CLOCK-AHEAD")
def a_clock_a_year_ahead(site, stack):
    return Sick(site.connector(), {"SEED_CLOCK_S": str(365 * 86400)})


@plants("connector", "F-CLOCK-BEHIND")
def a_clock_ten_minutes_behind(site, stack):
    return Sick(site.connector(), {"SEED_CLOCK_S": "-600"})


@plants("connector", "F-CLOCK-BEHIND", follow=("F-CERT-EARLY",))
def a_clock_that_went_back_a_year_on_a_closed_network(site, stack):
    return Sick(site.connector(), {"SEED_CLOCK_S": str(-365 * 86400)}, ("--offline",))


@plants("broker", "F-CLOCK-BEHIND")
def a_broker_clock_three_minutes_behind(site, stack):
    return Sick(site.broker(), {"SEED_CLOCK_S": "-240"})


# --- keys, folders, mapping


@plants("connector", "F-KEY-FILE")
def half_a_data_key(site, stack):
    config = site.connector()
    path = config.parent / "keys/data.key"
    path.write_bytes(path.read_bytes()[:16])
    return Sick(config)


@plants("connector", "F-KEY-FILE")
def no_signing_key(site, stack):
    config = site.connector()
    (config.parent / "keys/unit-signing.key").unlink()
    return Sick(config)


@plants("connector", "F-KEY-OPEN")
def a_key_that_others_may_read(site, stack):
    config = site.connector()
    (config.parent / "keys/unit-hpke.key").chmod(0o640)
    return Sick(config)


@plants("connector", "F-FOLDER-OPEN")
def a_folder_that_others_may_enter(site, stack):
    config = site.connector()
    (config.parent / "folder/out").chmod(0o755)
    return Sick(config)


@plants("connector", "F-FOLDER-MISSING")
def a_file_where_a_folder_belongs(site, stack):
    config = site.connector()
    shutil.rmtree(config.parent / "folder/receipts")
    (config.parent / "folder/receipts").write_text("EXEMPEL")
    return Sick(config)


@plants("connector", "F-KEY-DIRECTORY")
def unit_keys_that_were_never_admitted(site, stack):
    config = site.connector()
    keys = config.parent / "keys"
    for name in ("unit-signing.key", "unit-hpke.key"):
        (keys / name).unlink()
    identity.create_unit_keys(keys / "unit-signing.key", keys / "unit-hpke.key")
    return Sick(config)


@plants("connector", "F-MAPPING-SAME")
def out_is_in(site, stack):
    config = site.connector()
    shutil.rmtree(config.parent / "folder/out")
    (config.parent / "folder/out").symlink_to("in")
    return Sick(config)


@plants("connector", "F-MAPPING-SWAPPED")
def commands_in_the_out_folder(site, stack):
    config = site.connector()
    command = {"do": "open_case", "ref": "EXEMPEL-CANARY", "role": "social_services_lead"}
    (config.parent / "folder/out/1.json").write_text(json.dumps(command))
    return Sick(config)


# --- the trust list


@plants("connector", "F-TRUST-MISSING")
def no_trust_list(site, stack):
    config = site.connector()
    (config.parent / "trust.toml").unlink()
    return Sick(config)


@plants("connector", "F-TRUST-CHANGED", follow=("F-TRUST-FINGERPRINT", "F-TRUST-ONE"))
def a_key_in_the_list_was_changed(site, stack):
    config = site.connector()
    path = config.parent / "trust.toml"
    head, tail = path.read_text().split('signing_key = "', 1)
    path.write_text(f'{head}signing_key = "{"00" if tail[:2] != "00" else "11"}{tail[2:]}')
    return Sick(config)


@plants("connector", "F-TRUST-FINGERPRINT")
def a_fingerprint_of_another_list(site, stack):
    config = site.connector()
    set_line(config, "trust_fingerprint", f'"{"ab" * 32}"')
    return Sick(config)


@plants("connector", "F-TRUST-ONE")
def one_signature_only(site, stack):
    config = site.connector()
    path = config.parent / "trust.toml"
    path.write_text(path.read_text().rsplit("[[signature]]", 1)[0])
    return Sick(config)


@plants("connector", "F-TRUST-ORIGIN")
def a_list_of_another_broker(site, stack):
    config = site.connector()
    path = config.parent / "trust.toml"
    listed = trust.parse(path.read_text())
    other = trust.TrustList(replace(listed.statement, origin="exempel.invalid/audit"), {})
    for agency, name in (("SOC/EXEMPEL", "konsult"), ("POL/EXEMPEL", "syd")):
        other = trust.signed_by(other, agency, enrolment.load_agency_key(site.folder / name / "keys/agency.key"))
    path.write_text(trust.rendered(other))
    set_line(config, "trust_fingerprint", f'"{other.fingerprint.hex()}"')
    return Sick(config)


# --- what the broker answers


def answers(site: Site, config: Path, **changed: Callable[[bytes], bytes]) -> dict[str, tuple[int, bytes]]:
    """What the real broker answers to this connector, with something of it changed."""
    import http.client

    context = tls_context(connector_settings.load(config))
    told = {}
    for name in ("units", "rules", "schemas"):
        connection = http.client.HTTPSConnection("127.0.0.1", site.port, context=context, timeout=10)
        connection.request("GET", f"/v1/{name}", headers={"Handslag-Instance": "1"})
        body = connection.getresponse().read()
        connection.close()
        told[f"/v1/{name}"] = (200, changed.get(name, lambda same: same)(body))
    return told


def house_of_its_own(site: Site, stack: ExitStack, config: Path, told: dict[str, tuple[int, bytes]]) -> Sick:
    files = server_pair(config.parent / "fake", site.authority, ("127.0.0.1",))
    set_line(config, "broker_url", f'"https://127.0.0.1:{stack.enter_context(endpoint(files, told))}"')
    return Sick(config)


@plants("connector", "F-RULES")
def a_broker_with_other_rules(site, stack):
    config = site.connector()
    return house_of_its_own(site, stack, config, answers(site, config, rules=lambda body: body + b"\n"))


@plants("connector", "F-SCHEMAS")
def a_broker_with_another_schema(site, stack):
    def other(body):
        told = json.loads(body)
        told["schemas"][0]["project_hash"] = "00" * 32
        return json.dumps(told).encode()

    config = site.connector()
    return house_of_its_own(site, stack, config, answers(site, config, schemas=other))


@plants("connector", "F-BROKER-FAULT")
def a_broker_that_answers_with_a_fault(site, stack):
    problem = json.dumps({"code": "HS-INTERNAL", "context": {}}).encode()
    return house_of_its_own(site, stack, site.connector(), {"*": (500, problem)})


@plants("connector", "F-INSTANCE")
def an_instance_that_was_followed_by_another(site, stack):
    config, unit = site.extra()
    data = site.folder / "broker/data"
    with closing(sqlite3.connect(data / "broker.db", timeout=10)) as store, store:  # as after a restore elsewhere
        store.execute("UPDATE unit SET instance=2 WHERE unit=?", (unit,))
    (kept,) = [each for each in admissions.load_all(data) if each.unit == unit]
    control.call(data, "admit_together", {"admissions": [kept.to_json()]})
    return Sick(config)


@plants("connector", "F-INSTANCE-NEW")
def an_instance_number_set_by_hand(site, stack):
    config, _unit = site.extra()
    set_line(config, "instance", "7")
    return Sick(config)


def went_back(site: Site, stack: ExitStack, *, anchor: bool) -> tuple[Path, Path, Any]:
    """A broker of its own whose store was put back, and a connector that saw more; the old anchor too where asked."""
    broker, config = site.broker(), site.connector()
    gateway = broker.read_text().split('url = "https://127.0.0.1:')[1].split('"')[0]
    set_line(config, "broker_url", f'"https://127.0.0.1:{gateway}"')
    set_line(config, "poll_s", "0.3")
    copy_data(broker.parent / "data", broker.parent / "old")
    process = site.serve(broker)
    with site.run(config):
        for _beat in range(6):  # more than the old one gains when it starts again
            before = seen(config)
            until(lambda before=before: seen(config) > before)
    process.__exit__(None, None, None)
    kept = (broker.parent / "data/anchor").read_bytes()
    shutil.rmtree(broker.parent / "data")
    (broker.parent / "old").rename(broker.parent / "data")
    if not anchor:
        (broker.parent / "data/anchor").write_bytes(kept)
        (broker.parent / "data/anchor").chmod(0o600)
    return broker, config, process


@plants("connector", "F-BROKER-HOLDS")
def a_broker_put_back_with_its_anchor(site, stack):
    broker, config, _process = went_back(site, stack, anchor=True)
    set_line(broker, "beat_seconds", "3600.0")  # so that it stays behind what was seen
    stack.enter_context(site.serve(broker))
    return Sick(config)


def stopped_by(config: Path) -> str | None:
    """What the connector itself says of it."""
    return json.loads(here("connector", "status", "--config", config).text)["stopped_by"]


@plants("connector", "F-HALTED", follow=("F-BROKER-HOLDS",))
def a_connector_that_met_a_smaller_log(site, stack):
    broker, config, _process = went_back(site, stack, anchor=True)
    set_line(broker, "beat_seconds", "3600.0")
    stack.enter_context(site.serve(broker))
    with site.run(config):
        until(lambda: stopped_by(config))
    return Sick(config)


# --- disk and database


@plants("connector", "F-DISK-FULL", follow=("F-SPOOL-DAMAGED",))
def a_disk_that_takes_no_more(site, stack):
    return Sick(site.connector(), {"SEED_FILE": "8192"})


@plants("connector", "F-DISK-FULL")
def a_megabyte_left(site, stack):
    return Sick(site.connector(), {"SEED_FREE": str(2**20)})


@plants("connector", "F-DISK-LOW")
def a_hundred_megabytes_left(site, stack):
    return Sick(site.connector(), {"SEED_FREE": str(100 * 2**20)})


@plants("connector", "F-NO-LOCKS")
def a_drive_without_locks(site, stack):
    return Sick(site.connector(), {"SEED_NO_LOCKS": "1"})


@plants("connector", "F-DATA-KEY")
def the_data_key_of_another(site, stack):
    config = site.connector()
    shutil.copy2(site.folder / "syd/keys/data.key", config.parent / "keys/data.key")
    return Sick(config)


@plants("connector", "F-SPOOL-DAMAGED")
def nonsense_in_the_database(site, stack):
    config = site.connector()
    with (config.parent / "data/connector.db").open("r+b") as file:
        file.seek(0)
        file.write(os.urandom(8192))
    return Sick(config)


@plants("connector", "F-SPOOL-NEWER")
def a_database_of_tomorrow(site, stack):
    config = site.connector()
    with closing(sqlite3.connect(config.parent / "data/connector.db")) as connection:
        connection.execute("PRAGMA user_version=9999")
    return Sick(config)


@plants("connector", "F-SNAPSHOT")
def a_database_of_yesterday(site, stack):
    config = site.connector()
    data = config.parent / "data"
    copy_data(data, config.parent / "yesterday")
    with site.run(config):
        pass
    shutil.rmtree(data)
    (config.parent / "yesterday").rename(data)
    return Sick(config)


@plants("connector", "F-SNAPSHOT")
def a_database_that_is_gone(site, stack):
    config = site.connector()
    for path in (config.parent / "data").glob("connector.db*"):
        path.unlink()
    return Sick(config)


@plants("connector", "F-ANOTHER-RUNS")
def a_second_configuration_on_one_data_folder(site, stack):
    config = site.connector()
    stack.enter_context(site.run(config))
    second = config.with_name("second.toml")
    shutil.copy2(config, second)
    return Sick(second)


# --- the broker's side


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


def planted_codes() -> frozenset[str]:
    """Every fault that some plant is about."""
    return frozenset(code for each in SEEDED.values() for code in each.faults)
