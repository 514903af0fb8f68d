"""Set-ups in which nothing is wrong, each different from the others: the doctor must name no fault in any."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from dataclasses import replace as changed
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from broker import admissions, control, pki
from deploy.processes import free_ports
from tests.doctor.planting import Sick as Well
from tests.doctor.site import NOW, Report, Site, apart, csr, here, pem, run, set_line, until

WELL: dict[str, Sound] = {}


@dataclass(frozen=True)
class Sound:
    """A set-up by its side; `notices` are those that the doctor may say of it."""

    side: str
    make: Callable[[Site, ExitStack], Well]

    def examined(self, site: Site) -> Report:
        with ExitStack() as stack:
            well = self.make(site, stack)
            words = (*(("connector", "doctor") if self.side == "connector" else ("doctor",)), "--config", well.config)
            if well.environment:
                return apart(well.environment, *words, *well.words)
            return here(*words, *well.words)


def sound(side: str):
    def kept(make):
        WELL[f"{side} {make.__name__.replace('_', ' ')}"] = Sound(side, make)
        return make

    return kept


@sound("connector")
def stopped_after_a_day(site, stack):
    return Well(site.connector())


@sound("connector")
def running(site, stack):
    config = site.connector()
    stack.enter_context(site.run(config))
    return Well(config)


@sound("connector")
def enrolled_and_never_run(site, stack):
    config = site.connector()
    shutil.rmtree(config.parent / "data")
    shutil.rmtree(config.parent / "folder")
    return Well(config)


@sound("connector")
def idle_unit_of_a_region(site, stack):
    return Well(site.connector("syd"))


@sound("connector")
def folders_with_spaces_and_letters(site, stack):
    return Well(site.connector(into="Å Ä Ö, avd. 2 (EXEMPEL) 100%"))


@sound("connector")
def data_folder_behind_a_link(site, stack):
    config = site.connector()
    elsewhere = config.parent / "disk two"
    (config.parent / "data").rename(elsewhere)
    (config.parent / "data").symlink_to(elsewhere)
    return Well(config)


@sound("connector")
def configuration_that_cannot_be_written(site, stack):
    config = site.connector()
    place = config.parent / "etc"
    place.mkdir()
    text = config.read_text()
    moved = place / "connector.toml"
    moved.write_text(text)
    for name in ("data", "keys", "folder"):
        key = {"data": "data_dir", "keys": "keys_dir", "folder": "folder"}[name]
        set_line(moved, key, json.dumps(f"../{name}"))
    for key, name in (("certificate", "certificate.pem"), ("certificate_key", "certificate.key"), ("ca", "ca.pem")):
        set_line(moved, key, json.dumps(f"../keys/{name}"))
    set_line(moved, "trust_file", '"../trust.toml"')
    moved.chmod(0o400)
    place.chmod(0o500)
    stack.callback(place.chmod, 0o700)
    return Well(moved)


def another_key(site: Site, key) -> Well:
    """A connector whose certificate is of another algorithm, admitted by the running broker under another name."""
    config, unit = site.extra()
    certificate = pki.client_certificate(site.authority, csr(config, unit, key), unit, NOW)
    keys = config.parent / "keys"
    (keys / "certificate.pem").write_bytes(pem(certificate))
    (keys / "certificate.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    data = site.folder / "broker/data"
    (kept,) = [each for each in admissions.load_all(data) if each.unit == unit]
    renewed = changed(kept, certificate_sha256=certificate.fingerprint(hashes.SHA256()))
    control.call(data, "admit_together", {"admissions": [renewed.to_json()]})
    return Well(config)


@sound("connector")
def certificate_with_ed25519(site, stack):
    return another_key(site, ed25519.Ed25519PrivateKey.generate())


@sound("connector")
def certificate_with_p384(site, stack):
    return another_key(site, ec.generate_private_key(ec.SECP384R1()))


@sound("connector")
def many_cases(site, stack):
    config = site.connector()
    stack.enter_context(site.run(config))
    into, receipts = config.parent / "folder/in", config.parent / "folder/receipts"
    for number in range(40):
        command = {"do": "open_case", "id": f"m{number}", "ref": f"EX-M{number}", "role": "social_services_lead"}
        (into / f".{number}.draft").write_text(json.dumps(command))
        (into / f".{number}.draft").rename(into / f"m{number}.json")
    until(lambda: len(list(receipts.glob("[!.]*-result.json"))) >= 40)
    return Well(config)


@sound("connector")
def a_proxy_that_is_set_and_not_needed(site, stack):
    return Well(site.connector(), {"https_proxy": "http://127.0.0.1:3128", "no_proxy": ""})


@sound("connector")
def a_clock_half_a_minute_off(site, stack):
    return Well(site.connector(), {"SEED_CLOCK_S": "30"})


@sound("connector")
def a_closed_network(site, stack):
    config = site.connector()
    set_line(config, "broker_url", f'"https://127.0.0.1:{free_ports(1)[0]}"')
    return Well(config, words=("--offline",))


@sound("connector")
def a_full_out_folder_and_a_stray_file(site, stack):
    config = site.connector()
    out = config.parent / "folder/out"
    for number in range(300):
        (out / f"{number}.json").write_text(json.dumps({"kind": "delivery", "data": {"do": "not a command"}}))
    (out / "notes.txt").write_text("EXEMPEL")
    (out / "z.json").write_text("half a fi")
    return Well(config)


@sound("connector")
def invitations_accepted_by_themselves(site, stack):
    config = site.connector()
    for key, value in (("accept", '"automatic"'), ("regime", '"BDL"'), ("poll_s", "0.5"), ("actor_ref", '"X"')):
        set_line(config, key, value)
    return Well(config)


@sound("connector")
def hundreds_of_megabytes_left(site, stack):
    return Well(site.connector(), {"SEED_FREE": str(600 * 2**20)})


# --- the broker's side


@sound("broker")
def broker_in_service(site, stack):
    return Well(site.folder / "broker/broker.toml")


@sound("broker")
def broker_stopped(site, stack):
    return Well(site.broker())


def fresh(site: Site, *words: str) -> Path:
    folder = site.scratch / f"fresh {site.next()}"
    gateway, operations = free_ports(2)
    host = words[words.index("--host") + 1] if "--host" in words else "127.0.0.1"
    inside = f"[{host}]" if ":" in host else "127.0.0.1"
    run("init", "--dir", folder, "--listen", f"{inside}:{gateway}", "--operations", f"{inside}:{operations}", *words)
    return folder / "broker.toml"


@sound("broker")
def fresh_broker_never_run(site, stack):
    return Well(fresh(site, "--host", "127.0.0.1"))


@sound("broker")
def broker_on_ipv6(site, stack):
    config = fresh(site, "--host", "::1")
    stack.enter_context(site.serve(config))
    return Well(config)


@sound("broker")
def broker_with_a_name_and_a_supervisor_of_its_own(site, stack):
    key = site.scratch / f"supervisor-{site.next()}.hex"
    key.write_text(os.urandom(1216).hex())
    return Well(fresh(site, "--host", "localhost", "--host", "127.0.0.1", "--supervisor-key", str(key)))


@sound("broker")
def broker_whose_authority_is_elsewhere(site, stack):
    config = site.broker()
    text = config.read_text()
    head, tail = text.split("[admission]")
    config.write_text(head + "[operations]" + tail.split("[operations]")[1])
    (config.parent / "tls/demo-ca.key").unlink()
    return Well(config)


@sound("broker")
def broker_with_a_revoked_unit(site, stack):
    config = site.broker()
    run("agency", "revoke", "--config", config, "POL/EXEMPEL/NORD")
    return Well(config)


@sound("broker")
def broker_after_a_restart(site, stack):
    config = site.broker("mäklare två")
    process = site.serve(config)
    process.__exit__(None, None, None)
    stack.enter_context(site.serve(config))
    return Well(config)
