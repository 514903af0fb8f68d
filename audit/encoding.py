"""The spellings that C2SP's text formats share: standard base64 and decimal numbers.

Each value has exactly one spelling here. Python's own decoders accept several, and a second spelling of a signed or
stored text would be a second text with the same meaning.
"""

import base64
import binascii

from audit.merkle import HASH_BYTES, MAX_SIZE


def encode_base64(value: bytes) -> str:
    """Return standard base64 with padding (RFC 4648 section 4)."""
    return base64.b64encode(value).decode("ascii")


def decode_base64(text: str) -> bytes | None:
    """Return the bytes of standard base64 with padding, or None unless the text is their only spelling."""
    try:
        value = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return value if encode_base64(value) == text else None


def decode_hash(text: str) -> bytes | None:
    """Return a 32-byte hash from base64, or None."""
    value = decode_base64(text)
    return value if value is not None and len(value) == HASH_BYTES else None


def decode_number(text: str) -> int | None:
    """Return an ASCII decimal 0 .. 2**63-1 without sign or leading zeroes, or None."""
    # The length goes first: converting very long digit strings is slow.
    if not 1 <= len(text) <= 19 or not (text.isascii() and text.isdigit()):
        return None
    value = int(text)
    return value if value <= MAX_SIZE and str(value) == text else None
