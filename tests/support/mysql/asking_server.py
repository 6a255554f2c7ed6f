"""A server that speaks MySQL's handshake and asks for a password by any plugin; it keeps what it is sent, and reads it.

Packets: MySQL's source documentation, "Connection Phase" (`Protocol::HandshakeV10`, `Protocol::AuthSwitchRequest`,
`Protocol::AuthMoreData`); the exchanges are those of its plugins' own pages.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from pymysql.constants import CLIENT, COMMAND

SALT = b"twenty-random-bytes!"
_OK = b"\x00\x00\x00\x02\x00\x00\x00"
_DENIED = b"\xff\x15\x04#28000Access denied"
_SSL_REQUEST_BYTES = 32
_CAPABILITIES = (
    CLIENT.LONG_PASSWORD
    | CLIENT.PROTOCOL_41
    | CLIENT.SECURE_CONNECTION
    | CLIENT.PLUGIN_AUTH
    | CLIENT.PLUGIN_AUTH_LENENC_CLIENT_DATA
    | CLIENT.TRANSACTIONS
)


@dataclass(frozen=True)
class Demand:
    """The plugin of the server's greeting, and the one it switches to, if it does. `cached`: a server that asks by
    `caching_sha2_password` has the account in its cache, and the client's proof is enough for it."""

    greeting: str = "mysql_native_password"
    switch: str | None = None
    cached: bool = False

    @property
    def plugin(self) -> str:
        return self.switch or self.greeting


@dataclass
class _Heard:
    """The bytes that one client sent before and after the server had asked for the password."""

    before: list[bytes] = field(default_factory=list)
    after: list[bytes] = field(default_factory=list)


class AskingServer:
    """Listens at `host`. With a `certificate` (a folder with `server.pem` and `server.key`) it offers TLS. If it
    `admits`, it lets in every client that answers, and then answers everything with OK."""

    def __init__(self, host: str, demand: Demand, *, certificate: Path | None = None, admits: bool = False) -> None:
        self._demand, self._admits = demand, admits
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._tls: ssl.SSLContext | None = None
        if certificate is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(certificate / "server.pem", certificate / "server.key")
        self._heard: list[_Heard] = []
        self._talks: list[threading.Thread] = []
        self._listening = socket.create_server((host, 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def greeted(self) -> int:
        """How many clients have connected."""
        return len(self._talks)

    def heard(self) -> bytes:
        """All packets of all clients, once these are gone."""
        return b"\n".join(packet for talk in self._ended() for packet in (*talk.before, *talk.after))

    def answers(self) -> list[bytes]:
        """What clients sent after the server had asked for the password, once they are gone."""
        return [packet for talk in self._ended() for packet in talk.after]

    def knows(self, password: str) -> bool:
        """Whether somebody sent the password: as it is, or encrypted with the server's key."""
        packets = [packet for talk in self._ended() for packet in (*talk.before, *talk.after)]
        return any(password.encode() in text for packet in packets for text in (packet, self._decrypted(packet)))

    def close(self) -> None:
        # shutdown wakes the thread that accepts; close alone does not.
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _ended(self) -> list[_Heard]:
        for talk in self._talks:
            talk.join(timeout=30)
            assert not talk.is_alive(), "a client has not hung up"
        return self._heard

    def _decrypted(self, packet: bytes) -> bytes:
        """The password of a packet encrypted for the key, which is XORed with the salt."""
        if len(packet) != self._key.key_size // 8:
            return b""
        oaep = padding.OAEP(mgf=padding.MGF1(hashes.SHA1()), algorithm=hashes.SHA1(), label=None)
        text = self._key.decrypt(packet, oaep)
        return bytes(byte ^ SALT[place % len(SALT)] for place, byte in enumerate(text))

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            client.settimeout(30)
            self._heard.append(_Heard())
            self._talks.append(threading.Thread(target=self._talk, args=(client, self._heard[-1]), daemon=True))
            self._talks[-1].start()

    def _talk(self, client: socket.socket, heard: _Heard) -> None:
        # Clients that do not like what they are asked hang up, in the middle of TLS's handshake too.
        with contextlib.suppress(OSError), contextlib.closing(_Packets(client)) as packets:
            packets.send(self._greeting())
            demanded = self._demand.switch is None and self._demand.greeting == "sha256_password"
            login = packets.read(heard.after if demanded else heard.before)
            if self._tls is not None and len(login) == _SSL_REQUEST_BYTES:
                packets.encrypt(self._tls)
                packets.read(heard.after if demanded else heard.before)
            self._ask(packets, heard.after)
            packets.send(_OK if self._admits else _DENIED)
            while self._admits:
                packets.number = 0
                if packets.read([])[:1] == bytes([COMMAND.COM_QUIT]):
                    return
                packets.send(_OK)

    def _greeting(self) -> bytes:
        capabilities = _CAPABILITIES | (CLIENT.SSL if self._tls else 0)
        return b"".join(
            [
                b"\x0a8.0.40\0",
                struct.pack("<I", 7),
                SALT[:8] + b"\0",
                struct.pack("<H", capabilities & 0xFFFF),
                struct.pack("<BHHB", 45, 2, capabilities >> 16, len(SALT) + 1),
                bytes(10),
                SALT[8:] + b"\0",
                self._demand.greeting.encode() + b"\0",
            ]
        )

    def _ask(self, packets: _Packets, answers: list[bytes]) -> None:
        """Ask by the demand's plugin, until the answer is there."""
        plugin, switched = self._demand.plugin, self._demand.switch is not None
        if switched:
            asked = b"\x04Password: " if plugin == "dialog" else SALT + b"\0"
            packets.send(b"\xfe" + plugin.encode() + b"\0" + asked)
            packets.read(answers)
        if plugin == "caching_sha2_password" and self._demand.cached:
            packets.send(b"\x01\x03")
        elif plugin == "caching_sha2_password":
            # Not in the cache: "perform full authentication".
            packets.send(b"\x01\x04")
            packets.read(answers)
        # After a greeting by sha256_password the request is in the login's packet.
        requested = plugin == "sha256_password" and not switched and not packets.encrypted
        if requested or answers[-1:] in ([b"\x01"], [b"\x02"]):
            pem = self._key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            packets.send(b"\x01" + pem)
            packets.read(answers)


class _Packets:
    """MySQL's packets over a socket. `number` is the next one's."""

    def __init__(self, client: socket.socket) -> None:
        self._client = client
        self.number = 0
        self.encrypted = False

    def send(self, payload: bytes) -> None:
        self._client.sendall(struct.pack("<I", len(payload))[:3] + bytes([self.number]) + payload)
        self.number = (self.number + 1) % 256

    def read(self, into: list[bytes]) -> bytes:
        """The next packet, which is added to `into`."""
        header = self._bytes(4)
        payload = self._bytes(int.from_bytes(header[:3], "little"))
        self.number = (header[3] + 1) % 256
        into.append(payload)
        return payload

    def encrypt(self, context: ssl.SSLContext) -> None:
        self._client = context.wrap_socket(self._client, server_side=True)
        self.encrypted = True

    def close(self) -> None:
        self._client.close()

    def _bytes(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            more = self._client.recv(count - len(found))
            if not more:
                raise ConnectionError("the client hung up")
            found += more
        return found
