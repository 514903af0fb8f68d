"""Faults on the way to the broker, and clocks that are wrong on either side."""

from __future__ import annotations

from broker import pki
from deploy.processes import free_ports
from tests.doctor.planting import DAY, Sick, plants
from tests.doctor.site import (
    NOW,
    endpoint,
    listening,
    server_pair,
    set_line,
)

# --- the way


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
