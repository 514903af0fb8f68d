"""What a seat key of a case is worth at a moment: a pure state machine over proven statements.

    WAITING --confirmed--> COUNTS --a slot too old--> LAPSED        REMOVED  is final
       |                     |  ^--confirmed again-----'            DISPUTED ends only when the other holder is removed
       '------- a newer key of the member counts ------> RETIRED

A key counts while the newest statement of the lead (or of its deputy) under it was signed with a key of this slot or
the one before (protocol, "Who vouches for a key"): so a REMOVE that a broker hides lives two slots at most, and an old
key is worth nothing. The lead's own keys stand by their chain from the pin.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from connectors.keys import PublicKeys
from connectors.slots import Slots
from schemas.errors import HandslagError, PayloadRejected
from schemas.identifiers import ZERO32
from schemas.statements import MemberStatement, SignedStatement

DEPUTY = "police_coordination"  # the role whose CONFIRM counts like the lead's, so that a silent lead silences nobody


class KeyState(StrEnum):
    """What one key of one member is worth at a moment."""

    WAITING = "WAITING"
    COUNTS = "COUNTS"
    LAPSED = "LAPSED"
    RETIRED = "RETIRED"
    DISPUTED = "DISPUTED"
    REMOVED = "REMOVED"


_K = KeyState
TRANSITIONS: Mapping[KeyState, frozenset[KeyState]] = {
    # LAPSED at once: confirmed with a key that was too old already, as a late word of a lead that slept.
    _K.WAITING: frozenset({_K.COUNTS, _K.LAPSED, _K.RETIRED, _K.DISPUTED, _K.REMOVED}),
    # WAITING again: a deputy's own word for itself ends when the lead is heard again and did not confirm it.
    _K.COUNTS: frozenset({_K.LAPSED, _K.RETIRED, _K.DISPUTED, _K.REMOVED, _K.WAITING}),
    _K.LAPSED: frozenset({_K.COUNTS, _K.RETIRED, _K.DISPUTED, _K.REMOVED, _K.WAITING}),
    _K.RETIRED: frozenset({_K.DISPUTED, _K.REMOVED, _K.COUNTS, _K.LAPSED, _K.WAITING}),
    _K.DISPUTED: frozenset({_K.WAITING, _K.COUNTS, _K.LAPSED, _K.RETIRED, _K.REMOVED}),
    _K.REMOVED: frozenset(),
}

Voucher = tuple[bytes, int]
"""(member, seq) of the lead's or deputy's key that signed a JOIN or CONFIRM."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """One key of a member of a case: id (16 bytes), role, keys, first and last moment in microseconds UTC.

    `statement` is the encoded MemberStatement that brought the key, `hpke` None where only its signing key is known (a
    superseded one, which nobody seals to). `proven`: the statement's own signature was checked; a ROTATE whose
    predecessor was never seen counts by its CONFIRM alone. `replacement`: a REPLACE that two others signed, who are its
    `vouchers`.
    """

    member: bytes
    role: str
    seq: int
    slot: int
    signing: bytes
    hpke: bytes | None
    not_before_us: int
    not_after_us: int
    invitation_hash: bytes
    statement: bytes
    previous: bytes
    hpke_hash: bytes
    proven: bool
    vouchers: frozenset[Voucher] = frozenset()
    replacement: bool = False

    @cached_property
    def keys(self) -> PublicKeys:
        """Both public keys; only where the HPKE key is known (every key that a look-up gives)."""
        return PublicKeys(self.signing, self.hpke or b"")

    def covers(self, at_us: int) -> bool:
        """Whether the statement gives the key for a moment; standing and removal are outside this."""
        return self.not_before_us <= at_us <= self.not_after_us


@dataclass(frozen=True, kw_only=True)
class Standing:
    """The slots up to which keys count, worked out from every member's keys (ascending by seq)."""

    slots: Slots
    lead: bytes
    chains: Mapping[bytes, tuple[Member, ...]]
    removed: Mapping[bytes, int]
    conflicts: frozenset[Voucher]
    disputed: frozenset[bytes]

    @cached_property
    def deputies(self) -> frozenset[bytes]:
        """Members that hold the deputy's role: not removed, not in dispute."""
        held = {member for member, chain in self.chains.items() if chain[0].role == DEPUTY}
        return frozenset(held - self.disputed - self.removed.keys() - {self.lead})

    @cached_property
    def lead_slots(self) -> Mapping[int, int]:
        """Slot by seq of the lead's keys that stand: an unbroken chain from the pin.

        A key that came more than one slot after the one before is late, and late alone it does not stand where a deputy
        is known: whoever stole a key long retired could else speak for a lead that is silent.
        """
        standing: dict[int, int] = {}
        whole = True
        before: Member | None = None
        for key in self.chains[self.lead]:
            if (key.member, key.seq) in self.conflicts:
                break
            late = before is not None and key.slot - before.slot > 1
            confirmed = before is not None and self._deputy_speaks(key, before.slot)
            whole = confirmed if key.replacement else confirmed or (whole and (not late or not self.deputies))
            if whole:
                standing[key.seq] = key.slot
            before = key
        return standing

    @property
    def lead_newest(self) -> int:
        """Slot of the newest key of the lead that stands."""
        return max(self.lead_slots.values(), default=self.chains[self.lead][0].slot)

    def _deputy_speaks(self, key: Member, since: int) -> bool:
        """Whether a deputy confirmed a late key of the lead: one the lead vouched for when it was last heard.

        For a key that replaces a lost one another member is needed beside the deputy, vouched for in the same way.
        """
        known = {member for member, seq in key.vouchers if self._vouched_once(member, seq, since - 1)}
        return bool(known & self.deputies) and (not key.replacement or len(known) > 1)

    def _vouched_once(self, deputy: bytes, seq: int, since: int) -> bool:
        """Whether the deputy's key, or one from which its own ROTATEs lead to it, has the lead's word from `since` on.

        By the lead's slots as they stand in the statements: this is asked while the lead's own standing is worked out.
        """
        lead = {key.seq: key.slot for key in self.chains[self.lead]}
        for key in reversed([key for key in self.chains.get(deputy, ()) if key.seq <= seq]):
            vouched = any(who == self.lead and lead.get(at, since - 1) >= since for who, at in key.vouchers)
            if vouched and not key.replacement:
                return True
            if not key.proven:
                return False
        return False

    @cached_property
    def deputy_slots(self) -> Mapping[Voucher, int]:
        """Slot by (member, seq) of the deputies' keys that may confirm."""
        found: dict[Voucher, int] = {}
        for member in self.deputies:
            before: Member | None = None
            known = self._known_later(member)
            for key in self.chains[member]:
                if self.by_lead(key) is not None:
                    found[member, key.seq] = key.slot if key.seq else self.by_lead(key) or 0
                elif before is not None and self._follows(before, key, found, later=key.seq in known):
                    found[member, key.seq] = key.slot
                before = key
        return found

    def _follows(self, before: Member, key: Member, found: Mapping[Voucher, int], *, later: bool) -> bool:
        """A deputy goes on by itself while the lead is silent, slot by slot, and no longer.

        Unless the lead, heard again, vouched for a `later` key that this one leads to: then what was signed between
        was the deputy's own word, and stays good.
        """
        at = found.get((before.member, before.seq))
        return key.proven and at is not None and key.slot - at <= 1 and (later or self.lead_newest <= key.slot)

    def _known_later(self, member: bytes) -> set[int]:
        """Numbers of a deputy's keys from which its own ROTATEs lead to one that the lead vouches for."""
        found: set[int] = set()
        later = False
        for key in reversed(self.chains[member]):
            if later:
                found.add(key.seq)
            later = key.proven and (later or self.by_lead(key) is not None)
        return found

    def by_lead(self, key: Member) -> int | None:
        """The slot of the newest standing key of the lead that vouches for this one, or None."""
        if key.replacement and not self._seconded(key, self.lead):
            return None
        slots = [self.lead_slots[seq] for who, seq in key.vouchers if who == self.lead and seq in self.lead_slots]
        return max(slots, default=None)

    def vouched(self, key: Member) -> int | None:
        """The slot of the newest key that vouches for this one; None when nobody does. It counts one slot longer."""
        # INVARIANT: test_a_statement_counts_in_the_slot_of_its_confirmation_and_the_next
        if key.member == self.lead:
            return self.lead_slots.get(key.seq)
        slots = [self.by_lead(key), *(self._by_deputy(key, voucher) for voucher in key.vouchers)]
        if key.member in self.deputies and self.by_lead(key) is None:
            slots.append(self.deputy_slots.get((key.member, key.seq)))
        return max((slot for slot in slots if slot is not None), default=None)

    def _by_deputy(self, key: Member, voucher: Voucher) -> int | None:
        if key.replacement and not self._seconded(key, voucher[0]):
            return None
        return self.deputy_slots.get(voucher)

    def _seconded(self, key: Member, first: bytes) -> bool:
        """Whether somebody beside `first` signed this REPLACE with a key that was worth something in its slot.

        Of the second only what leads to it from a JOIN counts, or two lost seats could vouch for each other in a ring.
        """
        # INVARIANT: test_one_signature_replaces_nothing
        return any(self._second(key, member, seq) for member, seq in key.vouchers if member != first)

    def _second(self, key: Member, member: bytes, seq: int) -> bool:
        found = next((one for one in self.chains.get(member, ()) if one.seq == seq), None)
        if found is None or found.replacement or member in self.disputed:
            return False
        # Of the deputy's own new key the lead's word decides: the deputy's word is what is being asked about.
        worth = self.by_lead(found) if key.role == DEPUTY else self.vouched(found)
        return worth is not None and key.slot <= worth + 1

    def replaced_us(self, key: Member) -> int | None:
        """From when a key is worth nothing because two others replaced it, microseconds UTC; None while nobody did."""
        later = [
            k for k in self.chains[key.member] if k.replacement and k.seq > key.seq and self.vouched(k) is not None
        ]
        return min((one.not_before_us for one in later), default=None)

    def counts(self, key: Member, at_us: int) -> bool:
        """Whether a key is vouched for and in its time at a moment; disputes and removal are outside this."""
        # INVARIANT: test_a_key_that_was_replaced_is_worth_nothing_from_then_on
        replaced = self.replaced_us(key)
        if replaced is not None and at_us >= replaced:
            return False
        vouched = self.vouched(key)
        return vouched is not None and key.covers(at_us) and self.slots.number(at_us) <= vouched + 1

    def state(self, key: Member, at_us: int) -> KeyState:
        """What the key is worth at a moment."""
        if self.removed.get(key.member, at_us + 1) <= at_us:
            return KeyState.REMOVED
        if key.member in self.disputed:
            return KeyState.DISPUTED
        newer = (other for other in self.chains[key.member] if other.seq > key.seq)
        if any(self.counts(other, at_us) for other in newer):
            return KeyState.RETIRED
        if self.vouched(key) is None or at_us < key.not_before_us:
            return KeyState.WAITING
        return KeyState.COUNTS if self.counts(key, at_us) else KeyState.LAPSED


def first_key(signed: SignedStatement, statement: MemberStatement, slots: Slots) -> Member:
    """The key of an OPEN or JOIN; raises as `key_of`, and PayloadRejected without its HPKE key."""
    if statement.seq != 0 or statement.previous != ZERO32:
        raise HandslagError("HS-KEY-UNTRUSTED", check="seq")
    if signed.hpke_key is None:
        raise PayloadRejected(field="hpke_key")
    return key_of(signed, statement, slots, proven=True)


def key_of(signed: SignedStatement, statement: MemberStatement, slots: Slots, *, proven: bool) -> Member:
    """The key that a statement brings; raises `HS-KEY-UNTRUSTED` for no time at all or another HPKE key."""
    if statement.not_before_us > statement.not_after_us:
        raise HandslagError("HS-KEY-UNTRUSTED", check="validity")
    keys = PublicKeys(statement.signing_key, signed.hpke_key) if signed.hpke_key is not None else None
    if keys is not None and keys.hpke_hash != statement.hpke_key_hash:
        raise HandslagError("HS-KEY-UNTRUSTED", check="hpke-key")
    return Member(
        member=statement.member,
        role=statement.role,
        seq=statement.seq,
        slot=slots.number(statement.not_before_us),
        signing=statement.signing_key,
        hpke=signed.hpke_key,
        not_before_us=statement.not_before_us,
        not_after_us=statement.not_after_us,
        invitation_hash=statement.invitation_hash,
        statement=signed.statement,
        previous=statement.previous,
        hpke_hash=statement.hpke_key_hash,
        proven=proven,
    )
