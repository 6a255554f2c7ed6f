"""A Kafka connection as the settings of its two clients: librdkafka here, the Java client in Spark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from connectors.connection import Connection, variable_name
from connectors.errors import ConfigurationError

TIMEOUT_SECONDS = 10

ALLOWED_EXTRA = (
    "security.protocol",
    "sasl.mechanism",
    "ssl.ca.location",
    "ssl.endpoint.identification.algorithm",
    "client.id",
)
"""What a connection's extra may set: librdkafka's names, each with a twin in the Java client that Spark uses."""

SASL_MODULES = {
    "PLAIN": "org.apache.kafka.common.security.plain.PlainLoginModule",
    "SCRAM-SHA-256": "org.apache.kafka.common.security.scram.ScramLoginModule",
    "SCRAM-SHA-512": "org.apache.kafka.common.security.scram.ScramLoginModule",
}


def librdkafka_settings(connection: Connection) -> dict[str, Any]:
    """The connection as librdkafka's configuration.

    Raises:
        ConfigurationError: no host, or an extra that is not in `ALLOWED_EXTRA`.
    """
    if not connection.host:
        raise ConfigurationError(
            f"connection {connection.id!r} names no broker",
            fix=f"Write {variable_name(connection.id)}=kafka://HOST:PORT",
        )
    unknown = sorted(set(connection.extra) - set(ALLOWED_EXTRA))
    if unknown:
        raise ConfigurationError(
            f"connection {connection.id!r} has an extra {unknown[0]!r} that is not passed on to Kafka",
            choices=ALLOWED_EXTRA,
            fix=f"Remove it from {variable_name(connection.id)}",
        )
    settings: dict[str, Any] = {
        "bootstrap.servers": f"{connection.host}:{connection.port or 9092}",
        "socket.timeout.ms": TIMEOUT_SECONDS * 1000,
        "socket.connection.setup.timeout.ms": 5000,
        # What goes wrong is raised; librdkafka would also write each try to connect to standard error.
        "log_level": 2,
        **connection.extra,
    }
    if connection.login:
        settings |= {"sasl.username": connection.login, "sasl.password": connection.password or ""}
        settings.setdefault("security.protocol", "SASL_SSL")
        settings["sasl.mechanism"] = sasl_mechanism(connection)
    return settings


def portable_settings(connection: Connection) -> dict[str, Any]:
    """`librdkafka_settings` for another machine: the certificate is passed by value."""
    settings = librdkafka_settings(connection)
    if authority := settings.pop("ssl.ca.location", None):
        settings["ssl.ca.pem"] = _authority(connection, authority)
    return settings


def sasl_mechanism(connection: Connection) -> str:
    """`sasl.mechanism` of a connection with a login; `ConfigurationError` where the two clients do not both have it."""
    mechanism = connection.extra.get("sasl.mechanism", "PLAIN").upper()
    if mechanism not in SASL_MODULES:
        raise ConfigurationError(
            f"connection {connection.id!r}: sasl.mechanism {mechanism!r}", choices=sorted(SASL_MODULES)
        )
    return mechanism


def spark_settings(connection: Connection) -> dict[str, str]:
    """The same connection as options of Spark's Kafka source (the Java client's names after `kafka.`).

    The certificate is passed by value: the file need not be on the executors.
    """
    settings = {
        "kafka.bootstrap.servers": f"{connection.host}:{connection.port or 9092}",
        "kafka.isolation.level": "read_committed",
    }
    for name in ("security.protocol", "ssl.endpoint.identification.algorithm", "client.id"):
        if name in connection.extra:
            value = connection.extra[name]
            # librdkafka says "none" where the Java client says nothing.
            settings[f"kafka.{name}"] = "" if name.startswith("ssl.") and value == "none" else value
    if authority := connection.extra.get("ssl.ca.location"):
        settings["kafka.ssl.truststore.certificates"] = _authority(connection, authority)
        settings["kafka.ssl.truststore.type"] = "PEM"
    if connection.login:
        mechanism = sasl_mechanism(connection)
        settings.setdefault("kafka.security.protocol", "SASL_SSL")
        settings["kafka.sasl.mechanism"] = mechanism
        login, password = (_jaas(text) for text in (connection.login, connection.password or ""))
        settings["kafka.sasl.jaas.config"] = f"{SASL_MODULES[mechanism]} required username={login} password={password};"
    return settings


def _authority(connection: Connection, path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"connection {connection.id!r}: ssl.ca.location {path}: {type(error).__name__}",
            fix="Name a PEM file that this machine can read",
        ) from None


def _jaas(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
