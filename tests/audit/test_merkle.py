"""RFC 6962 hashing and proofs: public vectors, all small sizes against the recursive definition, and refusals."""

import base64
import json
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit import merkle
from schemas.errors import HandslagError

VECTORS = Path(__file__).parents[1] / "vectors" / "audit"
PUBLIC = json.loads((VECTORS / "transparency_dev_merkle.json").read_text())

# Inputs and roots: github.com/transparency-dev/merkle testonly/, from the certificate-transparency reference.
INPUTS = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [merkle.leaf_hash(bytes.fromhex(data)) for data in INPUTS]
MANY = [merkle.leaf_hash(index.to_bytes(4, "big")) for index in range(131)]
SIZES = st.integers(1, 130)


def recursive_root(leaves):
    """MTH of RFC 6962 section 2.1, word for word, over leaf hashes."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha256(b"\x01" + recursive_root(leaves[:split]) + recursive_root(leaves[split:])).digest()


def refused(check, call, *args, **kwargs):
    with pytest.raises(HandslagError) as caught:
        call(*args, **kwargs)
    assert caught.value.code == "HS-PROOF-INVALID"
    if check:
        assert caught.value.context["check"] == check


def flip(value, position, bit):
    changed = bytearray(value)
    changed[position % len(value)] ^= 1 << bit
    return bytes(changed)


def test_known_roots_of_the_eight_leaf_tree():
    frontier = merkle.Frontier()
    assert frontier.root().hex() == ROOTS[0]
    for size in range(9):
        assert merkle.root(LEAVES[:size]).hex() == ROOTS[size]
    for size, leaf in enumerate(LEAVES, start=1):
        frontier.append(leaf)
        assert frontier.root().hex() == ROOTS[size]


def test_leaf_and_node_hashes_are_those_of_rfc_6962():
    # github.com/transparency-dev/merkle rfc6962/rfc6962_test.go
    assert merkle.leaf_hash(b"L123456").hex() == "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56"
    node = merkle.node_hash(b"N123", b"N456")
    assert node.hex() == "aa217fe888e47007fa15edab33c2b492a722cb106c64667fc2b044444de66bbb"


def decoded(row, *names):
    return [base64.b64decode(row[name]) for name in names], [base64.b64decode(value) for value in row["proof"]]


@pytest.mark.parametrize("row", PUBLIC["inclusion"], ids=lambda row: row["case"])
def test_public_inclusion_cases(row):
    (leaf, root_hash), proof = decoded(row, "leafHash", "root")
    arguments = {"leaf": leaf, "index": row["leafIdx"], "size": row["treeSize"], "proof": proof, "root_hash": root_hash}
    if row["wantErr"]:
        refused(None, merkle.verify_inclusion, **arguments)
    else:
        merkle.verify_inclusion(**arguments)


# Holds there because their roots may have any length; eleven bytes are no SHA-256 root here.
STRICTER = {"additional/sizes-are-equal-one-and-proof-is-empty"}


@pytest.mark.parametrize("row", PUBLIC["consistency"], ids=lambda row: row["case"])
def test_public_consistency_cases(row):
    (first_root, second_root), proof = decoded(row, "root1", "root2")
    arguments = {
        "first": row["size1"],
        "second": row["size2"],
        "first_root": first_root,
        "second_root": second_root,
        "proof": proof,
    }
    if row["wantErr"] or row["case"] in STRICTER:
        refused(None, merkle.verify_consistency, **arguments)
    else:
        merkle.verify_consistency(**arguments)


def test_the_public_cases_contain_both_answers():
    for kind in ("inclusion", "consistency"):
        assert {row["wantErr"] for row in PUBLIC[kind]} == {True, False}


def test_root_equals_the_recursive_definition():
    frontier = merkle.Frontier()
    for size in range(132):
        expected = recursive_root(MANY[:size])
        assert merkle.root(MANY[:size]) == expected
        assert frontier.root() == expected
        assert merkle.Frontier(size, frontier.peaks).root() == expected
        if size < 131:
            frontier.append(MANY[size])


@given(SIZES, st.integers(0, 130))
def test_a_frontier_may_be_put_away_and_continued(size, cut):
    cut = min(cut, size)
    before = merkle.Frontier()
    before.extend(MANY[:cut])
    after = merkle.Frontier(before.size, before.peaks)
    after.extend(MANY[cut:size])
    assert (after.size, after.root()) == (size, recursive_root(MANY[:size]))


def test_a_frontier_that_does_not_fit_its_size_is_refused():
    merkle.Frontier(3, MANY[:2])
    refused("frontier", merkle.Frontier, 3, MANY[:1])
    refused("frontier", merkle.Frontier, -1, MANY[:1])
    refused("frontier", merkle.Frontier, 1, [b"short"])


def test_every_inclusion_proof_up_to_130_leaves_verifies():
    for size in range(1, 131):
        leaves = MANY[:size]
        root_hash = merkle.root(leaves)
        step = 1 if size < 34 else 7
        for index in {*range(0, size, step), size - 1}:
            proof = merkle.inclusion_proof(leaves, index)
            merkle.verify_inclusion(leaf=leaves[index], index=index, size=size, proof=proof, root_hash=root_hash)


def test_every_consistency_proof_up_to_130_leaves_verifies():
    roots = [merkle.root(MANY[:size]) for size in range(131)]
    for second in range(1, 131):
        step = 1 if second < 34 else 7
        for first in {*range(1, second, step), second}:
            proof = merkle.consistency_proof(MANY[:second], first)
            merkle.verify_consistency(
                first=first, second=second, first_root=roots[first], second_root=roots[second], proof=proof
            )


@given(SIZES, st.data())
def test_any_flipped_bit_of_an_inclusion_proof_is_refused(size, data):
    index = data.draw(st.integers(0, size - 1))
    good = [MANY[index], merkle.root(MANY[:size]), *merkle.inclusion_proof(MANY[:size], index)]

    def verify(values):
        leaf, root_hash, *proof = values
        merkle.verify_inclusion(leaf=leaf, index=index, size=size, proof=proof, root_hash=root_hash)

    verify(good)
    which = data.draw(st.integers(0, len(good) - 1))
    bad = list(good)
    bad[which] = flip(bad[which], data.draw(st.integers(0, 31)), data.draw(st.integers(0, 7)))
    refused("root", verify, bad)
    refused(None, verify, [*good, MANY[0]])
    if len(good) > 2:
        refused(None, verify, good[:-1])


@given(SIZES, st.data())
def test_an_inclusion_proof_holds_for_its_own_index_only(size, data):
    index = data.draw(st.integers(0, size - 1))
    other = data.draw(st.integers(-1, size + 1).filter(lambda value: value != index))
    arguments = {"leaf": MANY[index], "size": size, "root_hash": merkle.root(MANY[:size])}
    arguments["proof"] = merkle.inclusion_proof(MANY[:size], index)
    merkle.verify_inclusion(index=index, **arguments)
    refused(None, merkle.verify_inclusion, index=other, **arguments)


@given(SIZES, st.data())
def test_any_flipped_bit_of_a_consistency_proof_is_refused(second, data):
    first = data.draw(st.integers(1, second))
    good = [merkle.root(MANY[:first]), merkle.root(MANY[:second]), *merkle.consistency_proof(MANY[:second], first)]

    def verify(values):
        first_root, second_root, *proof = values
        merkle.verify_consistency(
            first=first, second=second, first_root=first_root, second_root=second_root, proof=proof
        )

    verify(good)
    which = data.draw(st.integers(0, len(good) - 1))
    bad = list(good)
    bad[which] = flip(bad[which], data.draw(st.integers(0, 31)), data.draw(st.integers(0, 7)))
    refused(None, verify, bad)
    refused(None, verify, [*good, MANY[0]])
    if len(good) > 2:
        refused(None, verify, good[:-1])


def test_nothing_is_proved_outside_the_tree():
    merkle.inclusion_spans(7, 8)
    merkle.consistency_spans(8, 8)
    for index, size in [(8, 8), (-1, 8), (0, 0), (0, 2**63)]:
        refused("range", merkle.inclusion_spans, index, size)
    for first, second in [(0, 8), (9, 8), (-1, 8), (1, 2**63)]:
        refused("range", merkle.consistency_spans, first, second)


def test_a_node_cannot_pass_for_a_leaf():
    # Without the two prefixes the node's 64 bytes would be an entry of a smaller tree with the same root.
    inner = [merkle.node_hash(*LEAVES[0:2]), merkle.node_hash(*LEAVES[2:4])]
    assert merkle.root(inner) == merkle.root(LEAVES[:4])
    assert merkle.root([merkle.leaf_hash(LEAVES[0] + LEAVES[1])]) != merkle.root(LEAVES[:2])


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 100, 129])
def test_the_proofs_of_all_leaves_are_the_single_ones(size):
    leaves = MANY[:size]
    assert merkle.inclusion_proofs(leaves) == [merkle.inclusion_proof(leaves, index) for index in range(size)]
    assert merkle.inclusion_proofs([]) == []
