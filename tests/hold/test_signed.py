"""A restored broker goes on only as two administrators signed; until then it stays in HOLD and says what is missing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from audit.checkpoint import Checkpoint
from audit.continuation import check_statement, subject, subject_of
from broker import restoring
from broker.actfiles import private_key, signed_by
from broker.hold import WITNESS, Seen
from broker.restoring import Known
from schemas.admin import HOLD, RESTORE
from schemas.errors import HandslagError
from tests.hold.test_node import ORIGIN, loaded, lost, node, quiet, went_on  # noqa: F401 - one is a fixture


@pytest.fixture
async def restored(loaded, tmp_path):  # noqa: F811
    await lost(loaded, tmp_path / "copy")
    restoring.restore(loaded, tmp_path / "copy", Known(), quiet)
    return loaded


def drawn(one, kind: str, about: bytes, signers: int = 2):
    named = one.settings.administration
    signed = one.files.draft(kind, 1, subject=about, reason="EXEMPEL")
    for key in (named.first_key_file, named.second_key_file)[:signers]:
        signed = signed_by(signed, private_key(key), one.files.chain)
    return signed


async def refused(one) -> dict[str, object]:
    with pytest.raises(HandslagError) as error:
        await one.served.continuing.go_on()
    assert error.value.code == "HS-ADMIN-UNSIGNED"
    return error.value.context


async def test_a_log_goes_on_only_as_two_administrators_signed(restored):
    for _ in range(2):  # a restart changes nothing
        async with node(restored) as one:
            missing = await one.served.continuing.missing()
            assert missing["kind"] == RESTORE
            assert await refused(one) == {"check": "hold"}
            assert one.core.keeper.silent
            assert await one.core.readiness() == ("HS-HOLD",)
    async with node(restored) as one:
        about = bytes.fromhex((await one.served.continuing.missing())["subject"])
        with pytest.raises(HandslagError, match="HS-ADMIN-UNSIGNED"):
            one.files.append(drawn(one, RESTORE, about, signers=1))
        one.files.append(drawn(one, HOLD, about))  # another kind of act
        one.files.append(drawn(one, RESTORE, bytes(32)))  # another loss
        assert await refused(one) == {"check": "hold"}
        one.files.append(drawn(one, RESTORE, about))
        signed = await one.served.continuing.go_on()
        said = check_statement(signed, base=ORIGIN, log=one.log.signer(1).verifier)
        assert (said.administrator, said.reason) == ("demo-first, demo-second", "EXEMPEL")
        assert subject_of(said) == about
        assert about in one.files.chain().gone_on
        assert len((await one.core.acts(0)).entries) == one.files.chain().count  # every agency is shown it
        assert await one.served.continuing.missing() is None


async def test_what_was_signed_before_more_was_seen_does_not_count(restored):
    async with node(restored) as one:
        before = bytes.fromhex((await one.served.continuing.missing())["subject"])
        one.files.append(drawn(one, RESTORE, before))
        row = one.core.keeper.row
        await one.core.keeper.begin(WITNESS, Seen(1, Checkpoint(ORIGIN, row.seen_size + 16, b"x" * 32), "note"))
        assert await refused(one) == {"check": "hold"}
        assert bytes.fromhex((await one.served.continuing.missing())["subject"]) != before
        await went_on(one, "again")


async def test_a_broker_says_how_many_acts_agencies_were_shown(restored):
    async with node(restored) as one:
        await one.core.acts(7)
        await one.core.acts(2)
        assert one.core.acts_seen == 7


def test_the_subject_tells_every_part_of_a_loss_apart():
    kept, seen = Checkpoint("a", 1, b"r" * 32), Checkpoint("a", 2, b"s" * 32)
    whole = subject(b"h" * 16, kept, seen)
    assert len(whole) == 32
    others = {
        subject(b"i" * 16, kept, seen),
        subject(b"h" * 16, replace(kept, size=2), seen),
        subject(b"h" * 16, replace(kept, root=b"q" * 32), seen),
        subject(b"h" * 16, kept, replace(seen, size=3)),
        subject(b"h" * 16, kept, replace(seen, root=b"q" * 32)),
        subject(b"h" * 16, kept, replace(seen, origin="a/2")),
        whole,
    }
    assert len(others) == 7
    assert subject(b"h" * 16, replace(kept, origin="a/2"), seen) == whole
