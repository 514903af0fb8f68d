"""The chain of the operator's administrative acts: who may act, and whether two of them did.

Pure, and the same for the broker that carries an act out, the connector that is shown it and the offline verifier. The
first act names the administrators and is signed by two of them; each later act is signed by two of those named by the
newest ADMINISTRATORS before it. Numbers have no gaps and each act names the hash of the one before, so that an act can
be neither left out nor slipped in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from types import MappingProxyType

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from schemas.admin import (
    ACTIVATE,
    ADMINISTRATORS,
    ADMIT,
    ERASE,
    HOLD,
    LIFT,
    PROPOSE,
    RESTORE,
    RESTRICT,
    REVOKE,
    RULES,
    AdminAct,
    AdminSignature,
    SignedAdminAct,
)
from schemas.errors import HandslagError
from schemas.identifiers import ZERO32

SIGNERS = 2  # one alone must not be able to admit anybody, nor to shut anybody out
ABOUT_UNITS = frozenset({ADMIT, REVOKE})
GOING_ON = frozenset({RESTORE, HOLD})
ABOUT_SEATS = frozenset({ERASE, RESTRICT, LIFT})
ABOUT_RULES = frozenset({PROPOSE, ACTIVATE})
KINDS = ABOUT_UNITS | GOING_ON | ABOUT_SEATS | ABOUT_RULES | {ADMINISTRATORS, RULES}
ACT = 512 * 1024
_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Acts:
    """The chain so far: how many acts, the newest one's hash, who may sign the next, which entries are admitted.

    `admitted` maps a unit code to the SHA-256 of the entry that the newest ADMIT named, without those revoked since.
    `rules` is the hash of the rules that the newest RULES named; `gone_on` what every RESTORE and HOLD was about.
    `proposed` are the hashes of every PROPOSE, `steps` those of every ACTIVATE since the newest RULES, in order.
    `activated` are the hashes of every ACTIVATE ever.
    `erased` and `restricted` are the subjects of every ERASE, and of every RESTRICT that no LIFT followed.
    """

    origin: str
    count: int
    head: bytes
    administrators: Mapping[str, bytes]
    admitted: Mapping[str, bytes]
    rules: bytes | None = None
    gone_on: frozenset[bytes] = frozenset()
    erased: frozenset[bytes] = frozenset()
    restricted: frozenset[bytes] = frozenset()
    proposed: frozenset[bytes] = frozenset()
    steps: tuple[bytes, ...] = ()
    activated: frozenset[bytes] = frozenset()

    @classmethod
    def none(cls, origin: str) -> Acts:
        """Before the first act."""
        return cls(origin, 0, ZERO32, MappingProxyType({}), MappingProxyType({}))

    def applied(self, signed: SignedAdminAct) -> Acts:
        """The chain with one more act.

        Raises `HS-ADMIN-ACT-INVALID` naming the check: decode, origin, number, previous, kind, administrators, targets,
        subject, rules, restricted, reason, signers.
        """
        # INVARIANT: test_one_administrator_alone_does_nothing
        try:
            act = AdminAct.from_bytes(signed.act, ACT)
        except HandslagError:
            raise _invalid("decode") from None
        _require(act.origin == self.origin, "origin")
        _require(act.number == self.count + 1, "number")
        _require(act.previous == self.head, "previous")
        _require(act.kind in KINDS, "kind")
        self._check_content(act)
        may = {each.name: each.signing_key for each in act.administrators} if not self.count else self.administrators
        _check_signatures(signed, may)
        following = replace(self, count=act.number, head=sha256(signed.act).digest())
        return following._effect(act)

    def _check_content(self, act: AdminAct) -> None:
        about_units = act.kind in ABOUT_UNITS
        _require((act.rules is not None) == (act.kind == PROPOSE), "rules")
        _require((act.subject is None) == (about_units or act.kind == ADMINISTRATORS), "subject")
        if act.kind == ADMINISTRATORS:
            names = {each.name for each in act.administrators}
            keys = {each.signing_key for each in act.administrators}
            # Two names for one key would let one person sign twice.
            _require(len(names) == len(keys) == len(act.administrators) >= SIGNERS, "administrators")
            _require(all(_NAME.fullmatch(name) for name in names), "administrators")
            _require(not act.targets, "targets")
            return
        _require(self.count > 0 and not act.administrators, "administrators")
        units = [each.unit for each in act.targets]
        _require(bool(units) == about_units and len(set(units)) == len(units), "targets")
        if act.kind in ABOUT_SEATS:
            self._check_seat(act)
        if act.kind in ABOUT_RULES:
            self._check_rules(act)
        if act.kind == REVOKE:
            _require(all(self.admitted.get(each.unit) == each.subject for each in act.targets), "targets")

    def _check_seat(self, act: AdminAct) -> None:
        _require(act.subject not in self.erased, "subject")
        _require((act.subject in self.restricted) == (act.kind == LIFT), "restricted")
        _require(bool(act.reason) or act.kind == LIFT, "reason")

    def _check_rules(self, act: AdminAct) -> None:
        # INVARIANT: test_what_was_not_proposed_does_not_take_effect
        if act.rules is not None:
            _require(sha256(act.rules).digest() == act.subject and act.subject not in self.proposed, "subject")
        else:
            # INVARIANT: test_rules_once_in_force_come_back_under_no_approval_of_then
            # Its approvals were given beside what stood then; on another installation's rules too it needs new ones.
            _require(act.subject in self.proposed and act.subject not in self.activated, "subject")

    def _effect(self, act: AdminAct) -> Acts:
        if act.kind == ADMINISTRATORS:
            named = {each.name: each.signing_key for each in act.administrators}
            return replace(self, administrators=MappingProxyType(named))
        if act.subject is not None:
            if act.kind == RULES:
                return replace(self, rules=act.subject, steps=())
            if act.kind in ABOUT_RULES:
                return self._about_rules(act.kind, act.subject)
            if act.kind in ABOUT_SEATS:
                return self._about_seat(act.kind, act.subject)
            return replace(self, gone_on=self.gone_on | {act.subject})
        admitted = dict(self.admitted)
        for each in act.targets:
            if act.kind == ADMIT:
                admitted[each.unit] = each.subject
            else:
                del admitted[each.unit]
        return replace(self, admitted=MappingProxyType(admitted))

    def _about_rules(self, kind: str, subject: bytes) -> Acts:
        if kind == PROPOSE:
            return replace(self, proposed=self.proposed | {subject})
        return replace(self, steps=(*self.steps, subject), activated=self.activated | {subject})

    def _about_seat(self, kind: str, subject: bytes) -> Acts:
        # INVARIANT: test_what_is_restricted_is_not_erased
        if kind == ERASE:
            return replace(self, erased=self.erased | {subject})
        if kind == RESTRICT:
            return replace(self, restricted=self.restricted | {subject})
        return replace(self, restricted=self.restricted - {subject})


def signature(act: bytes, name: str, key: Ed25519PrivateKey) -> AdminSignature:
    """One administrator's signature over an encoded act."""
    return AdminSignature(name=name, signature=key.sign(act))


def together(act: bytes, *signatures: AdminSignature) -> SignedAdminAct:
    """An act with signatures, by name; the same name twice counts once."""
    by_name = {each.name: each for each in signatures}
    return SignedAdminAct(act=act, signatures=tuple(by_name[name] for name in sorted(by_name)))


def missing(signed: SignedAdminAct) -> int:
    """How many signatures an act still needs."""
    return max(0, SIGNERS - len({each.name for each in signed.signatures}))


def _check_signatures(signed: SignedAdminAct, may: Mapping[str, bytes]) -> None:
    names = [each.name for each in signed.signatures]
    _require(len(set(names)) == len(names) >= SIGNERS, "signers")
    for each in signed.signatures:
        try:
            Ed25519PublicKey.from_public_bytes(may[each.name]).verify(each.signature, signed.act)
        except (KeyError, InvalidSignature, ValueError):
            raise _invalid("signers") from None


def _require(holds: bool, check: str) -> None:
    if not holds:
        raise _invalid(check)


def _invalid(check: str) -> HandslagError:
    return HandslagError("HS-ADMIN-ACT-INVALID", check=check)
