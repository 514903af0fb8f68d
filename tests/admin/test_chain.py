"""The chain of administrative acts, pure: two sign, nothing is left out, nothing slips in."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from audit.administration import Acts, signature, together
from schemas.admin import ADMINISTRATORS, ADMIT, REVOKE, AdminAct, Administrator, AdminTarget, SignedAdminAct
from schemas.errors import HandslagError
from schemas.identifiers import ZERO32

ORIGIN = "exempel.invalid/audit"
KEYS = {name: Ed25519PrivateKey.from_private_bytes(name.encode().ljust(32)) for name in ("duty", "deputy", "third")}
UNIT = AdminTarget(unit="SOC/EXEMPEL/KONSULT", subject=b"s" * 32)


def named(*names: str) -> tuple[Administrator, ...]:
    return tuple(Administrator(name=n, signing_key=KEYS[n].public_key().public_bytes_raw()) for n in names)


def act(acts: Acts, kind: str, **more) -> AdminAct:
    return AdminAct(origin=ORIGIN, number=acts.count + 1, previous=acts.head, kind=kind, made_at_us=1, **more)


def signed(made: AdminAct, *names: str) -> SignedAdminAct:
    data = made.to_bytes()
    return together(data, *(signature(data, name, KEYS[name]) for name in names))


def begun() -> Acts:
    none = Acts.none(ORIGIN)
    first = act(none, ADMINISTRATORS, administrators=named("duty", "deputy"))
    return none.applied(signed(first, "duty", "deputy"))


def refused(acts: Acts, given_act: SignedAdminAct) -> str:
    with pytest.raises(HandslagError, match="HS-ADMIN-ACT-INVALID") as caught:
        acts.applied(given_act)
    return str(caught.value.context["check"])


def test_two_administrators_admit_and_revoke():
    acts = begun()
    acts = acts.applied(signed(act(acts, ADMIT, targets=(UNIT,)), "duty", "deputy"))
    assert acts.admitted == {UNIT.unit: UNIT.subject}
    acts = acts.applied(signed(act(acts, REVOKE, targets=(UNIT,)), "deputy", "duty"))
    assert acts.admitted == {}
    assert acts.count == 3


def test_one_administrator_alone_does_nothing():
    acts = begun()
    made = act(acts, ADMIT, targets=(UNIT,))
    assert refused(acts, signed(made, "duty")) == "signers"
    assert refused(acts, signed(made)) == "signers"
    twice = SignedAdminAct(act=made.to_bytes(), signatures=signed(made, "duty").signatures * 2)
    assert refused(acts, twice) == "signers"
    stranger = signature(made.to_bytes(), "deputy", KEYS["third"])
    assert refused(acts, together(made.to_bytes(), *signed(made, "duty").signatures, stranger)) == "signers"
    assert acts.applied(signed(made, "duty", "deputy")).count == 2


def test_who_may_sign_is_changed_by_those_who_may():
    acts = begun()
    change = act(acts, ADMINISTRATORS, administrators=named("deputy", "third"))
    assert refused(acts, signed(change, "deputy", "third")) == "signers"
    acts = acts.applied(signed(change, "duty", "deputy"))
    made = act(acts, ADMIT, targets=(UNIT,))
    assert refused(acts, signed(made, "duty", "deputy")) == "signers"
    assert acts.applied(signed(made, "deputy", "third")).admitted


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"number": 3}, "number"),
        ({"number": 1}, "number"),
        ({"previous": ZERO32}, "previous"),
        ({"origin": "other.invalid/audit"}, "origin"),
        ({"kind": "DISPOSE"}, "kind"),
        ({"kind": "ERASE"}, "subject"),
        ({"targets": ()}, "targets"),
        ({"targets": (UNIT, UNIT)}, "targets"),
        ({"administrators": named("third")}, "administrators"),
    ],
)
def test_an_act_that_does_not_follow_is_refused(change, check):
    acts = begun()
    made = replace(act(acts, ADMIT, targets=(UNIT,)), **change)
    assert refused(acts, signed(made, "duty", "deputy")) == check


def test_two_names_for_one_key_are_refused():
    none = Acts.none(ORIGIN)
    one = KEYS["duty"].public_key().public_bytes_raw()
    both = tuple(Administrator(name=name, signing_key=one) for name in ("duty", "deputy"))
    made = act(none, ADMINISTRATORS, administrators=both)
    data = made.to_bytes()
    twice = together(data, *(signature(data, name, KEYS["duty"]) for name in ("duty", "deputy")))
    assert refused(none, twice) == "administrators"


def test_only_what_is_admitted_is_revoked():
    acts = begun()
    assert refused(acts, signed(act(acts, REVOKE, targets=(UNIT,)), "duty", "deputy")) == "targets"


@given(st.lists(st.sampled_from([ADMIT, REVOKE]), max_size=6), st.data())
def test_no_act_can_be_left_out(kinds, data):
    """Whatever the history: without one of its acts, nothing after it counts."""
    acts, made = begun(), []
    for place, drawn in enumerate(kinds):
        kind = drawn if acts.admitted else ADMIT
        target = next(iter(acts.admitted.items()), (f"SOC/EXEMPEL/{place}", b"s" * 32))
        targets = (AdminTarget(unit=target[0], subject=target[1]),) if kind == REVOKE else (
            AdminTarget(unit=f"SOC/EXEMPEL/{place}", subject=b"s" * 32),
        )  # fmt: skip
        made.append(signed(act(acts, kind, targets=targets), "duty", "deputy"))
        acts = acts.applied(made[-1])
    if len(made) < 2:
        return
    gone = data.draw(st.integers(0, len(made) - 2))
    chain = begun()
    for one in made[:gone]:
        chain = chain.applied(one)
    assert refused(chain, made[gone + 1]) == "number"
