"""Signed notes: the public examples, what a verifier must refuse, and that reading and writing agree."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from audit import note
from schemas.errors import HandslagError

# Key, seed, text and signatures: golang.org/x/mod/sumdb/note, note_test.go.
PETER_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_SKEY = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
ENOCH_VKEY = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
PETER_BASE64 = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
PETER_LINE = f"— PeterNeumann {PETER_BASE64}\n"
ENOCH_LINE = (
    "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n"
)
PETER, ENOCH = note.Verifier.from_vkey(PETER_VKEY), note.Verifier.from_vkey(ENOCH_VKEY)
# Key and note: C2SP signed-note, "Example".
C2SP_VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
C2SP_NOTE = (
    "This is an example message.\n\n— example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)


def refused(check, call, *args):
    with pytest.raises(HandslagError) as caught:
        call(*args)
    assert (caught.value.code, caught.value.context["check"]) == ("HS-CHECKPOINT-INVALID", check)


def peter_signer():
    seed = base64.b64decode(PETER_SKEY.split("+", 4)[4])[1:]
    return note.Signer("PeterNeumann", Ed25519PrivateKey.from_private_bytes(seed))


def line(name, blob):
    return f"— {name} {base64.b64encode(blob).decode()}\n"


def test_the_example_of_the_specification_opens():
    opened = note.open_note(C2SP_NOTE.encode(), [note.Verifier.from_vkey(C2SP_VKEY)])
    assert opened.text == "This is an example message.\n"
    assert [signature.name for signature in opened.verified] == ["example.com/foo"]


def test_the_reference_note_opens_and_is_signed_byte_for_byte():
    expected = f"{TEXT}\n{PETER_LINE}".encode()
    assert note.open_note(expected, [PETER]).text == TEXT
    assert note.sign_note(TEXT, [peter_signer()]) == expected
    assert peter_signer().verifier.vkey() == PETER_VKEY


def test_signatures_of_unknown_keys_are_ignored():
    data = f"{TEXT}\n{PETER_LINE}{ENOCH_LINE}".encode()
    opened = note.open_note(data, [PETER])
    assert [signature.name for signature in opened.verified] == ["PeterNeumann"]
    assert [signature.name for signature in opened.unknown] == ["EnochRoot"]
    assert len(note.open_note(data, [ENOCH, PETER]).verified) == 2
    # The same name with another id, and the same id under another name, are other keys.
    other = line("PeterNeumann", bytes(4) + bytes(64)) + line("Peter", PETER.key_id + bytes(64))
    assert len(note.open_note(f"{TEXT}\n{PETER_LINE}{other}".encode(), [PETER]).unknown) == 2
    refused("no-known-signature", note.open_note, data, [])
    refused("no-known-signature", note.open_note, f"{TEXT}\n{other}".encode(), [PETER])


def test_a_bad_signature_of_a_known_key_refuses_the_note():
    bad = line("EnochRoot", ENOCH.key_id + bytes(64))
    data = f"{TEXT}\n{PETER_LINE}{bad}".encode()
    assert note.open_note(data, [PETER]).verified
    refused("signature", note.open_note, data, [PETER, ENOCH])
    # A good one first does not cover a bad one of the same key.
    again = f"{TEXT}\n{PETER_LINE}{line('PeterNeumann', PETER.key_id + bytes(64))}".encode()
    refused("signature", note.open_note, again, [PETER])
    refused("signature", note.open_note, f"{TEXT}\n{line('PeterNeumann', PETER.key_id + b'x')}".encode(), [PETER])


def test_a_repeated_good_signature_counts_once():
    opened = note.open_note(f"{TEXT}\n{PETER_LINE * 3}".encode(), [PETER, PETER])
    assert len(opened.verified) == 1


def test_two_different_keys_with_one_name_and_id_are_refused():
    class Collision(note.Verifier):
        """Finding real keys that collide takes 2**32 tries; the id is what such a pair would share."""

        key_id = PETER.key_id

    twin = Collision("PeterNeumann", ENOCH.public_key)
    refused("ambiguous-key", note.open_note, f"{TEXT}\n{PETER_LINE}".encode(), [PETER, twin])


def test_malformed_notes_are_refused():
    good = f"{TEXT}\n{PETER_LINE}"
    assert note.parse(good.encode()).text == TEXT
    cases = {
        "format": [TEXT, f"{TEXT}\n", good[:-1], good + "\n", "", PETER_LINE],
        "text": ["\x01" + good, good.replace("\n", "\r\n"), "\t" + good, good + "\x00"],
        "signature-line": [
            good + "Unexpected line.\n",
            f"{TEXT}\n— Bad Name {PETER_BASE64}\n",
            f"{TEXT}\n— Bad+Name {PETER_BASE64}\n",
            f"{TEXT}\n— Bad\u2003Name {PETER_BASE64}\n",
            f"{TEXT}\n—  {PETER_BASE64}\n",
            f"{TEXT}\n- PeterNeumann {PETER_BASE64}\n",
            f"{TEXT}\n— PeterNeumann\n",
            f"{TEXT}\n— PeterNeumann {PETER_BASE64} \n",
            f"{TEXT}\n— PeterNeumann {PETER_BASE64[:-1]}\n",
            f"{TEXT}\n— PeterNeumann x08gow==\n",
            f"{TEXT}\n{PETER_LINE.replace('AM=', 'AN=')}",
        ],
    }
    for check, contents in cases.items():
        for content in contents:
            refused(check, note.parse, content.encode())
    refused("text", note.parse, b"\xff" + good.encode())
    refused("text", note.parse, "\ud800".encode("utf-8", "surrogatepass") + good.encode())


def test_limits_of_size_and_number():
    assert len(note.open_note(f"{TEXT}\n{PETER_LINE}{ENOCH_LINE * 99}".encode(), [PETER]).unknown) == 99
    refused("signature-count", note.parse, f"{TEXT}\n{PETER_LINE * 101}".encode())
    refused("size", note.parse, b"a" * 1_000_001)


def test_a_text_may_hold_empty_lines_and_signature_like_lines():
    text = f"first\n\n{PETER_LINE}\nlast\n"
    assert note.open_note(note.sign_note(text, [peter_signer()]), [PETER]).text == text


def test_signing_again_replaces_and_keeps_the_others():
    parsed = note.parse(f"{TEXT}\n{ENOCH_LINE}{line('PeterNeumann', PETER.key_id + bytes(64))}".encode())
    data = note.sign_note(parsed.text, [peter_signer()], parsed.signatures)
    assert data == f"{TEXT}\n{ENOCH_LINE}{PETER_LINE}".encode()


def test_a_text_that_cannot_be_a_note_is_not_signed():
    signer = peter_signer()
    assert note.sign_note("abc\n", [signer])
    refused("format", note.sign_note, "abc", [signer])
    refused("format", note.sign_note, "", [signer])
    for text in ("a\x00b\n", "a\tb\n", "\ud800\n"):
        refused("text", note.sign_note, text, [signer])
    refused("format", note.sign_note, "abc\n", [])


def test_mangled_verifier_keys_are_refused():
    # The manglings of golang.org/x/mod/sumdb/note, note_test.go TestNewVerifier.
    assert PETER.vkey() == PETER_VKEY
    mangled = {PETER_VKEY[i:j] for i in range(len(PETER_VKEY)) for j in range(i, len(PETER_VKEY) + 1)} - {PETER_VKEY}
    mangled |= {PETER_VKEY[:i] + chr(ord(c) + 1) + PETER_VKEY[i + 1 :] for i, c in enumerate(PETER_VKEY)}
    mangled.add("PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==")
    mangled.add("PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    mangled.add(PETER_VKEY.replace("c74f20a3", "C74F20A3"))
    for vkey in mangled:
        refused("vkey", note.Verifier.from_vkey, vkey)
    refused("vkey", note.Verifier, "Bad Name", PETER.public_key)
    refused("vkey", note.Verifier, "", PETER.public_key)


@given(
    st.binary(max_size=120)
    | st.text(max_size=80).map(lambda text: f"{text}\n\n{PETER_LINE}".encode("utf-8", "replace"))
)
def test_a_note_is_written_as_it_is_read(data):
    try:
        parsed = note.parse(data)
    except HandslagError:
        return
    assert note.serialise(parsed) == data


@given(st.integers(0), st.integers(0, 7))
def test_any_flipped_bit_of_a_note_is_refused(position, bit):
    good = f"{TEXT}\n{PETER_LINE}".encode()
    assert note.open_note(good, [PETER])
    bad = bytearray(good)
    bad[position % len(bad)] ^= 1 << bit
    with pytest.raises(HandslagError):
        note.open_note(bytes(bad), [PETER])
