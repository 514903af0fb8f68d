"""What the doctor can know of a connector: plain values, no keys, no names. None means that it was not to be seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFacts:
    """This connector's certificate beside the rest of the configuration. Moments are UTC."""

    begins: datetime
    ends: datetime
    names_unit: bool
    key_fits: bool | None
    issued_by_ca: bool | None
    ca_ends: datetime | None
    ca_notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustFacts:
    """The trust list: None of them is set when there is no list. `signers` counts agencies whose signature holds."""

    configured: bool
    fingerprint: bool
    every_signature_holds: bool
    signers: int
    origin: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolFacts:
    """The database: `state` is absent, ok, other-key, newer or damaged; `note` is the newest checkpoint for a call."""

    state: str
    high_water: int | None = None
    halted: bool = False
    backed_up: bool = False
    note: bytes | None = field(default=None, repr=False)
    newest: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFacts:
    """All that lies on this machine.

    `files` and `folders` map a setting to ok, missing, open or unreadable. `same` names two of the adapter's folders
    that are one; `swapped`, that commands lie where answers belong. `marker` is (instance, high water) of the marker
    file. `running_other` says that the running connector has another configuration, `weekly` that seat keys rotate in
    the slots that every connector outside a show has.
    """

    now: datetime
    instance: int
    certificate: CertificateFacts | None
    files: Mapping[str, str]
    folders: Mapping[str, str]
    same: str
    swapped: bool
    trust: TrustFacts | None
    spool: SpoolFacts
    marker: tuple[int, int] | None
    running: bool
    running_other: bool
    locks: bool | None
    free_bytes: int | None
    writable: bool | None
    weekly: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFacts:
    """What the network showed.

    `reached` is how far the way went: unresolved, refused, silent, not-tls, foreign, wrong-name, not-valid-today,
    certificate-refused, broken (the connection ended before an answer), own-files (this side could not begin) or
    answered. `refusal` is the code of the broker's refusal, `own_entry` same, other, absent or
    unsigned; `rules` and `schemas` say whether they are ours. `clock` is the broker's,
    `nodes_away` how many of its nodes did not answer while another did.
    """

    reached: str
    proxy: bool
    clock: datetime | None = None
    refusal: str | None = None
    own_entry: str | None = None
    rules: bool | None = None
    schemas: bool | None = None
    nodes_away: int = 0
