"""Aurora MySQL (MySQL, MariaDB) and TiDB."""

from __future__ import annotations

from connectors.mysql.options import MySQLOptions
from connectors.mysql.source import AuroraSource, TiDBSource

__all__ = ["AuroraSource", "MySQLOptions", "TiDBSource"]
