"""Which engines carry the Store and the Stream: the tables `[store]` and `[stream]` of `broker.toml`.

`store = "sqlite"` and `stream = "embedded"` are the short forms of tables that name nothing else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1", ""})


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"engine": value} if isinstance(value, str) else value


class StoreSettings(_Part):
    """The Store: SQLite in the data folder, or a PostgreSQL server that several nodes share.

    `host` is a name, an address, or the folder of a Unix socket. Anything but this machine itself needs TLS with the
    server's name checked (`ca_file`); `certificate_file` and `key_file` are the node's own.
    """

    engine: Literal["sqlite", "postgresql"] = "sqlite"
    host: str = ""
    port: int = Field(default=5432, ge=1, le=65535)
    database: str = "handslag"
    user: str = "handslag"
    password_file: Path | None = None
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    connections: int = Field(default=8, ge=2, le=64)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        # INVARIANT: test_a_store_elsewhere_without_tls_is_refused
        local = self.host in LOOPBACK or self.host.startswith("/")
        if self.engine == "postgresql" and not local and self.ca_file is None:
            raise ValueError("ca_file")
        return self


class StreamSettings(_Part):
    """The Stream: a table of the Store, or one topic of an Apache Kafka cluster that only broker nodes can reach.

    `ca_file`, `certificate_file` and `key_file` make TLS with client authentication; without them only servers on
    this machine itself are taken. `transit_key_file` holds the key chain under which records are encrypted.
    """

    engine: Literal["embedded", "kafka"] = "embedded"
    bootstrap: tuple[str, ...] = ()
    topic: str = Field(default="handslag.submissions", pattern=r"^[a-z0-9][a-z0-9._-]{0,127}$")
    replication_factor: int = Field(default=3, ge=1, le=7)
    min_insync_replicas: int = Field(default=2, ge=1, le=7)
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    transit_key_file: Path | None = None
    stalled_seconds: float = Field(default=10.0, ge=1, le=600)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        # INVARIANT: test_a_stream_elsewhere_without_tls_is_refused
        if self.engine == "embedded":
            return self
        if not self.bootstrap:
            raise ValueError("bootstrap")
        if self.transit_key_file is None:
            raise ValueError("transit_key_file")
        # INVARIANT: test_more_in_sync_than_there_are_copies_is_refused
        if self.min_insync_replicas > self.replication_factor:
            raise ValueError("min_insync_replicas")
        files = (self.ca_file, self.certificate_file, self.key_file)
        local = all(address.rpartition(":")[0].strip("[]") in LOOPBACK for address in self.bootstrap)
        if any(file is None for file in files) and (not local or any(files)):
            raise ValueError("ca_file, certificate_file, key_file")
        return self
