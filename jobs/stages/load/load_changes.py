"""The statements that bring a staged batch into its table: which ones, what they scan, what they may modify.

If a statement would modify more partitions than BigQuery lets one job modify, it becomes several in the same
transaction, one for some of the partitions each. Which partitions the rows come from is asked before the transaction.
The transaction begins by asserting that the ledger still stands at the batch at which it was asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date

from connectors.bigquery import partitions, statements
from connectors.bigquery.client import Warehouse
from connectors.bigquery.comparison import PartitionNumber
from connectors.bigquery.cost import check_scanned_bytes
from connectors.bigquery.partitions import PartitionName
from connectors.bigquery.statements import Target
from connectors.errors import LoadRefused
from jobs.spec.models import DatasetSpec

COARSER = (
    "Write bigquery.partition_granularity: month or year, a larger interval in partition_range, or no partition_by"
)
"""The fix if a table would have too many partitions."""


class Changes:
    """Builds the statements of one batch.

    `batch` is its number, `rows` how many rows it has. `most_bytes` is what all statements together may scan; None: no
    limit. `touched` are the numbers of the partitions that the statements touch; None if it may be all of them.
    """

    def __init__(
        self, dataset: DatasetSpec, target: Target, warehouse: Warehouse, most_bytes: int | None, batch: int, rows: int
    ) -> None:
        self._dataset = dataset
        self._target = target
        self._warehouse = warehouse
        self._most_bytes = most_bytes
        self._batch = batch
        self._rows = rows
        self._asked_bytes = 0
        self.touched: set[PartitionNumber] | None = set()

    def statements(self, staging: str | None, days: Sequence[str] | None) -> list[str]:
        """Return the statements, once it is known what they will scan.

        Args:
            staging: the staging table, quoted; None if the batch has no rows.
            days: the days that an `overwrite_partitions` replaces.

        Raises:
            LoadRefused: they scan more than `max_bytes_billed`, or rows of one partition come from more partitions than
                one job may modify; no statement was run.
        """
        disposition = self._dataset.write_disposition
        if disposition == "replace" or self._target.partitioning is None:
            self.touched = None
        if disposition == "replace":
            # So few rows are in no more partitions than one statement may modify.
            may_split = self._target.partitioning is not None and self._rows > partitions.MOST_MODIFIED
            names = self._ask(statements.arriving(self._target, staging)) if staging and may_split else []
            changes = statements.replace(self._target, staging, names)
        elif disposition == "overwrite_partitions":
            changes = statements.overwrite_partitions(self._target, staging, days or ())
            self._touch([date.fromisoformat(day) for day in days or ()])
        elif staging is None:
            changes = []
        else:
            change = statements.merge if disposition == "merge" else statements.append
            changes = [change(self._target, staging, within, only) for within, only in self._parts(staging)]
        self._afford(changes)
        return changes

    def _parts(self, staging: str) -> Iterator[tuple[str | None, str | None]]:
        """Yield `within` and `only` of each MERGE that the batch takes."""
        partitioning = self._target.partitioning
        if partitioning is None:
            yield None, None
            return
        column = f"T.{statements.quoted(partitioning.column)}"
        names = self._ask(statements.touched(self._target, staging))
        self._touch(names)
        if len(names) <= partitions.MOST_MODIFIED:
            yield partitioning.scan_condition(names, column), None
            return
        groups = partitioning.grouped(self._ask(statements.arriving(self._target, staging)))
        while groups:
            group = groups.pop(0)
            only = statements.staged_in(self._target, group)
            names = self._ask(statements.touched(self._target, staging, only))
            if len(names) <= partitions.MOST_MODIFIED:
                yield partitioning.scan_condition(names, column), only
                continue
            if len(group) == 1:
                raise LoadRefused(
                    f"rows of batch {self._batch} that lie in one partition of {self._dataset.bigquery.table} come "
                    f"from {len(names) - 1} others, and one job of BigQuery modifies at most "
                    f"{partitions.MOST_MODIFIED} partitions",
                    fix=COARSER,
                )
            # Rows that are in the table already lie in other partitions there.
            groups[:0] = [group[: len(group) // 2], group[len(group) // 2 :]]

    def _touch(self, names: Sequence[PartitionName]) -> None:
        if self.touched is not None and self._target.partitioning is not None:
            number_of = self._target.partitioning.number_of
            self.touched |= {None if name is None else number_of(name) for name in names}

    def _ask(self, question: str) -> list[PartitionName]:
        self._afford([question])
        return [name for (name,) in self._warehouse.query(question, self._most_bytes)]

    def _afford(self, sqls: Sequence[str]) -> None:
        """Check that these statements, with those already asked for, scan no more than the limit."""
        size = sum(self._warehouse.estimate(sql) for sql in sqls)
        self._warehouse.cost.estimated += size
        own = self._dataset.bigquery.max_bytes_billed is not None
        key = "bigquery.max_bytes_billed" if own else "LAKEFERRY_MAX_BYTES_BILLED"
        self._asked_bytes += size
        what = f"bringing batch {self._batch} into {self._dataset.bigquery.table}"
        check_scanned_bytes(self._most_bytes, self._asked_bytes, what, key)
