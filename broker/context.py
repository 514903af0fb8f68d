"""What every verb of the broker needs: engines, keys, rules, and the edges where time and chance come in."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from broker.contacts import Contacts
from broker.directory import Directory
from broker.disk import DiskRoom
from broker.ids import RisingIds
from broker.metrics import Metrics
from broker.quota import Limits, Quotas
from broker.recorder import Recorder
from broker.rulebook import RuleBook, RulesOf
from broker.store.port import Rows, Store
from broker.stream.port import Stream
from broker.views import Views
from consent.rules import Rules
from consent.texts import Text
from schemas.weeks import OFFSET_US, WEEK_US, next_start


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The parts of one node, put together once by `node.py` and handed to the verbs."""

    store: Store
    stream: Stream
    recorder: Recorder
    directory: Directory
    views: Views
    rules: Rules
    rules_file: bytes
    origin: str
    supervisor_key: bytes
    metrics: Metrics
    now_us: Callable[[], int]
    random: Callable[[int], bytes]
    faults: Callable[[BaseException], None]
    lease_us: int
    contacts: Contacts = field(default_factory=Contacts)
    quotas: Quotas = field(default_factory=lambda: Quotas(Limits(), time.monotonic))
    room: DiskRoom | None = None
    ids: RisingIds = field(default_factory=RisingIds)
    book: RuleBook = field(default_factory=RuleBook)
    slot_us: int = WEEK_US
    slot_offset_us: int = OFFSET_US
    texts: frozenset[Text] | None = None

    def rules_of(self, rows: Rows) -> RulesOf:
        """The rules that each unit's releases are decided by, as this snapshot or transaction has them."""
        return self.book.of(rows, self.rules)

    def next_slot(self, at_us: int) -> int:
        """When the weekly slot after a moment begins."""
        return next_start(at_us, self.slot_us, self.slot_offset_us)

    def new_id(self, at_us: int = 0) -> bytes:
        """A fresh UUIDv7 above all that this node made before, and not below a moment of the ledger clock."""
        return self.ids.next(max(self.now_us(), at_us), self.random)
