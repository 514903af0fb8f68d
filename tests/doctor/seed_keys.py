"""Faults of a connector's keys, folders, mapping and trust list."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

from connectors import enrolment, identity, trust
from tests.doctor.planting import Sick, plants
from tests.doctor.site import (
    set_line,
)

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
