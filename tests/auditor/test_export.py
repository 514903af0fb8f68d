"""An export proves itself without the broker, and every way to cheat with it is named."""

import json
import shutil
import stat
from dataclasses import replace
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit import exportfile, trustfile
from audit.anchors import Anchors
from audit.entry import Draft, open_payload, seal
from audit.vault import SeatKeys
from audit.verify_export import verify_export
from schemas.errors import HandslagError
from schemas.trail import AuditEntry
from tests.auditor.conftest import LOOK, REF


@pytest.fixture(scope="package")
def answered(told, tmp_path_factory):
    """The folder of an export, and what the command said of it; how much it is depends on who asked before."""
    _play, auditor, *_ = told
    folder = tmp_path_factory.mktemp("export") / "out"
    told_ = auditor.answer("audit", "export", "--ref", REF, *LOOK, "--dir", folder)
    assert told_["proofs"] == told_["entries"] > told_["told"] >= 10  # what this case alone tells the police
    return folder, told_


@pytest.fixture(scope="package")
def exported(answered):
    return answered[0]


@pytest.fixture
def export(exported):
    return exportfile.read(exported)


def checked(export, **options):
    listed = trustfile.read(export.trust)
    return verify_export(
        export, origin=listed.origin, log=listed.log, anchors=Anchors(agencies=listed.agencies), **options
    )


def payload_of(one):
    return open_payload(AuditEntry.from_bytes(one.entry), one.payload, one.key)


def operation(one):
    return AuditEntry.from_bytes(one.entry).operation


def test_an_export_is_whole_and_says_what_it_does_not_show(told, answered, tmp_path):
    play, auditor, *_ = told
    exported, said = answered
    away = shutil.copytree(exported, tmp_path / "usb")
    own = auditor.run("audit", "verify", away, "--json")
    report = json.loads(own.stdout)
    assert (own.returncode, report["result"]) == (0, "ok")
    assert report["entries"] == report["leaves"] == report["opened"] == said["entries"]
    assert (report["acts_checked"], report["decisions_recomputed"]) == (2, report["evidence_checked"])
    assert report["held_looked_for"] == said["told"]
    assert set(report["not_shown"]) == {
        "cosignatures", "segments", "complete", "remembered", "unsigned-withdrawal", "own-trust"
    }  # fmt: skip
    assert len(report["trust_fingerprint"]) == 64
    theirs = auditor.answer("audit", "verify", away, "--trust", play.folder / "trust.toml")
    assert "own-trust" not in theirs["not_shown"]


def test_files_are_private_and_a_folder_that_exists_is_refused(told, exported, export):
    _play, auditor, *_ = told
    modes = {stat.S_IMODE(path.stat().st_mode) for path in exported.rglob("*") if path.is_file()}
    folders = {stat.S_IMODE(path.stat().st_mode) for path in (exported, *exported.rglob("*")) if path.is_dir()}
    assert (modes, folders) == ({0o600}, {0o700})
    again = auditor.run("audit", "export", "--ref", REF, *LOOK, "--dir", exported)
    assert (again.returncode, "HS-EXPORT-EXISTS" in again.stderr) == (1, True)


def test_an_export_never_writes_into_a_folder_that_exists(export, tmp_path):
    with pytest.raises(HandslagError) as caught:
        exportfile.write(tmp_path, export)
    assert caught.value.code == "HS-EXPORT-EXISTS"
    exportfile.write(tmp_path / "new", export)
    assert exportfile.read(tmp_path / "new") == export


def test_a_changed_file_is_refused(exported, tmp_path):
    for place, path in enumerate(sorted(exported.rglob("*"))[::9]):
        if not path.is_file():
            continue
        copy = shutil.copytree(exported, tmp_path / str(place))
        changed = copy / path.relative_to(exported)
        changed.write_bytes(changed.read_bytes()[:-2] + b"x")
        with pytest.raises(HandslagError) as caught:
            exportfile.read(copy)
        assert caught.value.code == "HS-TRAIL-UNREADABLE"
    assert exportfile.read(exported)


def without(export, number):
    return replace(export, entries=tuple(one for one in export.entries if one.number != number))


def test_an_entry_that_was_told_and_left_out_is_named(export):
    told = {one.leaf_hash: one.kind for one in export.held}
    for one in export.entries:
        if one.leaf_hash in told:
            found = {(finding.check, finding.part) for finding in checked(without(export, one.number)).findings}
            assert ("held", told[one.leaf_hash]) in found


def test_an_act_left_out_breaks_the_ledger(export):
    acts = [one for one in export.entries if operation(one) == "CONSENT_EVENT"]
    assert len(acts) == 2
    for act in acts:
        bare = replace(without(export, act.number), held=())
        assert not checked(bare).whole


def test_an_entry_without_a_place_in_the_log_is_named(export):
    first, second = export.entries[:2]
    bare = replace(export, proofs={n: proof for n, proof in export.proofs.items() if n != first.number})
    swapped = replace(export, proofs={**export.proofs, first.number: export.proofs[second.number]})
    for wrong, part in ((bare, "none"), (swapped, None)):
        report = checked(wrong)
        assert [(one.check, one.number) for one in report.findings] == [("inclusion", first.number)]
        assert part is None or report.first().part == part


def forged(export, one, **changes):
    """The entry with another content, sealed as well as whoever holds the keys can: only its place is missing."""
    said = AuditEntry.from_bytes(one.entry)
    payload = replace(payload_of(one), **changes)
    keys = SeatKeys(bytes(32))
    draft = Draft(operation=said.operation, owner=said.owner, payload=payload, outcome=said.outcome)
    made = seal(
        draft, entry_id=said.entry_id, salt=said.salt, at_us=said.at_us, keys=keys, segment=1,
        random_handle=said.handle,
    )  # fmt: skip
    changed = replace(one, entry=made.entry_bytes, payload=made.payload, key=keys.dek(said.entry_id),
                      leaf_hash=sha256(b"\x00" + made.entry_bytes).digest())  # fmt: skip
    return replace(export, entries=tuple(changed if each is one else each for each in export.entries))


def test_forged_content_is_named_though_it_is_sealed_anew(export):
    decision = next(one for one in export.entries if operation(one) == "DECISION")
    report = checked(forged(export, decision, purpose="FOLLOW_UP"))
    assert {"inclusion", "evidence", "decision"} <= {one.check for one in report.findings}


def test_a_forged_act_is_named(export):
    act = next(one for one in export.entries if operation(one) == "CONSENT_EVENT")
    report = checked(forged(export, act, act_signature=bytes(64)))
    assert ("act-signature", act.number) in {(one.check, one.number) for one in report.findings}


def test_another_log_or_another_checkpoint_is_named(export):
    listed = trustfile.read(export.trust)
    report = verify_export(
        export, origin="other.example/audit", log=listed.log, anchors=Anchors(agencies=listed.agencies)
    )
    assert {"note", "evidence"} <= {one.check for one in report.findings}
    flipped = export.checkpoint.replace(b"\n", b"\n1", 1)
    assert "note" in {one.check for one in checked(replace(export, checkpoint=flipped)).findings}


def test_another_seats_key_is_named(export):
    stranger = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    report = checked(replace(export, signing_key=stranger))
    assert ("seat-key", "other") in {(one.check, one.part) for one in report.findings}


def test_the_keys_open_this_seat_in_a_copy_of_the_whole_trail(told, exported, tmp_path):
    play, auditor, *_ = told
    play.handslag("trail", "copy", tmp_path / "trail.db", "--config", play.broker)
    report = auditor.answer(
        "audit", "verify", tmp_path / "trail.db", "--trust", play.folder / "trust.toml",
        "--keys", exported / "keys.txt", "--units", exported / "units.json",
    )  # fmt: skip
    assert (report["result"], report["acts_checked"]) == ("ok", 2)
    assert report["opened"] == len(list((exported / "entries").iterdir()))
    assert "units" not in report["not_shown"]
