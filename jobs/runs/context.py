"""The things that the stages of one application share: plan, settings, documents, receipts, Spark session, catalog."""

from __future__ import annotations

from concurrent.futures import Future
from threading import Lock
from typing import TYPE_CHECKING

from jobs.lake.documents import open_documents
from jobs.runs.plan_document import Plan
from jobs.runs.receipts import Receipts
from jobs.runtime.background import begun
from jobs.runtime.events import event
from jobs.runtime.settings import Settings

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyspark.sql import SparkSession


class RunContext:
    """What the stages of one application share. The Spark session is opened at its first use, or begun before. The
    catalog is opened once, because opening it takes longer than loading a table."""

    def __init__(self, plan: Plan, settings: Settings) -> None:
        self.plan = plan
        self.settings = settings
        self.documents = open_documents(settings.lake)
        self.receipts = Receipts(self.documents)
        self._lock = Lock()
        self._opening: Future[SparkSession] | None = None
        self._catalog: Catalog | None = None

    @property
    def catalog(self) -> Catalog:
        """The lake's catalog, for any thread."""
        from jobs.lake.catalog import open_catalog

        with self._lock:
            if self._catalog is None:
                self._catalog = open_catalog(self.settings)
            return self._catalog

    @property
    def spark(self) -> SparkSession:
        return self._begun().result()

    def begin_session(self) -> None:
        """Open the Spark session while this process imports what will use it: a failure is raised at its first use."""
        # Its modules import each other: if two threads import them at once, the import fails.
        import pyspark.sql  # noqa: F401

        self._begun()

    def _begun(self) -> Future[SparkSession]:
        with self._lock:
            if self._opening is None:
                self._opening = begun(self._open_session, "session")
            return self._opening

    def _open_session(self) -> SparkSession:
        from jobs.lake.spark_session import open_session

        event("starting", stage="spark", dataset=self.plan.pipeline)
        session = open_session(self.settings, f"lakeferry {self.plan.pipeline} {self.plan.run_id}")
        event("ready", stage="spark", dataset=self.plan.pipeline)
        return session
