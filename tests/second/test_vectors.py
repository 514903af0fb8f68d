"""The frozen vectors read by a second implementation: both must agree with every value that was ever frozen."""

from __future__ import annotations

import ast
import base64
import json
import sys
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hpke as library
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap, aes_key_wrap

from tests.second import avro, freeze, hpke, log, wire

HERE = Path(__file__).parent
VECTORS = HERE.parent / "vectors"
READER = ("avro", "log", "hpke", "wire")
ALLOWED = {"cryptography", "tests.second.avro", "tests.second.log", "tests.second.hpke", "tests.second"}
unhex = bytes.fromhex


def vectors(name):
    return json.loads((VECTORS / name).read_text("utf-8"))


def read(value):
    """A frozen value: bytes are spelled {"hex": ...}."""
    if isinstance(value, dict):
        return unhex(value["hex"]) if set(value) == {"hex"} else {k: read(v) for k, v in value.items()}
    return [read(each) for each in value] if isinstance(value, list) else value


def imported(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


@pytest.mark.parametrize("name", READER)
def test_the_reader_knows_nothing_of_the_product(name):
    used = set(imported(HERE / f"{name}.py"))
    strange = {one for one in used if one not in ALLOWED and one.split(".")[0] not in ALLOWED | sys.stdlib_module_names}
    assert strange == set()
    assert "schemas.checks" in set(imported(HERE / "freeze.py"))  # the look itself sees an import


# --- schemas


def test_every_schema_has_its_header_and_project_hash():
    frozen = vectors("schemas/schemas.json")
    assert frozen.keys() == avro.SCHEMAS.keys()
    for name, row in frozen.items():
        schema = avro.SCHEMAS[name]
        assert (schema.header.hex(), schema.project_hash.hex()) == (row["header"], row["project_hash"]), name


def test_every_projection_has_its_hash():
    for event_type, categories in vectors("schemas/projections.json").items():
        found = {one: avro.projection(event_type, one).project_hash.hex() for one in categories}
        assert found == categories
        assert {field["category"] for field in avro.event_schema(event_type).source["fields"]} == categories.keys()


@pytest.mark.parametrize(("label", "row"), vectors("schemas/records.json").items())
def test_every_labelled_record_is_read_and_written(label, row):
    schema, data = avro.SCHEMAS[row["schema"]], unhex(row["hex"])
    record = schema.read(data)
    assert (record["label"], record["version"]) == (label, 1)
    assert schema.write(record) == data
    for wrong in (data + b"\0", data[:-1], b"\xc3\x01" + bytes(8) + data[10:]):
        with pytest.raises(ValueError):
            schema.read(wrong)


def agree(name, row):
    data = unhex(row["bytes"])
    record = avro.read(name, data)
    assert record == read(row["fields"])
    assert avro.SCHEMAS[f"handslag.{name}"].write(record) == data
    assert log.sha256(data).hex() == row["sha256"]
    return record


MEMBER = {"Acceptance", "Invitation", "UnitEntry", "TrustStatement"}


@pytest.mark.parametrize(("name", "row"), vectors("seals/statements.json").items())
def test_every_statement_is_read_and_written(name, row):
    agree(f"{'member' if name in MEMBER else 'wire'}.{name}", row)


def test_a_key_id_is_the_hash_of_both_keys():
    row = read(vectors("seals/statements.json")["SeatKey"])
    fields = row["fields"]
    assert wire.key_id(fields["signing_key"], fields["hpke_key"]).hex() == row["sha256"]


# --- one whole event

EVENT, OPENED = vectors("seals/sealed_event.json"), vectors("seals/opened_event.json")
ROLES = sorted(EVENT["deliveries"])


def vouched():
    return wire.members([unhex(one) for one in OPENED["statements"]], unhex(OPENED["pin"]))


def opened(role, data=None, private=None):
    return wire.opened_delivery(
        data or unhex(EVENT["deliveries"][role]),
        keys=wire.Keys(unhex(private or EVENT["private_keys"][role])),
        case_tag=unhex(OPENED["case_tag"]),
        role=role,
        vouched=vouched(),
    )


def test_every_record_of_the_event_is_read_and_written():
    rows = EVENT["records"]
    for name in ("core", "attempt", "routing_item", "bundle_statement", "bundle_leaf"):
        agree("wire." + "".join(part.capitalize() for part in name.split("_")), rows[name])
    agree("member.MemberStatement", rows["member_statement"])
    agree("spool.SealedEvent", rows["sealed_event"])
    for row in rows["recipient_items"]:
        agree("wire.RecipientItem", row)
    for row in rows["section_items"]:
        agree("wire.SectionItem", row)


def test_the_submission_hangs_together():
    submission = avro.read("wire.Submission", unhex(EVENT["submission"]))
    core = avro.read("wire.Core", submission["core"])
    table = wire.digests_of(submission["digests"])
    items = [submission["routing_item"], *submission["recipient_items"], *submission["section_items"]]
    assert {log.sha256(item) for item in items} < set(table)
    routed = avro.read("wire.RoutingItem", submission["routing_item"])["sections"]
    assert [one["digest"] for one in routed] == [log.sha256(item) for item in submission["section_items"]]
    assert core["schema_hash"] == avro.event_schema(core["event_type"]).project_hash
    sender = vouched()[core["seat_key_id"]]
    wire.check_signature(submission["core"], submission["digests"], submission["seat_signature"], sender)
    assert sender.member.hex() == OPENED["members"][sender.role]


def test_a_section_is_sealed_to_the_same_bytes():
    """Made anew from the projection, the key and the salt: the ciphertext and both commitments come out the same."""
    core = unhex(EVENT["records"]["core"]["bytes"])
    items = [avro.read("wire.SectionItem", unhex(row["bytes"])) for row in EVENT["records"]["section_items"]]
    assert [item["category"] for item in items] == sorted(OPENED["projections"])
    for item in items:
        category, key = item["category"], unhex(OPENED["section_keys"][item["category"]])
        body = unhex(OPENED["projections"][category])
        plain = (len(body).to_bytes(4, "big") + body).ljust(256, b"\0")
        aad = wire.section_aad(core, unhex(OPENED["case_tag"]), EVENT["event_type"], category)
        assert AESGCM(key).encrypt(bytes(12), plain, aad) == item["ciphertext"]
    for row in EVENT["records"]["recipient_items"]:
        item = avro.read("wire.RecipientItem", unhex(row["bytes"]))
        event_id = avro.read("wire.Core", core)["event_id"]
        w = unhex(OPENED["w"][item["role"]])
        commitment = avro.write("wire.WCommitment", "HS1 W", event_id=event_id, role=item["role"], w=w)
        assert log.sha256(commitment) == item["w_commitment"]


def test_wrapped_keys_are_those_of_w_and_section():
    submission = avro.read("wire.Submission", unhex(EVENT["submission"]))
    table = wire.digests_of(submission["digests"])
    category = {log.sha256(one): avro.read("wire.SectionItem", one)["category"] for one in submission["section_items"]}
    for wrap in avro.read("wire.Attempt", submission["attempt"])["wraps"]:
        assert wrap["seat_key_id"].hex() == OPENED["seat_key_ids"][wrap["role"]]
        named = [category[table[key["index"]]] for key in wrap["keys"]]
        assert sorted(named) == EVENT["opens_to"][wrap["role"]]
        for key, name in zip(wrap["keys"], named, strict=True):
            w, section = unhex(OPENED["w"][wrap["role"]]), unhex(OPENED["section_keys"][name])
            assert aes_key_wrap(w, section) == key["wrapped"]


@pytest.mark.parametrize("role", ROLES)
def test_the_delivery_opens(role):
    found = opened(role)
    assert sorted(found.projections) == EVENT["opens_to"][role]
    assert {one: body.hex() for one, body in found.projections.items()}.items() <= OPENED["projections"].items()
    assert {one: key.hex() for one, key in found.keys.items()}.items() <= OPENED["section_keys"].items()
    assert found.fields == OPENED["fields"][role]
    assert found.core["event_type"] == EVENT["event_type"]


@pytest.mark.parametrize("part", ["core", "digests", "seat_signature", "recipient_item", "enc"])
def test_a_changed_delivery_does_not_open(part):
    role = ROLES[0]
    delivery = avro.read("wire.Delivery", unhex(EVENT["deliveries"][role]))
    delivery[part] = delivery[part][:-1] + bytes([delivery[part][-1] ^ 1])
    with pytest.raises((AssertionError, ValueError, InvalidSignature, InvalidTag, KeyError)):
        opened(role, avro.SCHEMAS["handslag.wire.Delivery"].write(delivery))


def test_another_role_cannot_open_it():
    one, other = ROLES
    with pytest.raises(InvalidTag):
        opened(one, private=EVENT["private_keys"][other])


def test_the_bundle_is_signed_over_its_root():
    said = wire.check_bundle(unhex(EVENT["bundle"]), unhex(EVENT["unit_key"]))
    assert (
        avro.SCHEMAS["handslag.wire.BundleStatement"].write(said).hex() == EVENT["records"]["bundle_statement"]["bytes"]
    )
    own = Ed25519PrivateKey.from_private_bytes(unhex(OPENED["unit_private_key"])[:32])
    assert own.public_key().public_bytes_raw().hex() == EVENT["unit_key"]
    request = avro.read("api.SubmitRequest", unhex(EVENT["bundle"]))
    assert own.sign(request["bundle"]) == request["unit_signature"]  # Ed25519 has one signature for one text


# --- consent ledger


def ledger():
    frozen = vectors("ledger/heads.json")
    return frozen, [avro.read("ledger.LedgerEvent", unhex(one)) for one in frozen["events"]]


def test_the_heads_of_a_ledger_chain():
    frozen, events = ledger()
    assert wire.check_ledger(events, unhex(frozen["signing_key"])).hex() == frozen["heads"][-1]
    assert [event["head"].hex() for event in events] == frozen["heads"]
    assert [avro.read("ledger.ConsentAct", event["act"]) for event in events] == read(frozen["acts"])


def test_another_order_is_another_ledger():
    frozen, events = ledger()
    swapped = [events[0], events[2], events[1], *events[3:]]
    with pytest.raises(AssertionError):
        wire.check_ledger(swapped, unhex(frozen["signing_key"]))


# --- audit log


def test_an_entry_opens_and_commits_to_its_payload():
    row, told = vectors("trail/entry.json"), vectors("trail/opened_entry.json")
    secret, entry_id = unhex(row["sk"]), unhex(row["entry_id"])
    key = wire.entry_key(secret, entry_id)
    assert key.hex() == row["dek"]
    assert wire.handle(secret, row["segment"]).hex() == row["handle"]
    assert log.leaf(unhex(row["entry"])).hex() == row["leaf_hash"]
    entry, payload = wire.opened_entry(unhex(row["entry"]), unhex(row["payload"]), key)
    assert (entry, payload) == (read(told["entry"]), read(told["payload"]))


def test_a_checkpoint_is_signed():
    row = vectors("audit/checkpoint.json")
    note = row["note"].encode()
    assert log.checkpoint(note, row["vkey"]) == (row["origin"], row["size"], unhex(row["root"]), row["extensions"])
    for wrong in (note.replace(b"\n48\n", b"\n49\n"), note.replace(b"rad", b"rod")):
        with pytest.raises(InvalidSignature):
            log.checkpoint(wrong, row["vkey"])


def test_a_proof_file_leads_to_its_checkpoint():
    row = vectors("audit/tlog_proof.json")
    found = log.proven(row["proof"].encode(), unhex(row["leaf_hash"]), row["vkey"])
    assert (found[0], found[1], found[3].hex()) == (row["origin"], row["size"], row["extra"])
    with pytest.raises(ValueError):
        log.proven(row["proof"].encode(), bytes(32), row["vkey"])


def tried(call, *args):
    try:
        return call(*args)
    except ValueError:
        return "refused"


def b64(text):
    return base64.b64decode(text or "")


def test_the_public_proofs_of_rfc_6962_hold():
    rows = vectors("audit/transparency_dev_merkle.json")
    for row in rows["inclusion"]:
        proof = [b64(one) for one in row["proof"] or []]
        found = tried(log.root_by_path, b64(row["leafHash"]), row["leafIdx"], row["treeSize"], proof)
        assert (found != b64(row["root"])) == row["wantErr"], row["case"]
    for row in rows["consistency"]:
        proof = [b64(one) for one in row["proof"] or []]
        roots = b64(row["root1"]), b64(row["root2"])
        refused = tried(log.consistent, row["size1"], row["size2"], *roots, proof) == "refused"
        assert refused == row["wantErr"], row["case"]


def test_a_beat_has_its_layout():
    """The frozen layouts say where the entries and the filler of a beat lie; the tree over them is the recursion's."""
    for row in vectors("audit/beat.json")["layouts"]:
        leaves = [unhex(one) for one in row["leaves"]]
        whole = log.root(leaves)
        paths = [path_to(leaves, index) for index in range(len(leaves))]
        assert all(log.root_by_path(leaves[i], i, len(leaves), path) == whole for i, path in enumerate(paths))


def path_to(leaves, index):
    if len(leaves) == 1:
        return []
    k = log.split(len(leaves))
    if index < k:
        return [*path_to(leaves[:k], index), log.root(leaves[k:])]
    return [*path_to(leaves[k:], index - k), log.root(leaves[:k])]


# --- what others published


def test_key_wrap_is_that_of_rfc_3394():
    for row in vectors("public/rfc3394.json")["rows"]:
        kek, key, wrapped = unhex(row["kek"]), unhex(row["key"]), unhex(row["wrapped"])
        assert (aes_key_wrap(kek, key), aes_key_unwrap(kek, wrapped)) == (wrapped, key), row["section"]


def test_the_second_hpke_is_that_of_the_draft():
    """The working group's own vector of our KEM and KDF; it has another AEAD, the suite's own is in our vectors."""
    row = vectors("public/hpke_pq.json")
    assert (row["mode"], row["kem_id"], row["kdf_id"], row["aead_id"]) == (0, hpke.KEM, hpke.KDF, 3)
    seed, x25519 = hpke.of_seed(unhex(row["skRm"]))
    keys = MLKEM768PrivateKey.from_seed_bytes(seed), X25519PrivateKey.from_private_bytes(x25519)
    public = b"".join(key.public_key().public_bytes_raw() for key in keys)
    assert public.hex() == row["pkRm"]
    shared = hpke.decapsulated(*keys, unhex(row["enc"]))
    info, aad, sealed = unhex(row["info"]), unhex(row["aad"]), unhex(row["enc"]) + unhex(row["ct"])
    assert shared.hex() == row["shared_secret"]
    assert [one.hex() for one in hpke.schedule(shared, info, 3)] == [row["key"], row["base_nonce"]]
    assert hpke.opened(seed, x25519, sealed, info, aead=3, aad=aad) == unhex(row["pt"])
    # The library takes no associated data, which every vector of the draft has: it seals what this one opens.
    suite = library.Suite(library.KEM.MLKEM768_X25519, library.KDF.HKDF_SHA256, library.AEAD.CHACHA20_POLY1305)
    made = suite.encrypt(b"EXEMPEL", library.MLKEM768X25519PrivateKey(*keys).public_key(), info=info)
    assert hpke.opened(seed, x25519, made, info, aead=3) == b"EXEMPEL"


# --- what the vectors give the second reader


@pytest.mark.parametrize(("name", "made"), freeze.FILES.items())
def test_the_product_still_makes_these_vectors(name, made):
    assert (VECTORS / name).read_text("utf-8") == freeze.text(made())
    assert vectors(name)["version"] == freeze.VERSION
