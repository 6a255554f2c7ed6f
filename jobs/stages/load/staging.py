"""Fills a batch's staging table from transport files, directly or through the bucket, and clears up after it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from pyiceberg.table import Table

from connectors.bigquery.arrow_fingerprints import TransportHash
from connectors.bigquery.bucket import Bucket
from connectors.bigquery.client import Warehouse
from connectors.bigquery.columns import WarehouseColumn
from connectors.bigquery.staging_load import load_files, load_objects
from connectors.bigquery.tables import drop_table, make_staging
from connectors.bigquery.transport_files import TransportFile, mark_of
from connectors.errors import LakeferryError, LoadRefused
from jobs.lake import names
from jobs.lake.batch_log import PublishedBatch
from jobs.lake.expired_batches import ExpiredBatch
from jobs.runtime.events import event
from jobs.stages.load.executor_transport import Executors, carry
from jobs.stages.load.transport_files import data_files, write_parquet


class Staging:
    """Fills and clears the staging tables of one dataset. `name` is unique to a batch."""

    def __init__(
        self, warehouse: Warehouse, bucket: Bucket | None, dataset: str, executors: Executors | None = None
    ) -> None:
        self._warehouse = warehouse
        self._bucket = bucket
        self._dataset = dataset
        self._executors = executors

    def fill(
        self,
        raw: Table,
        batch: PublishedBatch | ExpiredBatch,
        name: str,
        columns: Sequence[WarehouseColumn],
        fingerprint: TransportHash | None = None,
    ) -> tuple[str, int]:
        """Load a batch that has rows. Returns the table as `dataset.table`, and the number of bytes written.
        `fingerprint` takes in each row.

        Table, jobs and objects carry a mark of the files' bytes. If the files are the same, this attempt continues what
        an earlier one left; if not, the names differ and nothing collides.

        Raises:
            LoadRefused: raw does not hold the rows with which the batch was published.
            CopyDiffers: an object in the bucket is not what was sent.
            ObjectNotFound: somebody dropped the table, or deleted the objects, meanwhile.
        """
        if self._bucket is not None and self._executors is not None:
            data = data_files(raw, batch.batch)
            if sum(file.size_bytes for file in data) >= self._executors.from_bytes:
                folder, address = f"{self._folder}/{name}", self._bucket.address
                carried = carry(self._executors, raw, batch.batch, data, columns, address, folder, fingerprint)
                return self._load(batch, name, columns, *carried)
        with tempfile.TemporaryDirectory(prefix="lakeferry-load-") as local:
            files = write_parquet(raw, batch.batch, columns, Path(local), fingerprint=fingerprint)
            uris = None
            if self._bucket is not None:
                uris = self._bucket.upload(files, f"{self._folder}/{name}_{mark_of(files, 'bucket')}")
            return self._load(batch, name, columns, files, uris)

    def _load(
        self,
        batch: PublishedBatch | ExpiredBatch,
        name: str,
        columns: Sequence[WarehouseColumn],
        files: Sequence[TransportFile],
        uris: Sequence[str] | None = None,
    ) -> tuple[str, int]:
        """Load from the objects if their URIs are given, else from the files."""
        rows = sum(file.rows for file in files)
        if rows != batch.rows:
            raise LoadRefused(
                f"batch {batch.batch} was published with {batch.rows} rows, {names.RAW}.{self._dataset} holds "
                f"{rows} of it",
                fix="The raw table was changed from outside: nothing was loaded",
            )
        marked = f"{name}_{mark_of(files, 'direct' if uris is None else 'bucket')}"
        base_id = f"lakeferry_{self._dataset}_{marked}"
        staging = f"{self._warehouse.address.ledger_dataset}.staging_{self._dataset}_{marked}"
        table = make_staging(self._warehouse, staging, columns)
        if uris is None:
            load_files(self._warehouse, table, files, base_id)
        else:
            load_objects(self._warehouse, table, uris, base_id)
        return staging, sum(file.size_bytes for file in files)

    def clear(self, staging: str, name: str) -> None:
        """Remove the table, and the objects of every attempt at this batch. The batch is committed, so an object that
        cannot be removed raises a warning only, and is left to the bucket's lifecycle rule."""
        drop_table(self._warehouse, staging)
        if self._bucket is None:
            return
        try:
            self._bucket.clear(f"{self._folder}/{name}_")
        except LakeferryError as error:
            event("warning", stage="load", dataset=self._dataset, warning=str(error))

    @property
    def _folder(self) -> str:
        return f"transport/{self._dataset}"
