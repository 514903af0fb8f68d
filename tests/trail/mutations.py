"""Every change that the tamper matrix makes to a copied trail, and the check that must name it."""

import shutil
import sqlite3
from hashlib import sha256

from audit.beat import lay_out
from audit.checkpoint import Checkpoint, sign_checkpoint
from audit.entry import Draft, seal
from audit.merkle import root
from audit.tiles import tiles_of
from audit.vault import SeatKeys
from schemas.trail import AuditEntry, Payload
from tests.trail.builder import LOG, ORIGIN, signer

EMPTY = Payload(sections=(), affected=())


class Copy:
    """A copy of a trail that somebody with the file changes; the Store's triggers do not stop such a person."""

    def __init__(self, builder, path):
        shutil.copy(builder.path, path)
        self.path, self.builder, self.random = path, builder, builder.random
        self.db = sqlite3.connect(path, isolation_level=None)
        for (name,) in self.all("select name from sqlite_master where type='trigger'"):
            self.db.execute(f"drop trigger {name}")

    def all(self, query, *parameters):
        return self.db.execute(query, parameters).fetchall()

    def one(self, query, *parameters):
        return self.all(query, *parameters)[0]

    def sealed(self):
        """(number, entry_id, leaf index) of a random entry that is in the tree and not a beat's."""
        return self.random.choice(
            self.all(
                "select e.number, e.entry_id, l.idx from entry e join leaf l on l.entry_number = e.number"
                " where e.operation = 'ACK'"
            )
        )

    def flip(self, data):
        at = self.random.randrange(len(data) * 8)
        out = bytearray(data)
        out[at // 8] ^= 1 << at % 8
        return bytes(out)

    def rebuild(self):
        """Tiles and head as the rows now say: what a careful forger without the log's key can do."""
        beats = self.all("select first, size, seed from beat order by first")
        hashes = []
        for first, size, seed in beats:
            rows = self.all(
                "select l.idx, e.leaf_hash from leaf l left join entry e on e.number = l.entry_number"
                " where l.idx >= ? and l.idx < ? order by l.idx", first, first + size,
            )  # fmt: skip
            entries = [leaf for _, leaf in rows if leaf is not None]
            laid = {leaf.hash for leaf in lay_out(seed=seed, first=first, entries=entries)}
            fillers = dict(enumerate(lay_out(seed=seed, first=first, entries=entries), first))
            hashes += [leaf if leaf in laid else fillers[index].hash for index, leaf in rows]
        self.db.execute("delete from tile")
        cut = tiles_of(hashes)
        self.db.executemany(
            "insert into tile values (?,?,?,?)", [(tile.level, tile.n, tile.width, tile.hashes) for tile in cut]
        )

        self.db.execute("update head set size=?, root=?", (len(hashes), root(hashes)))


def entry_bit(copy):
    number, _, _ = copy.sealed()
    (data,) = copy.one("select bytes from entry where number=?", number)
    copy.db.execute("update entry set bytes=? where number=?", (copy.flip(data), number))
    return number


def entry_and_its_hash(copy):
    number, _, _ = copy.sealed()
    (data,) = copy.one("select bytes from entry where number=?", number)
    said = AuditEntry.from_bytes(data)
    later = AuditEntry(**{name: getattr(said, name) for name in said.__slots__} | {"at_us": said.at_us + 1}).to_bytes()
    leaf = sha256(b"\x00" + later).digest()
    copy.db.execute("update entry set bytes=?, leaf_hash=?, at_us=at_us+1 where number=?", (later, leaf, number))
    return number


def entry_hash_tiles_and_head(copy):
    number = entry_and_its_hash(copy)
    copy.rebuild()
    return None if number is None else ()


def leaf_hash_bit(copy):
    number, _, _ = copy.sealed()
    (leaf,) = copy.one("select leaf_hash from entry where number=?", number)
    copy.db.execute("update entry set leaf_hash=? where number=?", (copy.flip(leaf), number))
    return number


def column(copy):
    number, _, _ = copy.sealed()
    copy.db.execute("update entry set owner='POL' where number=?", (number,))
    return number


def entry_bytes_gone(copy):
    number, _, _ = copy.sealed()
    copy.db.execute("update entry set bytes=null where number=?", (number,))
    return number


def entry_deleted(copy):
    number, entry_id, _ = copy.sealed()
    copy.db.execute("delete from entry where number=?", (number,))
    copy.db.execute("delete from payload where entry_id=?", (entry_id,))
    return number


def entry_and_leaf_deleted(copy):
    _, _, index = number, entry_id, _ = copy.sealed()
    copy.db.execute("delete from entry where number=?", (number,))
    copy.db.execute("delete from payload where entry_id=?", (entry_id,))
    copy.db.execute("delete from leaf where idx=?", (index,))


def entry_made_a_filler(copy):
    number, entry_id, index = copy.sealed()
    copy.db.execute("delete from entry where number=?", (number,))
    copy.db.execute("delete from payload where entry_id=?", (entry_id,))
    copy.db.execute("update leaf set entry_number=null where idx=?", (index,))


def forged(copy, at_us):
    draft = Draft(operation="REFUSAL", owner="SOC/1281", payload=EMPTY)
    return seal(
        draft, entry_id=copy.random.randbytes(16), salt=copy.random.randbytes(16), at_us=at_us,
        keys=SeatKeys(copy.random.randbytes(32)), segment=2026, random_handle=copy.random.randbytes(16),
    )  # fmt: skip


def insert(copy, sealed):
    number = copy.db.execute(
        "insert into entry (entry_id, owner, handle, at_us, operation, bytes, leaf_hash) values (?,?,?,?,?,?,?)",
        (sealed.entry_id, sealed.owner, sealed.handle, sealed.at_us, sealed.operation, sealed.entry_bytes,
         sealed.leaf_hash),
    ).lastrowid  # fmt: skip
    copy.db.execute("insert into payload values (?,?)", (sealed.entry_id, sealed.payload))
    return number


def inserted_in_place_of_a_filler(copy):
    number = insert(copy, forged(copy, copy.builder.at_us - 1))
    (index,) = copy.random.choice(copy.all("select idx from leaf where entry_number is null"))
    copy.db.execute("update leaf set entry_number=? where idx=?", (number, index))


def backdated_without_a_leaf(copy):
    return insert(copy, forged(copy, copy.builder.at_us - 3_600_000_000))


def two_entries_swapped(copy):
    (one, _, a), (other, _, b) = copy.sealed(), copy.sealed()
    while one == other:
        other, _, b = copy.sealed()
    copy.db.execute("update leaf set entry_number=-1 where idx=?", (a,))
    copy.db.execute("update leaf set entry_number=? where idx=?", (one, b))
    copy.db.execute("update leaf set entry_number=? where idx=?", (other, a))


def entry_in_two_leaves(copy):
    number, _, _ = copy.sealed()
    (index,) = copy.random.choice(copy.all("select idx from leaf where entry_number is null"))
    copy.db.execute("alter table leaf rename to old")
    copy.db.execute("create table leaf as select * from old")
    copy.db.execute("update leaf set entry_number=? where idx=?", (number, index))


def payload_bit(copy):
    number, entry_id, _ = copy.sealed()
    (blob,) = copy.one("select blob from payload where entry_id=?", entry_id)
    copy.db.execute("update payload set blob=? where entry_id=?", (copy.flip(blob), entry_id))
    return number


def payload_gone(copy):
    number, entry_id, _ = copy.sealed()
    copy.db.execute("delete from payload where entry_id=?", (entry_id,))
    return number


def payloads_swapped(copy):
    (one, a, _), (other, b, _) = copy.sealed(), copy.sealed()
    while one == other:
        other, b, _ = copy.sealed()
    ((x,), (y,)) = (copy.one("select blob from payload where entry_id=?", id_) for id_ in (a, b))
    copy.db.execute("update payload set blob=? where entry_id=?", (y, a))
    copy.db.execute("update payload set blob=? where entry_id=?", (x, b))
    return min(one, other)


def payload_added(copy):
    copy.db.execute("insert into payload values (?,?)", (copy.random.randbytes(16), b"x"))


def tile_bit(copy):
    level, n, width, hashes = copy.random.choice(copy.all("select * from tile"))
    copy.db.execute("update tile set hashes=? where level=? and n=? and width=?", (copy.flip(hashes), level, n, width))


def tile_gone(copy):
    copy.db.execute("delete from tile where rowid = (select max(rowid) from tile)")


def tile_added(copy):
    copy.db.execute("insert into tile values (0, 99, 1, ?)", (bytes(32),))


def head_root(copy):
    copy.db.execute("update head set root=?", (bytes(32),))


def head_rolled_back(copy):
    (size,) = copy.random.choice(copy.all("select size from checkpoint where size < (select size from head)"))
    copy.db.execute("update head set size=?", (size,))


def head_gone(copy):
    copy.db.execute("delete from head")


def cut_off(copy):
    """The last beats vanish with everything of theirs, except the signed notes."""
    keep = copy.random.choice(copy.all("select first, entry_id from beat"))[0]
    copy.db.execute("delete from payload where entry_id in (select entry_id from entry e join leaf l on"
                    " l.entry_number=e.number where idx >= ?)", (keep,))  # fmt: skip
    copy.db.execute("delete from entry where number in (select entry_number from leaf where idx >= ?)", (keep,))
    copy.db.execute("delete from leaf where idx >= ?", (keep,))
    copy.db.execute("delete from beat where first >= ?", (keep,))
    copy.rebuild()


def checkpoint_forked(copy):
    """The log's own key signed another tree of the same size."""
    (size,) = copy.random.choice(copy.all("select size from checkpoint"))
    note = sign_checkpoint(Checkpoint(ORIGIN, size, copy.random.randbytes(32)), [LOG]).decode()
    copy.db.execute("update checkpoint set note=? where size=?", (note, size))


def note_of_a_stranger(copy):
    size, note = copy.random.choice(copy.all("select size, note from checkpoint"))
    stranger = signer("someone.exempel.se", b"other")
    text = note.split("\n\n")[0] + "\n"
    copy.db.execute("update checkpoint set note=? where size=?",
                    (sign_checkpoint(Checkpoint.from_body(text), [stranger]).decode(), size))  # fmt: skip


def note_by_another_key_of_the_same_name(copy):
    size, note = copy.random.choice(copy.all("select size, note from checkpoint"))
    text = note.split("\n\n")[0] + "\n"
    forger = signer(ORIGIN, b"other")
    copy.db.execute("update checkpoint set note=? where size=?",
                    (sign_checkpoint(Checkpoint.from_body(text), [forger]).decode(), size))  # fmt: skip


def note_of_another_log(copy):
    size, note = copy.random.choice(copy.all("select size, note from checkpoint"))
    here = Checkpoint.from_body(note.split("\n\n")[0] + "\n")
    there = Checkpoint("other.exempel.se/audit", here.size, here.root)
    copy.db.execute("update checkpoint set note=? where size=?", (sign_checkpoint(there, [LOG]).decode(), size))


def note_changed(copy):
    size, note = copy.random.choice(copy.all("select size, note from checkpoint"))
    copy.db.execute("update checkpoint set note=? where size=?", (copy.flip(note.encode()), size))


def note_stripped(copy):
    size, note = copy.random.choice(copy.all("select size, note from checkpoint"))
    copy.db.execute("update checkpoint set note=? where size=?", (note.split("\n\n")[0] + "\n\n", size))


def note_under_another_size(copy):
    copy.db.execute("update checkpoint set size=size+1 where size=(select max(size) from checkpoint)")


def notes_removed(copy):
    copy.db.execute("delete from checkpoint where size > (select min(size) from checkpoint)")


def beat_seed(copy):
    (first,) = copy.random.choice(copy.all("select first from beat"))
    copy.db.execute("update beat set seed=? where first=?", (copy.random.randbytes(32), first))


def beat_count(copy):
    (first,) = copy.random.choice(copy.all("select first from beat"))
    copy.db.execute("update beat set count=count+1 where first=?", (first,))


def beat_row_gone(copy):
    copy.db.execute("delete from beat where first=(select first from beat order by first limit 1 offset 3)")


def beat_names_another_entry(copy):
    _, entry_id, _ = copy.sealed()
    copy.db.execute("update beat set entry_id=? where first=0", (entry_id,))


def filler_changed(copy):
    """A filler's hash in the tile and everything above it."""
    n, hashes = copy.one("select n, hashes from tile where level=0 order by n, width desc limit 1")
    (index,) = copy.random.choice(copy.all("select idx from leaf where entry_number is null and idx < 256"))
    data = bytearray(hashes)
    data[index * 32] ^= 1
    copy.db.execute("update tile set hashes=? where level=0 and n=? and width=?", (bytes(data), n, len(data) // 32))


def wrong_schema(copy):
    number, _, _ = copy.sealed()
    (data,) = copy.one("select bytes from entry where number=?", number)
    other = data[:2] + bytes(8) + data[10:]
    copy.db.execute("update entry set bytes=?, leaf_hash=? where number=?",
                    (other, sha256(b"\x00" + other).digest(), number))  # fmt: skip
    return number


def too_large(copy):
    number, _, _ = copy.sealed()
    copy.db.execute("update entry set bytes=zeroblob(65536) where number=?", (number,))
    return number


def text_where_bytes_belong(copy):
    number, _, _ = copy.sealed()
    copy.db.execute("update entry set bytes='x', leaf_hash='y' where number=?", (number,))
    return number


MATRIX = {
    entry_bit: "leaf-hash",
    entry_and_its_hash: "tile",
    entry_hash_tiles_and_head: "consistency",
    leaf_hash_bit: "leaf-hash",
    column: "columns",
    entry_bytes_gone: "hole",
    entry_deleted: "hole",
    entry_and_leaf_deleted: "leaf-map",
    entry_made_a_filler: "beat",
    inserted_in_place_of_a_filler: "beat",
    backdated_without_a_leaf: "unsealed",
    two_entries_swapped: "tile",
    entry_in_two_leaves: "leaf-map",
    payload_bit: "payload",
    payload_gone: "hole",
    payloads_swapped: "payload",
    payload_added: "payload",
    tile_bit: "tile",
    tile_gone: "tile",
    tile_added: "tile",
    head_root: "root",
    head_rolled_back: "root",
    head_gone: "root",
    cut_off: "truncated",
    checkpoint_forked: "consistency",
    note_of_a_stranger: "note",
    note_by_another_key_of_the_same_name: "note",
    note_of_another_log: "note",
    note_changed: "note",
    note_stripped: "note",
    note_under_another_size: "note",
    notes_removed: "unsigned",
    beat_seed: ("tile", "beat"),
    beat_count: "beat",
    beat_row_gone: "beat",
    beat_names_another_entry: "beat-record",
    filler_changed: "tile",
    wrong_schema: "schema",
    too_large: "schema",
    text_where_bytes_belong: "hole",
}
