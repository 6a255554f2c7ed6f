"""Aurora MySQL (MySQL, MariaDB) and TiDB."""

from __future__ import annotations

from connectors.mysql.source import AuroraSource, MySQLOptions, TiDBSource

__all__ = ["AuroraSource", "MySQLOptions", "TiDBSource"]
