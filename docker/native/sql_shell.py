"""Opens the `mariadb` client on a local connection, or runs the statements of standard input: make sql.

python docker/native/sql_shell.py [CONNECTION]      aurora_payments by default, or tidb_wallet
"""

from __future__ import annotations

import os
import sys
from urllib.parse import unquote, urlsplit

from failure import Failure
from settings_file import values
from steps import fail_in_words

_DEFAULT = "aurora_payments"


def main(arguments: list[str]) -> int:
    """Replace this process by the client. The password travels in the environment.

    Raises:
        Failure: there is no such connection to a database.
    """
    name = arguments[0] if arguments else _DEFAULT
    variable = f"AIRFLOW_CONN_{name.upper()}"
    address = urlsplit(os.environ.get(variable) or values().get(variable, ""))
    if address.scheme != "mysql":
        raise Failure(f"{variable} is not a connection to MariaDB or TiDB. Valid: aurora_payments, tidb_wallet")
    command = [
        "mariadb",
        "--no-defaults",
        "--protocol=tcp",
        f"--host={address.hostname}",
        f"--port={address.port or 3306}",
        f"--user={unquote(address.username or '')}",
    ]
    sys.stdout.flush()
    try:
        os.execvpe(command[0], command, {**os.environ, "MYSQL_PWD": unquote(address.password or "")})
    except FileNotFoundError:
        raise Failure("the command mariadb is not installed. Install it: make setup") from None


if __name__ == "__main__":
    sys.exit(fail_in_words(main))
