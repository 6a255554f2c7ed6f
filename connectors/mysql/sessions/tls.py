"""TLS settings of a connection, used wherever it is opened, and the errors for TLS that fails.

`ssl_mode` in the connection's extras takes MySQL's own words (manual, `--ssl-mode`): `disabled`, `required` (encrypted,
but any server is accepted), `verify_ca` and `verify_identity`. The last two verify by `ssl_ca`: a PEM file, or the PEM
text itself, which needs no file on the machines a job runs on. Without `ssl_ca`, `verify_identity` uses the trust store
of the machine that connects. The default mode is `verify_identity`, and `disabled` on the loopback interface without an
`ssl_ca`.
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
BUNDLE_OF_AURORA = "for Aurora and RDS, the bundle of the region from AWS"
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)

# X509_V_ERR_* of OpenSSL (x509_vfy.h), as in SSLCertVerificationError.verify_code.
_OUT_OF_DATE = (9, 10)
_OTHER_HOST = (62, 64)


def ssl_mode(connection: Connection) -> str:
    """Returns the connection's TLS mode.

    Raises:
        ConfigurationError: it is not one of MySQL's words, or an extra looks like TLS but is unknown.
    """
    unknown = [name for name in connection.extra if name.lower().startswith("ssl") and name not in _EXTRAS]
    if unknown:
        # If a misspelt demand for TLS were ignored, the connection would have none.
        raise ConfigurationError(
            f"connection {connection.id}: unknown extra {unknown[0]!r}",
            where=variable_name(connection.id),
            choices=list(_EXTRAS),
        )
    local = connection.host in _LOOPBACK and not connection.extra.get("ssl_ca")
    mode = connection.extra.get("ssl_mode", "disabled" if local else "verify_identity").lower()
    if mode not in SSL_MODES:
        raise ConfigurationError(
            f"connection {connection.id}: ssl_mode is {mode!r}",
            where=variable_name(connection.id),
            choices=list(SSL_MODES),
        )
    return mode


def verifies(connection: Connection) -> bool:
    """Whether the connection's TLS mode proves which server answers. Raises the errors of `ssl_mode`."""
    return ssl_mode(connection).startswith("verify")


def is_trusted(connection: Connection) -> bool:
    """Whether the server that answers is the intended one: TLS proves it, or it is on this machine. Raises the errors
    of `ssl_mode`."""
    return connection.host in _LOOPBACK or verifies(connection)


def authority(connection: Connection) -> str | None:
    """Returns the certificates of `ssl_ca` as PEM text, for the modes that verify. Returns None if the trust store of
    the machine that connects verifies, and for the modes that do not verify.

    Raises:
        ConfigurationError: the file is missing, holds no certificate, or `verify_ca` has no `ssl_ca`.
    """
    if not verifies(connection):
        return None
    ssl_ca = connection.extra.get("ssl_ca", "")
    fix = f"Add ssl_ca=/path/of/authority.pem, or the PEM text itself ({BUNDLE_OF_AURORA})"
    if not ssl_ca:
        if ssl_mode(connection) == "verify_identity":
            return None
        # A public authority signs for anybody: without the host's name its signature proves nothing.
        raise ConfigurationError(
            f"connection {connection.id}: ssl_mode verify_ca needs ssl_ca", where=variable_name(connection.id), fix=fix
        )
    origin, text = f"ssl_ca {ssl_ca}", ssl_ca
    if "-----BEGIN" in ssl_ca:
        origin = "the text of ssl_ca"
    else:
        try:
            text = Path(ssl_ca).read_text(encoding="utf-8", errors="replace")
        except OSError:
            raise ConfigurationError(
                f"connection {connection.id}: ssl_ca {ssl_ca} is not a file on this machine",
                where=variable_name(connection.id),
                fix=fix,
            ) from None
    certificates = "\n".join(_CERTIFICATE.findall(text))
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=certificates or "-")
    except (ssl.SSLError, ValueError):
        raise ConfigurationError(
            f"connection {connection.id}: {origin} holds no PEM certificates that can be read",
            where=variable_name(connection.id),
            fix="Give the authority's certificate in PEM (-----BEGIN CERTIFICATE-----)",
        ) from None
    return certificates


def with_authority_as_text(connection: Connection) -> Connection:
    """Returns the connection in a form for machines that do not have this one's files. Without an `ssl_ca` they verify
    by their own trust store. Raises the errors of `authority`."""
    certificates = authority(connection)
    return replace(connection, extra={**connection.extra, "ssl_ca": certificates}) if certificates else connection


def ssl_context(connection: Connection) -> ssl.SSLContext:
    """Returns the TLS settings for PyMySQL; not for `disabled`. Raises the errors of `authority`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    certificates = authority(connection)
    context.check_hostname = ssl_mode(connection) == "verify_identity"
    if not verifies(connection):
        context.verify_mode = ssl.CERT_NONE
        return context
    # Independent of Python's defaults: any trusted certificate ends the chain.
    context.verify_flags = ssl.VERIFY_X509_TRUSTED_FIRST | ssl.VERIFY_X509_PARTIAL_CHAIN
    if certificates is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        context.load_verify_locations(cadata=certificates)
    return context


def fault_of(error: BaseException | None) -> TlsFault | None:
    """Returns what an error of Python's TLS says is wrong; None for an error that is not one of TLS."""
    if not isinstance(error, ssl.SSLError):
        return None
    if not isinstance(error, ssl.SSLCertVerificationError):
        return "other"
    if error.verify_code in _OUT_OF_DATE:
        return "out of date"
    return "other host" if error.verify_code in _OTHER_HOST else "untrusted"


def tls_error(connection: Connection, fault: TlsFault, said: str) -> ConfigurationError:
    """Returns the error for a server whose TLS is not what the connection asks for; `said` is the driver's text."""
    variable = variable_name(connection.id)
    own = bool(connection.extra.get("ssl_ca"))
    match fault:
        case "plaintext":
            problem = f"the server offers none, and ssl_mode is {ssl_mode(connection)}"
            fix = f"Turn TLS on at the server; ssl_mode=disabled in {variable} would send every row readable"
        case "untrusted":
            among = "in ssl_ca" if own else "in the trust store of the machine that connects"
            problem = f"no authority {among} has signed the server's certificate ({said})"
            fix = f"Set ssl_ca in {variable} to the authority that signed it ({BUNDLE_OF_AURORA})"
        case "other host":
            problem = f"the server's certificate is not for the host {connection.host!r} ({said})"
            fix = f"Set the host in {variable} to a name in the certificate"
            if own:
                fix += "; ssl_mode=verify_ca would take any host whose certificate ssl_ca has signed"
        case "out of date":
            problem = f"the server's certificate is out of date ({said})"
            fix = "Give the server a new certificate, and FLUSH SSL; or correct this machine's clock"
        case "other":
            problem = said
            fix = f"Compare ssl_mode ({ssl_mode(connection)}) in {variable} with what the server offers"
    return ConfigurationError(f"{connection.id} ({connection.address}): TLS failed: {problem}", fix=fix)
