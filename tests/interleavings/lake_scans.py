"""Iceberg's own word that a scan of a table was planned: a gate inside a statement of Spark's.

Between the scan a MERGE computes its rows from and its commit there is no Python that could wait. Iceberg tells
listeners of each scan as it is planned (`org.apache.iceberg.events.Listeners` and `ScanEvent` in its javadoc), in the
thread that plans it, so a listener that waits has the statement wait with what it has read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Heard = Callable[[str], None]


class LakeScans:
    """Tells of scans of the lake's tables, by name (`curated.payments`). Listeners of Iceberg's cannot be taken away:
    make one a session."""

    def __init__(self, spark: SparkSession) -> None:
        from pyspark.java_gateway import ensure_callback_server_started

        self._hear: Heard | None = None
        gateway: Any = spark.sparkContext._gateway
        ensure_callback_server_started(gateway)
        jvm: Any = spark._jvm
        event = jvm.java.lang.Class.forName("org.apache.iceberg.events.ScanEvent", True, _class_loader(jvm))
        jvm.org.apache.iceberg.events.Listeners.register(_Listener(self._heard), event)

    @contextmanager
    def heard(self, heard: Heard) -> Iterator[None]:
        """Call this with the name of each table that is scanned inside."""
        self._hear = heard
        try:
            yield
        finally:
            self._hear = None

    def _heard(self, table: str) -> None:
        if self._hear is not None:
            self._hear(table)


class _Listener:
    def __init__(self, heard: Heard) -> None:
        self._heard = heard

    def notify(self, event: Any) -> None:
        # The catalog's name comes first.
        self._heard(str(event.tableName()).partition(".")[2])

    class Java:
        implements = ["org.apache.iceberg.events.Listener"]  # noqa: RUF012 - py4j reads it so


def _class_loader(jvm: Any) -> Any:
    # Jars that were added to the application are not on the system class path.
    return jvm.java.lang.Thread.currentThread().getContextClassLoader()
