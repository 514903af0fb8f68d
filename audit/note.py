"""Signed notes: a text with one or more signature lines (C2SP signed-note), signed with Ed25519 (RFC 8032).

A note is bytes on the wire: text ending in a newline, an empty line, then lines of em dash, space, key name, space,
base64 of key id (4 bytes) and signature. The text means nothing until `open_note` has found a good signature of a
known key. Every failure raises `HandslagError("HS-CHECKPOINT-INVALID")`; its context key `check` names the step that
refused.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from audit.encoding import decode_base64, encode_base64
from schemas.errors import HandslagError

MAX_NOTE_BYTES = 1_000_000
MAX_SIGNATURES = 100
"""Signature lines in one note. The specification asks for 16 at least; the Go reference stops at 100 too."""

ED25519_TYPE = b"\x01"
"""Signature type identifier of a plain Ed25519 note signature."""

_KEY_ID_BYTES = 4
_PREFIX = "— "


def _refuse(check: str) -> HandslagError:
    return HandslagError("HS-CHECKPOINT-INVALID", check=check)


def _encode(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise _refuse("text") from None


def _is_key_name(name: str) -> bool:
    printable = not any(character.isspace() or character < " " for character in name)
    return bool(name) and printable and "+" not in name


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line: key name, key id (4 bytes), and the signature bytes that follow the id."""

    name: str
    key_id: bytes
    signature: bytes

    def line(self) -> str:
        """Return the line without its newline."""
        return f"{_PREFIX}{self.name} {encode_base64(self.key_id + self.signature)}"


@dataclass(frozen=True, slots=True)
class Note:
    """A parsed note: its text with the final newline, and its signatures in order. Parsed is not verified."""

    text: str
    signatures: tuple[Signature, ...]


@dataclass(frozen=True, slots=True)
class OpenedNote:
    """A note of which at least one known key's signature holds and none fails.

    `verified` has one signature per known key; `unknown` the lines of all other keys, in order.
    """

    text: str
    verified: tuple[Signature, ...]
    unknown: tuple[Signature, ...]


def key_id(name: str, public_key: bytes, signature_type: bytes = ED25519_TYPE) -> bytes:
    """Return the 4-byte key id, SHA-256(name || newline || type byte || public key)[:4]."""
    return sha256(_encode(name) + b"\n" + signature_type + public_key).digest()[:_KEY_ID_BYTES]


@dataclass(frozen=True, slots=True)
class Verifier:
    """A named Ed25519 public key (32 bytes) that may have signed a note."""

    name: str
    public_key: bytes

    def __post_init__(self) -> None:
        if not _is_key_name(self.name) or len(self.public_key) != 32:
            raise _refuse("vkey")

    @classmethod
    def from_vkey(cls, vkey: str) -> "Verifier":
        """Read `name+key id in hex+base64(0x01 || public key)`; raises unless the id is that of the key."""
        # Base64 may hold a plus sign, a name may not: only the first two separate.
        parts = vkey.split("+", 2)
        if len(parts) != 3:
            raise _refuse("vkey")
        material = decode_base64(parts[2])
        if material is None or material[:1] != ED25519_TYPE:
            raise _refuse("vkey")
        verifier = cls(parts[0], material[1:])
        if verifier.vkey() != vkey:
            raise _refuse("vkey")
        return verifier

    @property
    def key_id(self) -> bytes:
        """The 4-byte key id."""
        return key_id(self.name, self.public_key)

    def vkey(self) -> str:
        """Return the text form that `from_vkey` reads."""
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(ED25519_TYPE + self.public_key)}"

    def verify(self, text: str, signature: bytes) -> None:
        """Check the signature (64 bytes) over the note text; raises with `check` = signature."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, _encode(text))
        except (InvalidSignature, UnsupportedAlgorithm, ValueError):
            raise _refuse("signature") from None


class Signer:
    """A named Ed25519 private key, passed in by whoever keeps it."""

    def __init__(self, name: str, private_key: Ed25519PrivateKey) -> None:
        """Bind a key to its name; raises unless the name can stand in a signature line."""
        self.verifier = Verifier(name, private_key.public_key().public_bytes_raw())
        self._private_key = private_key

    def sign(self, text: str) -> Signature:
        """Sign a note text, which ends in a newline."""
        signature = self._private_key.sign(_encode(text))
        return Signature(self.verifier.name, self.verifier.key_id, signature)


def sign_note(text: str, signers: Sequence[Signer], others: Sequence[Signature] = ()) -> bytes:
    """Return a note over the text: the signatures of `others` (kept as they are), then one per signer.

    An older signature of a key that signs now is replaced. Raises if the text or a line is not allowed in a note.
    """
    signing = {(signer.verifier.name, signer.verifier.key_id) for signer in signers}
    kept = tuple(other for other in others if (other.name, other.key_id) not in signing)
    return serialise(Note(text, kept + tuple(signer.sign(text) for signer in signers)))


def serialise(note: Note) -> bytes:
    """Return the bytes of a note; raises unless `parse` would return the same note."""
    # INVARIANT: test_a_note_is_written_as_it_is_read
    lines = "".join(signature.line() + "\n" for signature in note.signatures)
    data = _encode(f"{note.text}\n{lines}")
    if parse(data) != note:
        raise _refuse("text")
    return data


def parse(data: bytes) -> Note:
    """Split a note into text and signatures without checking any signature; raises if it is malformed."""
    if len(data) > MAX_NOTE_BYTES:
        raise _refuse("size")
    try:
        content = data.decode("utf-8")
    except UnicodeDecodeError:
        raise _refuse("text") from None
    if any(character < " " and character != "\n" for character in content):
        raise _refuse("text")
    # The last empty line separates; the text keeps the newline before it.
    text, separator, rest = content.rpartition("\n\n")
    if not separator or not rest.endswith("\n"):
        raise _refuse("format")
    lines = rest[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise _refuse("signature-count")
    return Note(text + "\n", tuple(_parse_line(line) for line in lines))


def _parse_line(line: str) -> Signature:
    name, _, encoded = line.removeprefix(_PREFIX).partition(" ")
    blob = decode_base64(encoded)
    if not line.startswith(_PREFIX) or not _is_key_name(name) or blob is None or len(blob) <= _KEY_ID_BYTES:
        raise _refuse("signature-line")
    return Signature(name, blob[:_KEY_ID_BYTES], blob[_KEY_ID_BYTES:])


def open_note(data: bytes, verifiers: Iterable[Verifier]) -> OpenedNote:
    """Return the text of a note signed by at least one known key.

    Signatures of unknown keys are ignored. *Every* signature under a known name and id must hold, repeated ones too;
    one that fails refuses the whole note. Raises also if no known key signed, or if two different keys share a name
    and an id.
    """
    # INVARIANT: test_a_bad_signature_of_a_known_key_refuses_the_note
    known: dict[tuple[str, bytes], Verifier] = {}
    for verifier in verifiers:
        if known.setdefault((verifier.name, verifier.key_id), verifier) != verifier:
            raise _refuse("ambiguous-key")
    note = parse(data)
    verified: dict[tuple[str, bytes], Signature] = {}
    unknown = []
    for signature in note.signatures:
        key = (signature.name, signature.key_id)
        if key in known:
            known[key].verify(note.text, signature.signature)
            verified.setdefault(key, signature)
        else:
            unknown.append(signature)
    if not verified:
        raise _refuse("no-known-signature")
    return OpenedNote(note.text, tuple(verified.values()), tuple(unknown))
