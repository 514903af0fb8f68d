"""Faults of a connector's disk and database."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing

from tests.doctor.planting import Sick, plants
from tests.doctor.site import (
    copy_data,
)


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
