"""Notifications of Iceberg scans, which serve as a gate inside a Spark statement.

A MERGE runs no Python code between the scan of its target and its commit. Iceberg notifies listeners of each scan in
the thread that plans it (`org.apache.iceberg.events.Listeners` and `ScanEvent` in Iceberg's javadoc). A listener that
waits makes the statement wait after it has chosen the snapshot it reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ScanListener = Callable[[str], None]


class LakeScans:
    """Reports scans of tables by name (`curated.payments`). Iceberg cannot unregister listeners: use one object per
    Spark session."""

    def __init__(self, spark: SparkSession) -> None:
        from pyspark.java_gateway import ensure_callback_server_started

        self._listener: ScanListener | None = None
        gateway: Any = spark.sparkContext._gateway
        ensure_callback_server_started(gateway)
        jvm: Any = spark._jvm
        event = jvm.java.lang.Class.forName("org.apache.iceberg.events.ScanEvent", True, _class_loader(jvm))
        jvm.org.apache.iceberg.events.Listeners.register(_Listener(self._scanned), event)

    @contextmanager
    def listening(self, listener: ScanListener) -> Iterator[None]:
        """Call `listener` with the name of each table that is scanned in this context."""
        self._listener = listener
        try:
            yield
        finally:
            self._listener = None

    def _scanned(self, table: str) -> None:
        if self._listener is not None:
            self._listener(table)


class _Listener:
    def __init__(self, scanned: ScanListener) -> None:
        self._scanned = scanned

    def notify(self, event: Any) -> None:
        # The catalog's name comes first.
        self._scanned(str(event.tableName()).partition(".")[2])

    class Java:
        implements = ["org.apache.iceberg.events.Listener"]  # noqa: RUF012 - py4j reads it so


def _class_loader(jvm: Any) -> Any:
    # Jars added to the application are not on the system class path.
    return jvm.java.lang.Thread.currentThread().getContextClassLoader()
