"""A TCP proxy that knows how many connections its clients hold open at once, and how many bytes they sent."""

from __future__ import annotations

import socket
from selectors import EVENT_READ, DefaultSelector
from threading import Thread


class CountingProxy:
    """Passes bytes on to a server. `most` is the largest number of clients connected at one time, `sent_bytes` what
    all of them sent."""

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._stop, self._stopped = socket.socketpair()
        self._selector = DefaultSelector()
        self._peers: dict[socket.socket, socket.socket] = {}
        self._clients: set[socket.socket] = set()
        self.port: int = self._listener.getsockname()[1]
        self.most = 0
        self.connections = 0
        self.sent_bytes = 0
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.send(b"x")
        self._thread.join()

    def _run(self) -> None:
        self._selector.register(self._listener, EVENT_READ)
        self._selector.register(self._stopped, EVENT_READ)
        while True:
            ready = [key.fileobj for key, _ in self._selector.select()]
            if self._stopped in ready:
                return
            if self._listener in ready:
                self._accept()
            for one in ready:
                if isinstance(one, socket.socket) and one in self._peers:
                    self._pass_on(one)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        # Who hung up before this one called is gone: all they sent is read before counting.
        for other in list(self._clients):
            while other in self._peers and self._pass_on(other):
                pass
        upstream = socket.create_connection(self._server)
        self._peers |= {client: upstream, upstream: client}
        self._clients.add(client)
        for one in (client, upstream):
            self._selector.register(one, EVENT_READ)
        self.connections += 1
        self.most = max(self.most, len(self._clients))

    def _pass_on(self, one: socket.socket) -> bool:
        """Move what has arrived; False where nothing has."""
        try:
            data = one.recv(65536, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except ConnectionError:
            data = b""
        try:
            if data:
                if one in self._clients:
                    self.sent_bytes += len(data)
                self._peers[one].sendall(data)
                return True
        except ConnectionError:
            pass
        other = self._peers.pop(one)
        self._peers.pop(other)
        for end in (one, other):
            self._clients.discard(end)
            self._selector.unregister(end)
            end.close()
        return False
