"""The operator's files of a node, and the same files in the Store that all nodes share.

Commands write files in the folder of their own node: admissions, acts, police regions, signatures under the trust
list. The node carries what changed there into the table `shared_file` before it acts on it, and what another node
changed into its own folder. A file is never deleted. Which version of each lies here stands in `shared.json`; where two
nodes changed one file, the Store's stands, and an act that lost is refused: whoever signed it draws it up anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from broker import actfiles, admissions, regions, trustdesk
from broker.keyfiles import write_atomic
from broker.store.port import Rows, Store
from broker.store.shared import FileMoved
from schemas.errors import HandslagError

MANIFEST = "shared.json"
_TRIES = 8
_PATTERNS = (f"{actfiles.FOLDER}/*.act", f"{admissions.FOLDER}/*.json", f"{admissions.FOLDER}/{regions.FILE}",
             trustdesk.FILE)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Seen:
    """What lay here when folder and Store were last compared: version in the Store, SHA-256 of the content."""

    version: int
    digest: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Names of files to carry into the Store, and out of it."""

    push: tuple[str, ...]
    pull: tuple[str, ...]


def plan(here: Mapping[str, str], seen: Mapping[str, Seen], there: Mapping[str, int]) -> Plan:
    """What to carry where; `here` are digests by name, `there` versions. Changed on both sides, the Store's stands."""
    push, pull = [], []
    for name in sorted(here.keys() | there.keys()):
        before = seen.get(name)
        if name not in there:
            push.append(name)
        elif name not in here or before is None or before.version != there[name]:
            pull.append(name)
        elif before.digest != here[name]:
            push.append(name)
    return Plan(tuple(push), tuple(pull))


class SharedFiles:
    """The files of one node's folder; used from one event loop."""

    def __init__(self, data_dir: Path, store: Store) -> None:
        self._data_dir = data_dir
        self._store = store
        self._turn = asyncio.Lock()
        self._looked: frozenset[tuple[str, int, int]] = frozenset()

    async def sync(self) -> None:
        """Carry what changed here into the Store and what changed there into the folder.

        Raises `HS-ADMIN-ACT-INVALID` (`check` = number) when an act that was kept here is another one there, and what
        the Store raises; the folder is the Store's all the same.
        """
        async with self._turn:
            looked = await asyncio.to_thread(self._marks)
            for _ in range(_TRIES):
                here = await asyncio.to_thread(self._read)
                try:
                    lost = await self._carried(here)
                except FileMoved:  # another node was faster: look again
                    continue
                self._looked = looked
                if any(name.startswith(f"{actfiles.FOLDER}/") for name in lost):
                    raise HandslagError("HS-ADMIN-ACT-INVALID", check="number")
                return
        raise HandslagError("HS-NOT-RECORDED")

    async def look(self) -> None:
        """`sync`, when a file of the folder was changed since the last time."""
        if await asyncio.to_thread(self._marks) != self._looked:
            await self.sync()

    async def _carried(self, here: Mapping[str, bytes]) -> list[str]:
        """One pass; returns the names of files that were changed here and lost. Raises FileMoved."""
        seen = await asyncio.to_thread(self._manifest)
        digests = {name: sha256(content).hexdigest() for name, content in here.items()}
        todo = plan(digests, seen, await self._store.read(lambda rows: rows.shared.versions()))
        if todo.push:
            seen |= await self._store.write(lambda rows: _pushed(rows, todo.push, here, digests, seen))
        found = await self._store.read(lambda rows: rows.shared.files(todo.pull)) if todo.pull else {}
        lost = []
        for name, (version, content) in found.items():
            if name in here and here[name] != content:
                before = seen.get(name)
                if before is None or before.digest != digests[name]:
                    lost.append(name)
            if here.get(name) != content:
                await asyncio.to_thread(self._keep, name, content)
            seen[name] = Seen(version, sha256(content).hexdigest())
        if todo.push or found:
            await asyncio.to_thread(self._write_manifest, seen)
        return lost

    # --- the folder; each blocks on the disk

    def _paths(self) -> list[Path]:
        return [path for pattern in _PATTERNS for path in sorted(self._data_dir.glob(pattern))]

    def _marks(self) -> frozenset[tuple[str, int, int]]:
        marks = set()
        for path in self._paths():
            with contextlib.suppress(FileNotFoundError):  # it gets its name, or another, at this moment
                status = path.stat()
                marks.add((path.name, status.st_mtime_ns, status.st_size))
        return frozenset(marks)

    def _read(self) -> dict[str, bytes]:
        return {path.relative_to(self._data_dir).as_posix(): path.read_bytes() for path in self._paths()}

    def _keep(self, name: str, content: bytes) -> None:
        path = self._data_dir / name
        # INVARIANT: test_a_file_of_the_store_lands_nowhere_but_in_its_place
        if not any(Path(name).match(pattern) for pattern in _PATTERNS) or ".." in name or name.startswith("/"):
            raise HandslagError("HS-SETTINGS-INVALID", field="shared_file")
        path.parent.mkdir(mode=0o700, exist_ok=True)
        write_atomic(path, content)

    def _manifest(self) -> dict[str, Seen]:
        """What was compared last; a manifest that cannot be read is none: the Store's files stand then."""
        try:
            kept = json.loads((self._data_dir / MANIFEST).read_bytes())
            return {str(name): Seen(int(one[0]), str(one[1])) for name, one in kept.items()}
        except (OSError, ValueError, TypeError, AttributeError, IndexError, KeyError):
            return {}

    def _write_manifest(self, seen: Mapping[str, Seen]) -> None:
        text = json.dumps({name: [one.version, one.digest] for name, one in sorted(seen.items())}, indent=0)
        write_atomic(self._data_dir / MANIFEST, text.encode())


def _pushed(
    rows: Rows, names: tuple[str, ...], here: Mapping[str, bytes], digests: Mapping[str, str], seen: Mapping[str, Seen]
) -> dict[str, Seen]:
    """The transaction that keeps what changed here; raises FileMoved."""
    done = {}
    for name in names:
        before = seen.get(name)
        version = rows.shared.put_file(name, here[name], before.version if before else 0)
        done[name] = Seen(version, digests[name])
    return done
