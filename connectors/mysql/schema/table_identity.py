"""Which table stands behind a name: a number that TRUNCATE changes.

InnoDB gives a table another id where it makes it anew: for TRUNCATE, and also for OPTIMIZE and each ALTER that rebuilds
it (MySQL manual, "The INFORMATION_SCHEMA INNODB_TABLES Table", `TABLE_ID`; before MySQL 8 and on MariaDB the table is
INNODB_SYS_TABLES). TiDB gives another id for TRUNCATE and keeps it through an ALTER (TiDB manual, TABLES,
`TIDB_TABLE_ID`). So another id is a reason to compare rows, and no proof that they are others.
"""

from __future__ import annotations

from connectors.errors import LakeferryError, ServiceUnavailable
from connectors.mysql.schema.tables import TableName
from connectors.mysql.sessions.session import Session


def table_identity(session: Session, table: TableName) -> str | None:
    """The table's id, of a partitioned table that of its first partition; None where the server does not say, as of a
    view or without PROCESS.

    Costs one look-up on TiDB, and one pass over InnoDB's list of tables elsewhere.
    """
    try:
        found = session.value(_statement(session.server_version), [table.database, table.name])
    except ServiceUnavailable:
        raise
    except LakeferryError:
        return None
    return None if found is None else str(found)


def _statement(version: str) -> str:
    if "TiDB" in version:
        return "SELECT tidb_table_id FROM information_schema.tables WHERE table_schema = %s AND table_name = %s"
    older = "MariaDB" in version or version.startswith("5.")
    listed = "innodb_sys_tables" if older else "innodb_tables"
    # Names are written as those of files, where # begins a partition (MySQL manual, Mapping of Identifiers to File
    # Names).
    file_name = "CAST(CONVERT(%s USING filename) AS BINARY)"
    return (
        f"SELECT MIN(table_id) FROM information_schema.{listed}"
        " WHERE CAST(SUBSTRING_INDEX(SUBSTRING_INDEX(name, '#P#', 1), '#p#', 1) AS BINARY)"
        f" = CONCAT({file_name}, '/', {file_name})"
    )
