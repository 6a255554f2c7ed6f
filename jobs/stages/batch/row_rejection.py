"""Why a row that could be read goes to quarantine: a row rule, or a value that BigQuery cannot parse.

Sources name the rows that they cannot read, and `warehouse_limits` those beyond a limit of BigQuery.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pyspark.sql import Column as SparkColumn
from pyspark.sql import functions as F

from connectors.base import Column
from expectations.row_rules import rejection
from jobs.contracts.rules import row_rules
from jobs.spec.frozen_file import FrozenFile
from jobs.stages.batch.unloadable_values import parse_rejection


def row_rejection(rules: FrozenFile | None, columns: Sequence[Column], masked: Collection[str]) -> SparkColumn | None:
    """Return the row rules, and what BigQuery cannot parse, as one expression: NULL for a good row, else the reason.

    Args:
        columns: the dataset's as read, before masks.
        masked: names of the masked columns: their values do not reach BigQuery as they were read.
    """
    suite = row_rules(rules, columns)
    ruled = rejection(suite, {column.name: column.spark_type for column in columns}) if suite else None
    unfit = parse_rejection([column for column in columns if column.name not in masked])
    reasons = [reason for reason in (ruled, unfit) if reason is not None]
    return F.coalesce(*reasons) if reasons else None
