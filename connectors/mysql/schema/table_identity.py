"""Which table stands behind a name: a number that TRUNCATE changes.

InnoDB gives a table another id when it builds it again: for TRUNCATE, and also for OPTIMIZE and each ALTER that
rebuilds it (MySQL manual, "The INFORMATION_SCHEMA INNODB_TABLES Table", `TABLE_ID`; before MySQL 8 and on MariaDB the
table is INNODB_SYS_TABLES). TiDB gives another id for TRUNCATE and keeps it through an ALTER (TiDB manual, TABLES,
`TIDB_TABLE_ID`). So another id is a reason to compare rows; it does not prove that they are other rows.
"""

from __future__ import annotations

from connectors.errors import LakeferryError, ServiceUnavailable
from connectors.mysql.schema.tables import TableName
from connectors.mysql.sessions.session import Session


def table_identity(session: Session, table: TableName) -> str | None:
    """Returns the table's id, for a partitioned table that of its first partition. Returns None if the server does not
    say, for example for a view or without PROCESS.

    Costs one look-up on TiDB, and one pass over InnoDB's list of tables elsewhere.
    """
    try:
        identity = session.value(_statement(session.server_version), [table.database, table.name])
    except ServiceUnavailable:
        raise
    except LakeferryError:
        return None
    return None if identity is None else str(identity)


def _statement(version: str) -> str:
    if "TiDB" in version:
        return "SELECT tidb_table_id FROM information_schema.tables WHERE table_schema = %s AND table_name = %s"
    older = "MariaDB" in version or version.startswith("5.")
    listed = "innodb_sys_tables" if older else "innodb_tables"
    # The names are written like those of files, where # begins a partition (MySQL manual, Mapping of Identifiers to
    # File Names).
    file_name = "CAST(CONVERT(%s USING filename) AS BINARY)"
    return (
        f"SELECT MIN(table_id) FROM information_schema.{listed}"
        " WHERE CAST(SUBSTRING_INDEX(SUBSTRING_INDEX(name, '#P#', 1), '#p#', 1) AS BINARY)"
        f" = CONCAT({file_name}, '/', {file_name})"
    )
