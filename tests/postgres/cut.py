"""A wire to the server that breaks at a COMMIT: before the server has heard it, or before its answer is heard."""

from __future__ import annotations

import socket
import threading


class CommitCut:
    """Forwards to `port` until `cut` says where the next COMMIT ends: "before" or "after" the server has it."""

    def __init__(self, port: int) -> None:
        self._server = port
        self.cut: str | None = None
        self.cuts = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for each in (self._listening, *self._open):
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _address = self._listening.accept()
                server = socket.create_connection(("127.0.0.1", self._server))
            except OSError:
                return
            self._open += [client, server]
            quiet = threading.Event()
            threading.Thread(target=self._to_server, args=(client, server, quiet), daemon=True).start()
            threading.Thread(target=self._to_client, args=(server, client, quiet), daemon=True).start()

    def _to_server(self, client: socket.socket, server: socket.socket, quiet: threading.Event) -> None:
        try:
            while data := client.recv(65536):
                if self.cut is None or b"COMMIT\x00" not in data:
                    server.sendall(data)
                    continue
                where, self.cut = self.cut, None
                self.cuts += 1
                if where == "after":
                    quiet.set()
                    server.sendall(data)
                    server.settimeout(1)
                    quiet.wait(0.5)
                client.shutdown(socket.SHUT_RDWR)
                server.close()
                return
        except OSError:
            return

    def _to_client(self, server: socket.socket, client: socket.socket, quiet: threading.Event) -> None:
        try:
            while data := server.recv(65536):
                if not quiet.is_set():
                    client.sendall(data)
        except OSError:
            return
