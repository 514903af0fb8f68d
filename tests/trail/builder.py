"""A small trail in a real SQLite file, made with the pure rooms and the Store's own tables."""

import random
import sqlite3
from hashlib import sha256

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.beat import lay_out
from audit.checkpoint import Checkpoint, sign_checkpoint
from audit.entry import OPERATOR, Draft, seal
from audit.note import Signer
from audit.tiles import grow
from audit.trailfile import TrailFile
from audit.vault import SeatKeys
from audit.verify import verify
from broker.store import tables
from schemas.identifiers import uuid7
from schemas.trail import Beat, Payload

ORIGIN = "broker.exempel.se/audit"
START_US = 1_790_000_000_000_000
BEAT_US = 10_000_000
TRAIL = [tables.entry, tables.payload, tables.leaf, tables.tile, tables.head, tables.checkpoint, tables.beat]


def signer(name=ORIGIN, seed=b"log"):
    return Signer(name, Ed25519PrivateKey.from_private_bytes(sha256(seed).digest()))


LOG = signer()


class Builder:
    """Writes entries and beats as the broker does; `random_` makes every run repeatable."""

    def __init__(self, path, seed=0, *, fast=False):
        self.random = random.Random(seed)
        engine = sa.create_engine(f"sqlite:///{path}")
        tables.metadata.create_all(engine, tables=TRAIL)
        engine.dispose()
        self.path = path
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute(f"pragma synchronous={'off' if fast else 'normal'}")
        self.db.execute("begin")
        for guard in tables.GUARDS_SQLITE:
            self.db.execute(guard)
        self.at_us = START_US
        self.keys = {}
        self.entry_keys = {}
        self.waiting = []
        self.size = 0
        self.tiles = {}
        self.notes = []
        self.operator = SeatKeys(self.random.randbytes(32))

    def seat(self, seat_id):
        return self.keys.setdefault(seat_id, SeatKeys(self.random.randbytes(32)))

    def write(self, draft, at_us=None):
        """Store one entry; returns it with its number."""
        about_seat = draft.seat_id is not None
        keys = self.seat(draft.seat_id) if about_seat else self.operator
        at = self.at_us if at_us is None else at_us
        sealed = seal(
            draft,
            entry_id=uuid7(at, self.random.randbytes(10)),
            salt=self.random.randbytes(16),
            at_us=at,
            keys=keys,
            segment=2026,
            random_handle=None if about_seat else self.random.randbytes(16),
        )
        self.entry_keys[sealed.entry_id] = keys.dek(sealed.entry_id)
        return self.store(sealed)

    def store(self, sealed):
        number = self.db.execute(
            "insert into entry (entry_id, owner, handle, at_us, operation, outcome, reason_class, bytes, leaf_hash)"
            " values (?,?,?,?,?,?,?,?,?)",
            (sealed.entry_id, sealed.owner, sealed.handle, sealed.at_us, sealed.operation, sealed.outcome,
             sealed.reason_class, sealed.entry_bytes, sealed.leaf_hash),
        ).lastrowid  # fmt: skip
        self.db.execute("insert into payload values (?,?)", (sealed.entry_id, sealed.payload))
        self.waiting.append((number, sealed.leaf_hash))
        return number

    def beat(self, *, sign=True):
        """Seal what waits; write tiles, head, beat row, its entry and the signed checkpoint."""
        self.at_us += BEAT_US
        seed = self.random.randbytes(32)
        first = self.size
        laid = lay_out(seed=seed, first=first, entries=[leaf for _, leaf in self.waiting])
        self.db.executemany(
            "insert into leaf values (?,?)",
            [(first + at, None if leaf.entry is None else self.waiting[leaf.entry][0]) for at, leaf in enumerate(laid)],
        )
        grown = grow(first, [leaf.hash for leaf in laid], lambda level, n, width: self.tiles[level, n][: width * 32])
        for tile in grown.tiles:
            self.tiles[tile.level, tile.n] = tile.hashes
            row = (tile.level, tile.n, tile.width, tile.hashes)
            self.db.execute("insert or replace into tile values (?,?,?,?)", row)
        count, self.waiting, self.size = len(self.waiting), [], grown.size
        self.db.execute("insert or replace into head values (1,?,?)", (grown.size, grown.root))
        record = Beat(first=first, size=len(laid), count=count, seed=seed)
        number = self.write(Draft(operation="BEAT", owner=OPERATOR, payload=record))
        (entry_id,) = self.db.execute("select entry_id from entry where number=?", (number,)).fetchone()
        self.db.execute("insert into beat values (?,?,?,?,?)", (first, len(laid), count, seed, entry_id))
        if sign:
            note = sign_checkpoint(Checkpoint(ORIGIN, grown.size, grown.root), [LOG])
            self.notes.append(note)
            self.db.execute("insert into checkpoint values (?,?,?)", (grown.size, note.decode(), self.at_us))

    def done(self):
        self.db.execute("commit")
        self.db.close()
        return self.path


def plain(builder):
    """An entry of little content, as of an acknowledgement."""
    seat = builder.random.choice([bytes([number]) * 16 for number in range(1, 6)])
    owner = f"SOC/{1280 + seat[0]}"
    payload = Payload(seat_id=seat, delivery_id=builder.random.randbytes(16), sections=(), affected=())
    return builder.write(Draft(operation="ACK", owner=owner, payload=payload, seat_id=seat))


def random_trail(path, seed, beats=8, most=40):
    """Beats of a random number of entries, some idle; the last entries wait for the next beat."""
    builder = Builder(path, seed)
    for _ in range(beats):
        for _ in range(builder.random.choice([0, 1, builder.random.randrange(most)])):
            plain(builder)
        builder.beat()
    plain(builder)
    builder.done()
    return builder


def checked(path, **options):
    with TrailFile(path) as trail:
        return verify(trail, origin=ORIGIN, log_keys=[LOG.verifier], **options)
