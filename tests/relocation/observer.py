"""All that one unit's connector can observe, at its end of the wire: calls and answers with their lengths and headers,
what its agency's system was given, and, so that time need not be measured, what the broker did in its store meanwhile.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from types import SimpleNamespace, TracebackType
from typing import Any

from sqlalchemy import Engine, event

from tests.evil.house import Agency
from tests.relocation.canonical import Names

# The hour of the answer, and a number for the operator's own log.
_OWN = frozenset({"Date", "Handslag-Correlation"})
_WIDTH = 32  # bytes of a hash in a tile
OK = 200


class Observer:
    """Everything, in order, as lines of JSON.

    `work` are the statements in the broker's stores during each call, `posts` the calls as they went, `seconds` how
    long each took; `waits` while a call is under way that waits for news.
    """

    def __init__(self, agency: Agency, engines: Iterable[Engine]) -> None:
        self._agency = agency
        self._names = Names()
        self._files: set[str] = set()
        self._did: list[str] = []
        self._engines = list(engines)
        self.lines: list[str] = []
        self.work: list[str] = []
        self.posts: list[tuple[str, bytes]] = []
        self.seconds: list[tuple[str, float]] = []
        self.waits = False
        for engine in self._engines:
            event.listen(engine, "before_cursor_execute", self._statement)
        link = agency.ctx.link
        link._session = _Watched(link._session, self)  # type: ignore[assignment]
        self._given()
        self.lines.clear()

    def close(self) -> None:
        """Look no more."""
        for engine in self._engines:
            event.remove(engine, "before_cursor_execute", self._statement)

    def step(self, name: str) -> None:
        """A step of the game is over: what its files are now, and how often it was answered."""
        self._given()
        self._line("step", name=name)

    def begin(self) -> None:
        """A call begins."""
        self._did.clear()
        self._began = time.perf_counter()

    def forget(self) -> None:
        """Begin anew: what was seen until now is known, and no value has a name."""
        self._given()
        self._names = Names()
        self.lines.clear()
        self.work.clear()

    def exchange(self, method: str, path: str, sent: bytes | None, answer: Any, body: bytes) -> None:
        """A call was answered."""
        self.seconds.append((path, time.perf_counter() - self._began))
        if sent is not None:
            self.posts.append((path, sent))
        # A path through the tree is as long as the lot makes it, and a proof with it.
        lot = path == "/v1/proofs" and answer.status == OK
        own = _OWN | {"Content-Length"} if lot else _OWN
        self._line(
            "call",
            call=f"{method} {_place(path)}",
            sent=self._names.of(sent or b""),
            sent_bytes=len(sent or b""),
            status=answer.status,
            headers=[(name, "" if name in own else value) for name, value in _raw(answer)],
            bytes=0 if lot else len(body),
            body=self._body(path, answer.headers.get("Content-Type", ""), body),
        )
        # While one waits the others' work is done.
        did = [] if lot or self.waits or "/tile/" in path else list(self._did)
        self.work.append(json.dumps([path.split("/tile/", maxsplit=1)[0], answer.status, did]))

    def tell(self, kind: str, **values: Any) -> None:
        """Something else that the unit can observe."""
        self._line(kind, **values)

    def answers(self, since: int) -> list[str]:
        """What calls since a line were answered, each by status, headers and bytes."""
        calls = [json.loads(line) for line in self.lines[since:]]
        return [json.dumps([c["status"], c["headers"], c["body"]]) for c in calls if c["kind"] == "call"]

    def _body(self, path: str, kind: str, body: bytes) -> Any:
        if "/tile/" in path:
            return {"hashes": len(body) / _WIDTH}
        if kind.startswith("application/vnd"):
            return self._names.of(body)
        return self._names.text(body.decode())

    def _given(self) -> None:
        """What lies in the agency's folders since the last step, oldest first."""
        folder = self._agency.ctx.settings.folder
        found = [p for name in ("out", "receipts") for p in (folder / name).glob("*") if str(p) not in self._files]
        for path in sorted(found, key=lambda p: p.stat().st_mtime_ns):
            self._files.add(str(path))
            text = path.read_text()
            value = json.loads(text) if path.suffix == ".json" else text
            name = self._names.text(f"{path.parent.name}/{path.name}")
            self._line("file", name=name, bytes=len(text), content=self._names.of(value))

    def _line(self, kind: str, **values: Any) -> None:
        self.lines.append(json.dumps({"kind": kind, **values}, ensure_ascii=False))

    def _statement(self, _c: Any, _cursor: Any, statement: str, _p: Any, _context: Any, _many: bool) -> None:
        self._did.append(" ".join(statement.split()))


class _Watched:
    """The connector's session, with somebody who reads along."""

    def __init__(self, session: Any, seen: Observer) -> None:
        self._session = session
        self._seen = seen

    def request(self, method: str, url: str, **options: Any) -> _Exchange:
        return _Exchange(self._session, self._seen, method, url, options)

    async def close(self) -> None:
        await self._session.close()


class _Exchange:
    def __init__(self, session: Any, seen: Observer, method: str, url: str, options: dict[str, Any]) -> None:
        self._open = session.request(method, url, **options)
        self._seen = seen
        self._asked = method, "/" + url.split("/", 3)[3], options.get("data")

    async def __aenter__(self) -> Any:
        self._seen.begin()
        answer = await self._open.__aenter__()
        body = await answer.read()
        method, path, sent = self._asked
        self._seen.exchange(method, path, sent, answer, body)
        return SimpleNamespace(status=answer.status, headers=answer.headers, content=_Read(body))

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:  # fmt: skip
        await self._open.__aexit__(kind, error, trace)


class _Read:
    def __init__(self, body: bytes) -> None:
        self._body = body

    async def iter_chunked(self, _size: int) -> Any:
        yield self._body


def _raw(answer: Any) -> list[tuple[str, str]]:
    return [(name.decode(), value.decode()) for name, value in answer.raw_headers]


def _place(path: str) -> str:
    """Which tile is asked for follows from the lot; that one is, and how wide, is told by the answer."""
    return "/v1/tile/" if "/tile/" in path else path
