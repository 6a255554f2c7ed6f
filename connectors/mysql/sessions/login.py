"""Logins that keep the password: a server is answered only where the answer does not give it away.

A server names the authentication plugin of a login in its greeting, and may then switch to another (MySQL's source
documentation, "Connection Phase"). PyMySQL by itself answers all it knows:

- `mysql_native_password`, `client_ed25519`: with a proof made of the password and the server's random bytes, from
  which a password can only be guessed. Here: to every server.
- `caching_sha2_password`, `sha256_password`: with the password, as it is over TLS, else encrypted by a key that the
  server sends. Here: to a server that is trusted (`tls.is_trusted`): its certificate was verified, or it is on the
  loopback interface. `caching_sha2_password` has a proof as well, which a server takes only of an account whose
  password it was sent since its start (MySQL's manual, "Caching SHA-2 Pluggable Authentication"). A login by it would
  end with the server's next restart, so elsewhere both are refused as a whole.
- `mysql_clear_password`, `dialog`: with the password as it is, over TLS or not; `mysql_old_password`: with a proof that
  the password can be computed from. Here: to no server, nor any plugin not named above.

PyMySQL before 1.2.1 gives full authentication by the greeting's own plugin without a look into `auth_plugin_map`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from typing import Any

import pymysql
from pymysql import _auth

from connectors.connection import Connection, variable_name
from connectors.errors import ConfigurationError
from connectors.mysql.sessions.tls import BUNDLE_OF_AURORA, is_trusted, ssl_mode

_PROVED = ["mysql_native_password", *(["client_ed25519"] if find_spec("nacl") else [])]
"""Plugins whose answer is a proof. PyMySQL has that of `client_ed25519` from the package pynacl."""
_SENT: Mapping[str, Callable[[Any, Any], Any]] = {
    "caching_sha2_password": _auth.caching_sha2_password_auth,
    "sha256_password": _auth.sha256_password_auth,
}
"""Plugins whose answer is the password, and PyMySQL's function that gives it."""


class GuardedConnection(pymysql.connections.Connection):
    """A PyMySQL connection that logs in as `connection` allows; further arguments are PyMySQL's.

    Raises:
        ConfigurationError: the server asks for an answer that would give it the password.
        pymysql.MySQLError: as PyMySQL raises it.
    """

    def __init__(self, connection: Connection, **arguments: Any) -> None:
        self._connection = connection
        plugins: Any = _Plugins(connection)
        super().__init__(auth_plugin_map=plugins, **arguments)

    def _get_server_information(self) -> None:
        """Read the greeting, before anything is sent."""
        super()._get_server_information()  # type: ignore[misc]
        # Over TLS this plugin's password is in the first packet, for which no plugin of the map is asked.
        plugin: str = self._auth_plugin_name  # type: ignore[attr-defined]
        if plugin == "sha256_password" and not is_trusted(self._connection):
            raise _refusal(self._connection, plugin)


class _Plugins:
    """What PyMySQL asks for as its `auth_plugin_map`: by a plugin's name, how its answer is made; None: by PyMySQL."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, name: bytes | str) -> Callable[[Any], _Answer] | None:
        plugin = name.decode("utf-8", "replace") if isinstance(name, bytes) else name
        # A greeting without a name is one of `mysql_native_password`.
        return None if plugin in ("", *_PROVED) else partial(_Answer, self._connection, plugin)


class _Answer:
    """An answer to a plugin that wants the password, or is unknown; `raw` is PyMySQL's connection."""

    def __init__(self, connection: Connection, plugin: str, raw: Any) -> None:
        self._connection, self._plugin, self._raw = connection, plugin, raw

    def authenticate(self, packet: Any) -> Any:
        """Answer the server's packet; the packet it sends then.

        Raises:
            ConfigurationError: the server is not trusted with the password.
        """
        if self._plugin not in _SENT or not is_trusted(self._connection):
            raise _refusal(self._connection, self._plugin)
        return _SENT[self._plugin](self._raw, packet)


def _refusal(connection: Connection, plugin: str) -> ConfigurationError:
    server, variable = f"{connection.id} ({connection.address})", variable_name(connection.id)
    if plugin in _SENT:
        return ConfigurationError(
            f"{server} asks for the password of {connection.login!r} itself ({plugin}), and ssl_mode "
            f"{ssl_mode(connection)} does not prove which server that is",
            fix=f"Set ssl_mode=verify_identity in {variable}, and ssl_ca where no public authority has signed the "
            f"server's certificate ({BUNDLE_OF_AURORA})",
        )
    return ConfigurationError(
        f"{server} asks for a login by {plugin[:64]!r}, which would reveal the password of {connection.login!r} or is "
        "not supported",
        choices=[*_PROVED, *_SENT],
        fix=f"Check host and port in {variable}, and have the account log in by one of these",
    )
