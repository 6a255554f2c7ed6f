"""A TCP proxy before a MySQL-speaking server, which does harm to connections and hears every statement."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable

HOST = "127.0.0.1"
_STATEMENTS = (3, 0x16)
"""COM_QUERY and COM_STMT_PREPARE."""


class CuttingProxy:
    """Forwards `port` to the server. `harm` says what is done to a connection that has asked for something
    with `asked` in it and through which more than `after_bytes` came since: to the first `times` of them."""

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._listening = socket.create_server((HOST, 0))
        self.port: int = self._listening.getsockname()[1]
        self.connections = 0
        self.harmed = 0
        self.statements: list[str] = []
        self._lock = threading.Lock()
        self._asked, self._after_bytes, self._times = "", 0, 0
        self._harm: Callable[[Passage], None] = Passage.cut
        self._passages: list[Passage] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def harm(self, what: Callable[[Passage], None], *, asked: str, after_bytes: int, times: int = 1) -> None:
        self._harm, self._asked, self._after_bytes, self._times = what, asked, after_bytes, times

    def reads_of_slices(self) -> Counter[int]:
        """How often the rows (not only their count) of each slice were asked for."""
        named = (re.match(r"SELECT /\* lakeferry \S+ slice (\d+) \*/ ", statement) for statement in self.statements)
        return Counter(int(found[1]) for found in named if found)

    def close(self) -> None:
        # shutdown wakes the thread that accepts; close alone does not.
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for passage in self._passages:
            passage.released.set()
            passage.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            server = socket.socket()
            # Little is buffered here, so that a server is in the middle of a long answer when harm is done.
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32_768)
            try:
                server.connect(self._server)
            except OSError:
                client.close()
                continue
            passage = Passage(client, server)
            self._passages.append(passage)
            threading.Thread(target=self._up, args=(passage,), daemon=True).start()
            threading.Thread(target=self._down, args=(passage,), daemon=True).start()

    def _up(self, passage: Passage) -> None:
        pending = b""
        with contextlib.suppress(OSError):
            while chunk := passage.client.recv(65_536):
                pending += chunk
                while len(pending) >= 4:
                    length, number = int.from_bytes(pending[:3], "little"), pending[3]
                    if len(pending) < 4 + length:
                        break
                    packet, pending = pending[4 : 4 + length], pending[4 + length :]
                    if number == 0 and packet and packet[0] in _STATEMENTS:
                        passage.last_statement = packet[1:].decode("utf-8", "replace")
                        passage.answered_bytes = 0
                        self.statements.append(passage.last_statement)
                passage.server.sendall(chunk)
        passage.cut()

    def _down(self, passage: Passage) -> None:
        harmed = False
        with contextlib.suppress(OSError):
            while chunk := passage.server.recv(16_384):
                if not passage.thread_id:
                    passage.greet(chunk)
                passage.answered_bytes += len(chunk)
                passage.client.sendall(chunk)
                meant = self._asked in passage.last_statement and passage.answered_bytes > self._after_bytes
                with self._lock:
                    now = meant and not harmed and self.harmed < self._times
                    harmed = harmed or now
                    self.harmed += now
                if now:
                    self._harm(passage)
        passage.cut()


class Passage:
    """One connection through the proxy. `thread_id` is what the server calls it."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        self.thread_id = 0
        self.last_statement = ""
        self.answered_bytes = 0
        self.released = threading.Event()

    def greet(self, greeting: bytes) -> None:
        """Read the server's first packet (MySQL's manual, Protocol::HandshakeV10)."""
        end = greeting.index(b"\0", 5)
        [self.thread_id] = struct.unpack("<I", greeting[end + 1 : end + 5])

    def cut(self) -> None:
        """End it on both sides."""
        for side in (self.client, self.server):
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)
            side.close()

    def stall(self) -> None:
        """Keep it open and say nothing more."""
        self.released.wait()
