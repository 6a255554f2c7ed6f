"""A batch's way into its staging table: transport files, directly or through the bucket, and what is cleared after."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from pyiceberg.table import Table

from connectors.bigquery.bucket import Bucket
from connectors.bigquery.client import Warehouse
from connectors.bigquery.columns import WarehouseColumn
from connectors.bigquery.staging_load import load_files, load_objects
from connectors.bigquery.tables import drop_table, make_staging
from connectors.bigquery.transport_files import mark_of
from connectors.errors import LakeferryError, LoadRefused
from jobs.lake import catalog
from jobs.lake.batches import PublishedBatch
from jobs.progress import event
from jobs.transport import write_parquet
from jobs.transport_hash import TransportHash


class Staging:
    """Fills and clears the staging tables of one dataset. `name` is that of a batch: no other batch has it."""

    def __init__(self, warehouse: Warehouse, bucket: Bucket | None, dataset: str) -> None:
        self._warehouse = warehouse
        self._bucket = bucket
        self._dataset = dataset

    def fill(
        self,
        raw: Table,
        batch: PublishedBatch,
        name: str,
        columns: Sequence[WarehouseColumn],
        fingerprint: TransportHash | None = None,
    ) -> tuple[str, int]:
        """Load a batch that has rows; return the table as `dataset.table`, and the bytes that were written.
        `fingerprint` takes in each row.

        Table, jobs and objects carry a mark of the files' bytes: what an earlier attempt left is built upon where its
        files were the same, and is out of the way where they were not.

        Raises:
            LoadRefused: raw does not hold the rows the batch was published with.
            CopyDiffers: an object in the bucket is not what was sent.
            ObjectNotFound: somebody dropped the table, or deleted the objects, meanwhile.
        """
        with tempfile.TemporaryDirectory(prefix="lakeferry-load-") as folder:
            files = write_parquet(raw, batch.batch, columns, Path(folder), fingerprint=fingerprint)
            rows = sum(file.rows for file in files)
            if rows != batch.rows:
                raise LoadRefused(
                    f"batch {batch.batch} was published with {batch.rows} rows, {catalog.RAW}.{self._dataset} holds "
                    f"{rows} of it",
                    fix="The raw table was changed from outside: nothing was loaded",
                )
            marked = f"{name}_{mark_of(files, 'bucket' if self._bucket else 'direct')}"
            base_id = f"lakeferry_{self._dataset}_{marked}"
            uris = self._bucket.upload(files, f"{self._folder}/{marked}") if self._bucket else []
            staging = f"{self._warehouse.address.ledger_dataset}.staging_{self._dataset}_{marked}"
            table = make_staging(self._warehouse, staging, columns)
            if self._bucket:
                load_objects(self._warehouse, table, uris, base_id)
            else:
                load_files(self._warehouse, table, files, base_id)
        return staging, sum(file.size_bytes for file in files)

    def clear(self, staging: str, name: str) -> None:
        """Remove the table, and the objects of every attempt at this batch. It is committed: an object that stays is
        told and left to the bucket's lifecycle rule."""
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
