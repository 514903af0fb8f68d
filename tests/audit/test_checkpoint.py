"""Checkpoints and proof files: frozen vectors, one spelling only, and every contradiction refused."""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from audit import checkpoint, merkle, note, tlogproof
from audit.checkpoint import Checkpoint
from schemas.errors import HandslagError

VECTORS = Path(__file__).parents[1] / "vectors" / "audit"
ORIGIN = "exempel.invalid/audit"
SIGNER = note.Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
WITNESS = note.Signer("vittne.exempel.invalid", Ed25519PrivateKey.from_private_bytes(bytes(32)))
LEAVES = [merkle.leaf_hash(b"EXEMPEL" + bytes([index])) for index in range(48)]


def refused(code, check, call, *args, **kwargs):
    with pytest.raises(HandslagError) as caught:
        call(*args, **kwargs)
    assert (caught.value.code, caught.value.context["check"]) == (code, check)


def head(size, **changes):
    fields = {"origin": ORIGIN, "size": size, "root": merkle.root(LEAVES[:size]), **changes}
    return Checkpoint(**fields)


def opened(data, origin=ORIGIN):
    return checkpoint.open_checkpoint(data, origin=origin, log_keys=[SIGNER.verifier])


def proof_file(index=5, size=48, extra=b""):
    signed = checkpoint.sign_checkpoint(head(size), [SIGNER])
    return tlogproof.TlogProof(index, tuple(merkle.inclusion_proof(LEAVES[:size], index)), signed, extra).render()


def verified(data, index=5, origin=ORIGIN, signer=SIGNER):
    return tlogproof.verify(data, leaf_hash=LEAVES[index], verifier=signer.verifier, origin=origin)


def test_frozen_checkpoint():
    frozen = json.loads((VECTORS / "checkpoint.json").read_text())
    signer = note.Signer(frozen["origin"], Ed25519PrivateKey.from_private_bytes(bytes.fromhex(frozen["seed"])))
    assert signer.verifier.vkey() == frozen["vkey"]
    made = Checkpoint(frozen["origin"], frozen["size"], bytes.fromhex(frozen["root"]), tuple(frozen["extensions"]))
    assert checkpoint.sign_checkpoint(made, [signer]).decode() == frozen["note"]
    key = note.Verifier.from_vkey(frozen["vkey"])
    assert checkpoint.open_checkpoint(frozen["note"].encode(), origin=frozen["origin"], log_keys=[key]) == made


def test_frozen_proof_file():
    frozen = json.loads((VECTORS / "tlog_proof.json").read_text())
    data = frozen["proof"].encode()
    key = note.Verifier.from_vkey(frozen["vkey"])
    leaf = bytes.fromhex(frozen["leaf_hash"])
    covered = tlogproof.verify(data, leaf_hash=leaf, verifier=key, origin=frozen["origin"])
    assert covered.size == frozen["size"]
    assert tlogproof.parse(data).extra.hex() == frozen["extra"]
    assert tlogproof.parse(data).render() == data


def test_the_example_body_of_the_specification_is_read():
    # C2SP tlog-checkpoint, introduction; its signing key is not published.
    body = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    read = Checkpoint.from_body(body)
    assert (read.origin, read.size, read.body()) == ("example.com/behind-the-sofa", 20_852_163, body)


@given(st.integers(1, 2**63 - 1), st.binary(min_size=32, max_size=32), st.lists(st.text("abc åäö—", min_size=1)))
def test_a_checkpoint_is_read_as_it_is_signed(size, root, extensions):
    made = Checkpoint(ORIGIN, size, root, tuple(extensions))
    assert opened(checkpoint.sign_checkpoint(made, [SIGNER, WITNESS])) == made


def test_other_spellings_of_a_body_are_refused():
    origin, size, root, _ = head(16).body().split("\n")
    assert Checkpoint.from_body(f"{origin}\n{size}\n{root}\n") == head(16)
    sizes = ["016", "+16", "-16", "16 ", "", "0x10", "1_6", "١٦", "1" * 20, "9" * 5000, str(2**63)]
    bodies = [f"{origin}\n{other}\n{root}\n" for other in sizes]
    bodies += [f"{origin}\n{size}\n{other}\n" for other in (root[:-1], root + "=", root[:40], "", " " + root)]
    bodies += [f"\n{size}\n{root}\n", f"{origin}\n{size}\n{root}", f"{origin}\n{size}\n", "", "\n"]
    bodies += [f"{origin}\n{size}\n{root}\n\n", f"{origin}\n{size}\n{root}\n\nx\n"]
    for body in bodies:
        refused("HS-CHECKPOINT-INVALID", "body", Checkpoint.from_body, body)
    for changes in ({"size": -1}, {"size": 2**63}, {"root": b"short"}, {"origin": "a\nb"}, {"extensions": ("",)}):
        refused("HS-CHECKPOINT-INVALID", "body", lambda changes=changes: Checkpoint(**{**vars_of(head(16)), **changes}))


def vars_of(made):
    return {"origin": made.origin, "size": made.size, "root": made.root, "extensions": made.extensions}


def test_the_empty_tree_has_one_root():
    assert head(0).root == merkle.EMPTY_ROOT
    refused("HS-CHECKPOINT-INVALID", "empty-root", head, 0, root=LEAVES[0])


def test_a_checkpoint_of_another_origin_is_refused():
    data = checkpoint.sign_checkpoint(head(16), [SIGNER])
    assert opened(data) == head(16)
    refused("HS-CHECKPOINT-INVALID", "origin", opened, data, origin="annan.exempel.invalid/audit")


def test_a_witness_alone_does_not_make_a_checkpoint():
    data = checkpoint.sign_checkpoint(head(16), [WITNESS])
    refused("HS-CHECKPOINT-INVALID", "no-known-signature", opened, data)


def test_a_smaller_tree_or_a_fork_is_a_rollback():
    def step(older, newer, proof=()):
        checkpoint.supersedes(newer=newer, older=older, proof=proof)

    proof = merkle.consistency_proof(LEAVES, 16)
    step(head(16), head(48), proof)
    step(head(16), head(16))
    step(head(0), head(16))
    step(head(0), head(0))
    refused("HS-TRAIL-ROLLBACK", "smaller", step, head(48), head(16), proof)
    refused("HS-TRAIL-ROLLBACK", "smaller", step, head(16), head(0))
    refused("HS-TRAIL-ROLLBACK", "fork", step, head(16), head(16, root=LEAVES[0]))
    refused("HS-PROOF-INVALID", "second-root", step, head(16), head(48, root=LEAVES[0]), proof)
    refused("HS-PROOF-INVALID", "first-root", step, head(17), head(48), merkle.consistency_proof(LEAVES, 17)[::-1])
    refused("HS-PROOF-INVALID", "proof-length", step, head(16), head(48))
    refused("HS-PROOF-INVALID", "proof-length", step, head(0), head(16), proof)
    refused("HS-CHECKPOINT-INVALID", "origin", step, head(16), head(48, origin="annan.exempel.invalid"), proof)


@given(st.integers(1, 48), st.data(), st.binary(max_size=20))
def test_every_proof_file_verifies_and_is_read_as_written(size, data, extra):
    index = data.draw(st.integers(0, size - 1))
    content = proof_file(index, size, extra)
    assert verified(content, index) == head(size)
    parsed = tlogproof.parse(content)
    assert (parsed.index, parsed.extra, parsed.render()) == (index, extra, content)


@given(st.integers(0), st.integers(0, 7))
def test_any_changed_byte_of_a_proof_file_is_refused(position, bit):
    good = proof_file()
    assert verified(good) == head(48)
    bad = bytearray(good)
    bad[position % len(bad)] ^= 1 << bit
    with pytest.raises(HandslagError):
        verified(bytes(bad))


def test_a_proof_holds_for_its_leaf_its_origin_and_its_key():
    good = proof_file()
    assert verified(good)
    refused("HS-PROOF-INVALID", "root", verified, good, index=6)
    refused("HS-CHECKPOINT-INVALID", "origin", verified, good, origin="annan.exempel.invalid/audit")
    refused("HS-CHECKPOINT-INVALID", "no-known-signature", verified, good, signer=WITNESS)


def test_malformed_proof_files_are_refused():
    good = proof_file(extra=b"EXEMPEL").decode()
    assert tlogproof.parse(good.encode()).extra == b"EXEMPEL"
    extra = good.split("\n")[1] + "\n"
    bad = [
        "",
        good.replace("@v1", "@v2"),
        good.replace("\n", "\r\n"),
        good.replace("index 5", "index 05"),
        good.replace("index 5", "index -5"),
        good.replace("index 5\n", ""),
        good.replace(extra, "extra \n"),
        good.replace(extra, "extra !!\n"),
        good.replace(extra, extra * 2),
        good.replace("index 5\n", "index 5\nAAAA\n"),
        good.replace("index 5\n", "index 5\nåäö\n"),
        good.partition("\n\n")[0] + "\n\n",
    ]
    for content in bad:
        refused("HS-PROOF-INVALID", "format", tlogproof.parse, content.encode())
    refused("HS-PROOF-INVALID", "size", tlogproof.parse, b"a" * 2_000_000)
    refused("HS-PROOF-INVALID", "format", tlogproof.TlogProof, 0, (b"short",), b"x")
    refused("HS-PROOF-INVALID", "format", tlogproof.TlogProof, -1, (), b"x")
