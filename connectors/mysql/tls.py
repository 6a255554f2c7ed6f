"""TLS of a connection, wherever it is opened, and one account of what is wrong with it.

`ssl_mode` in the connection's extras takes MySQL's own words (manual, `--ssl-mode`): `disabled`,
`required` (encrypted, whoever answers), `verify_ca` and `verify_identity`, the last two with `ssl_ca`:
a PEM file, or the PEM text itself, which needs no file on the machines a job runs on. Where nothing is
said it is `verify_identity` with an `ssl_ca`, else `required`, and `disabled` on the loopback interface.
"""

from __future__ import annotations

import re
import ssl
from dataclasses import replace
from pathlib import Path
from typing import Literal

from connectors.connection import Connection, variable_name
from connectors.errors import ConfigurationError

SSL_MODES = ("disabled", "required", "verify_ca", "verify_identity")
"""MySQL's own words."""
TlsFault = Literal["plaintext", "untrusted", "other host", "out of date", "other"]
_EXTRAS = ("ssl_mode", "ssl_ca")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)

# X509_V_ERR_* of OpenSSL (x509_vfy.h), as SSLCertVerificationError.verify_code has them.
_OUT_OF_DATE = (9, 10)
_OTHER_HOST = (62, 64)


def ssl_mode(connection: Connection) -> str:
    """The connection's TLS mode.

    Raises:
        ConfigurationError: not one of MySQL's words, or an extra that looks like TLS and means nothing.
    """
    unknown = [name for name in connection.extra if name.lower().startswith("ssl") and name not in _EXTRAS]
    if unknown:
        # Ignored, a misspelt demand for TLS would be a connection without it.
        raise ConfigurationError(
            f"connection {connection.id}: unknown extra {unknown[0]!r}",
            where=variable_name(connection.id),
            choices=list(_EXTRAS),
        )
    usual = "disabled" if connection.host in _LOOPBACK else "required"
    mode = connection.extra.get("ssl_mode", "verify_identity" if connection.extra.get("ssl_ca") else usual).lower()
    if mode not in SSL_MODES:
        raise ConfigurationError(
            f"connection {connection.id}: ssl_mode is {mode!r}",
            where=variable_name(connection.id),
            choices=list(SSL_MODES),
        )
    return mode


def authority(connection: Connection) -> str | None:
    """The certificates of `ssl_ca` as PEM text, for the modes that verify; None for the others.

    Raises:
        ConfigurationError: there is no `ssl_ca`, no such file, or no certificate in it.
    """
    mode = ssl_mode(connection)
    if not mode.startswith("verify"):
        return None
    given = connection.extra.get("ssl_ca", "")
    told, text = f"ssl_ca {given}", given
    if "-----BEGIN" in given:
        told = "the text of ssl_ca"
    else:
        try:
            text = Path(given).read_text(encoding="utf-8", errors="replace")
        except OSError:
            raise ConfigurationError(
                f"connection {connection.id}: ssl_mode {mode} needs ssl_ca, and {given or 'none'} is no file here",
                where=variable_name(connection.id),
                fix="Add ssl_ca=/path/of/authority.pem, or the PEM text itself (for Aurora, the bundle of the region "
                "from AWS)",
            ) from None
    certificates = "\n".join(_CERTIFICATE.findall(text))
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=certificates or "-")
    except (ssl.SSLError, ValueError):
        raise ConfigurationError(
            f"connection {connection.id}: {told} holds no PEM certificates that can be read",
            where=variable_name(connection.id),
            fix="Give the authority's certificate in PEM (-----BEGIN CERTIFICATE-----)",
        ) from None
    return certificates


def with_authority_as_text(connection: Connection) -> Connection:
    """The connection as machines can use it that have no file of this one's. Errors as of `authority`."""
    certificates = authority(connection)
    return replace(connection, extra={**connection.extra, "ssl_ca": certificates}) if certificates else connection


def ssl_context(connection: Connection) -> ssl.SSLContext:
    """The TLS settings PyMySQL uses; not for `disabled`. Errors as of `authority`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    certificates = authority(connection)
    context.check_hostname = ssl_mode(connection) == "verify_identity"
    if certificates is None:
        context.verify_mode = ssl.CERT_NONE
    else:
        # Whatever Python's own defaults are: any certificate of ssl_ca is an end of the chain.
        context.verify_flags = ssl.VERIFY_X509_TRUSTED_FIRST | ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(cadata=certificates)
    return context


def fault_of(error: BaseException | None) -> TlsFault | None:
    """What an error of Python's TLS says is wrong; None where it is none."""
    if not isinstance(error, ssl.SSLError):
        return None
    if not isinstance(error, ssl.SSLCertVerificationError):
        return "other"
    if error.verify_code in _OUT_OF_DATE:
        return "out of date"
    return "other host" if error.verify_code in _OTHER_HOST else "untrusted"


def tls_error(connection: Connection, fault: TlsFault, said: str) -> ConfigurationError:
    """The error for a server whose TLS is not what the connection asks for; `said` is the driver's own word."""
    variable = variable_name(connection.id)
    match fault:
        case "plaintext":
            problem = f"the server offers none, and ssl_mode is {ssl_mode(connection)}"
            fix = f"Turn TLS on at the server; ssl_mode=disabled in {variable} would send password and rows readable"
        case "untrusted":
            problem = f"no authority in ssl_ca has signed the server's certificate ({said})"
            fix = f"Set ssl_ca in {variable} to the authority that signed it (for Aurora, the region's bundle from AWS)"
        case "other host":
            problem = f"the server's certificate is not for the host {connection.host!r} ({said})"
            fix = (
                f"Set the host in {variable} to a name in the certificate; ssl_mode=verify_ca would take any host "
                "whose certificate ssl_ca has signed"
            )
        case "out of date":
            problem = f"the server's certificate is out of date ({said})"
            fix = "Give the server a new certificate, and FLUSH SSL; or correct this machine's clock"
        case "other":
            problem = said
            fix = f"Compare ssl_mode ({ssl_mode(connection)}) in {variable} with what the server offers"
    return ConfigurationError(f"{connection.id} ({connection.address}): TLS failed: {problem}", fix=fix)
