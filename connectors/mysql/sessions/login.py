"""Logins that keep the password: a server gets an answer only if the answer does not reveal the password to it.

A server names the authentication plugin of a login in its greeting, and may then switch to another (MySQL's source
documentation, "Connection Phase"). PyMySQL by itself answers all plugins it knows. Here the answer depends on the
plugin:

- `mysql_native_password`, `client_ed25519`: the answer is a proof made from the password and the server's random bytes,
  from which a password can only be guessed. Every server gets it.
- `caching_sha2_password`, `sha256_password`: the answer is the password, in clear over TLS, otherwise encrypted with a
  key that the server sends. Only a trusted server gets it (`tls.is_trusted`): its certificate was verified, or it is on
  the loopback interface. `caching_sha2_password` also has a proof, which a server accepts only for an account whose
  password it was sent since its start (MySQL's manual, "Caching SHA-2 Pluggable Authentication"). Such logins would
  fail from the server's next restart on, so servers that are not trusted are refused both plugins altogether.
- `mysql_clear_password`, `dialog`: the answer is the password in clear, with or without TLS. `mysql_old_password`: the
  answer is a proof from which the password can be computed. No server gets these, nor an answer to any plugin that is
  not named above.

PyMySQL before 1.2.1 does the full authentication of the greeting's own plugin without consulting `auth_plugin_map`.
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
"""Plugins whose answer is a proof. PyMySQL needs the package pynacl for `client_ed25519`."""
_SENT: Mapping[str, Callable[[Any, Any], Any]] = {
    "caching_sha2_password": _auth.caching_sha2_password_auth,
    "sha256_password": _auth.sha256_password_auth,
}
"""Plugins whose answer is the password, and PyMySQL's function that makes it."""


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
        """Reads the greeting, before anything is sent."""
        super()._get_server_information()  # type: ignore[misc]
        # Over TLS this plugin sends the password in the first packet, without asking a plugin of the map.
        plugin: str = self._auth_plugin_name  # type: ignore[attr-defined]
        if plugin == "sha256_password" and not is_trusted(self._connection):
            raise _refusal(self._connection, plugin)


class _Plugins:
    """PyMySQL's `auth_plugin_map`: for a plugin's name, the function that makes its answer; None: PyMySQL makes it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, name: bytes | str) -> Callable[[Any], _Answer] | None:
        plugin = name.decode("utf-8", "replace") if isinstance(name, bytes) else name
        # A greeting without a name means `mysql_native_password`.
        return None if plugin in ("", *_PROVED) else partial(_Answer, self._connection, plugin)


class _Answer:
    """An answer to a plugin that wants the password, or is unknown; `raw` is PyMySQL's connection."""

    def __init__(self, connection: Connection, plugin: str, raw: Any) -> None:
        self._connection, self._plugin, self._raw = connection, plugin, raw

    def authenticate(self, packet: Any) -> Any:
        """Answers the server's packet; returns the packet that the server sends next.

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
