"""Faults that a connector learns from what the broker answers."""

from __future__ import annotations

import http.client
import json
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

from broker import admissions, control
from connectors import settings as connector_settings
from connectors.link import tls_context
from tests.doctor.planting import Sick, plants, went_back
from tests.doctor.site import (
    Site,
    endpoint,
    here,
    server_pair,
    set_line,
    until,
)


def answers(site: Site, config: Path, **changed: Callable[[bytes], bytes]) -> dict[str, tuple[int, bytes]]:
    """What the real broker answers to this connector, with something of it changed."""
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
