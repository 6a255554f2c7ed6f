"""What must be true after a foreign operation, as MariaDB, PyIceberg and Google's client say it.

Nothing of the product's is asked: rows are read by other clients than its own, and what they should be comes from the
source's history.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.api_core.exceptions import GoogleAPIError
from google.cloud import bigquery
from pyiceberg.catalog import Catalog, load_catalog

from tests.foreign.source import COLUMNS, DAILY_COLUMNS, Row, by_day
from tests.foreign.target import CURATED, QUARANTINE, RAW, ancestors
from tests.foreign.world import Cargo

_DELETED = "_deleted_at"
_SHOWN = 4


@dataclass(frozen=True)
class Content:
    """The rows of a table by key, without marked ones; `problem` if it cannot be read."""

    rows: Mapping[Any, Sequence[Row]]
    problem: str | None = None

    @property
    def single(self) -> dict[Any, Row]:
        return {key: rows[-1] for key, rows in self.rows.items()}


@dataclass(frozen=True)
class Before:
    """What stood before the operation (BigQuery) and right behind it (curated), by dataset; bad rows set aside."""

    warehouse: Mapping[str, Content]
    curated: Mapping[str, Content]
    bad_keys: frozenset[int]


def open_lake(catalog_file: Path, warehouse: str) -> Catalog:
    """The lake's catalog by PyIceberg, of the environment's S3."""
    files = {"s3.endpoint": os.environ.get("AWS_ENDPOINT_URL_S3", ""), "s3.region": os.environ.get("AWS_REGION", "")}
    return load_catalog("lake", type="sql", uri=f"sqlite:///{catalog_file}", warehouse=warehouse, **files)


class Oracle:
    def __init__(self, catalog: Catalog, warehouse: bigquery.Client) -> None:
        self._catalog, self._warehouse = catalog, warehouse

    def before(self, cargo: Cargo) -> Before:
        """To be asked before the operation; curated is to be looked at again behind it."""
        tables = dict(self._tables(cargo))
        warehouse = {dataset: self._in_warehouse(table, dataset == cargo.derived) for dataset, table in tables.items()}
        return Before(warehouse, self.curated(cargo), frozenset(cargo.source.bad_keys()))

    def curated(self, cargo: Cargo) -> dict[str, Content]:
        return {dataset: self._in_lake(dataset, dataset == cargo.derived) for dataset in cargo.datasets}

    def whole(self, cargo: Cargo, before: Before, *, derived: bool = True) -> list[str]:
        """What is wrong with a result that claims to be whole: every row of the source once, at its newest version.

        Args:
            derived: whether what is derived is to be so, too.
        """
        expected = cargo.source.expected()
        faults = self._differ(cargo.name, cargo.table, expected, daily=False)
        faults += self._log_faults(cargo.name) + self._set_aside_faults(cargo, before)
        if derived and cargo.derived and cargo.derived_table:
            faults += self._differ(cargo.derived, cargo.derived_table, by_day(expected), daily=True)
            faults += self._log_faults(cargo.derived)
        return faults

    def intact(self, cargo: Cargo, before: Before) -> list[str]:
        """What got worse although a run refused: rows lost, doubled, older, or such as the source never had."""
        faults = []
        for dataset, table in self._tables(cargo):
            daily = dataset == cargo.derived
            versions = cargo.source.daily_versions() if daily else cargo.source.versions()
            there = by_day(cargo.source.expected()) if daily else cargo.source.expected()
            may_go = daily or cargo.slot.variant in ("sweep", "replace")
            pairs = (
                ("BigQuery", before.warehouse[dataset], self._in_warehouse(table, daily)),
                (f"curated.{dataset}", before.curated[dataset], self._in_lake(dataset, daily)),
            )
            for place, old, new in pairs:
                if old.problem or (new.problem and place != "BigQuery"):
                    continue  # The operation itself took it away.
                if new.problem:
                    faults.append(f"{place}: {new.problem}")
                    continue
                lost = [key for key in old.rows if key not in new.rows and not (may_go and key not in there)]
                doubled = [key for key, rows in new.rows.items() if len(rows) > max(1, len(old.rows.get(key, ())))]
                strange = [key for key, row in new.single.items() if _age(row, versions[key]) is None]
                strange = [key for key in strange if new.single[key] != old.single.get(key)]
                older = [] if daily else [key for key in old.rows if _is_older(new, old, key, versions)]
                for what, keys in (
                    ("lost", lost),
                    ("doubled", doubled),
                    ("of no version the source had", strange),
                    ("older than before", older),
                ):
                    if keys:
                        faults.append(f"{place}: {what}: {_shown(keys)}")
        return faults

    def _tables(self, cargo: Cargo) -> list[tuple[str, str]]:
        derived = [(cargo.derived, cargo.derived_table)] if cargo.derived and cargo.derived_table else []
        return [(cargo.name, cargo.table), *derived]

    def _differ(self, dataset: str, table: str, expected: Mapping[Any, Row], *, daily: bool) -> list[str]:
        places = {f"curated.{dataset}": self._in_lake(dataset, daily), "BigQuery": self._in_warehouse(table, daily)}
        faults = []
        for place, content in places.items():
            if content.problem:
                faults.append(f"{place}: {content.problem}")
                continue
            wrong = {
                "lacks": [key for key in expected if key not in content.rows],
                "holds what the source lacks": [key for key in content.rows if key not in expected],
                "holds more than once": [key for key, rows in content.rows.items() if len(rows) > 1],
                "holds other values of": [k for k, r in content.single.items() if k in expected and r != expected[k]],
            }
            faults += [f"{place} {what}: {_shown(keys)}" for what, keys in wrong.items() if keys]
        return faults

    def _log_faults(self, dataset: str) -> list[str]:
        """Gaps in the numbers of the batches on main, as far back as snapshots tell of them."""
        try:
            table = self._catalog.load_table((RAW, dataset))
            summaries = [snapshot.summary.additional_properties for snapshot in ancestors(table) if snapshot.summary]
        except Exception as error:  # noqa: BLE001 - any reason that keeps it from being read
            return [f"raw.{dataset} cannot be read: {type(error).__name__}"]
        numbers = [int(entry["lakeferry.batch"]) for entry in summaries if "lakeferry.sealed" in entry]
        wanted = list(range(max(numbers, default=0), min(numbers, default=1) - 1, -1))
        return [] if numbers == wanted else [f"raw.{dataset}: the batches of main are {numbers}"]

    def _set_aside_faults(self, cargo: Cargo, before: Before) -> list[str]:
        """Bad rows that came behind the operation and are not in quarantine."""
        try:
            rows = self._catalog.load_table((QUARANTINE, cargo.name)).scan().to_arrow().to_pylist()
        except FileNotFoundError:
            return []  # The operation deleted it. No stage reads the rows of older batches there.
        except Exception as error:  # noqa: BLE001 - any reason that keeps it from being read
            return [f"quarantine.{cargo.name} cannot be read: {type(error).__name__}"]
        places = Counter((row["_run_id"], json.loads(row["place"])["id"]) for row in rows)
        keys = {key for _, key in places}
        missing = sorted(cargo.source.bad_keys() - before.bad_keys - keys)
        doubled = sorted(key for (_, key), count in places.items() if count > 1 and key not in before.bad_keys)
        faults = [f"quarantine.{cargo.name} lacks: {_shown(missing)}"] if missing else []
        return faults + ([f"quarantine.{cargo.name} holds more than once: {_shown(doubled)}"] if doubled else [])

    def _in_lake(self, dataset: str, daily: bool) -> Content:
        try:
            rows = self._catalog.load_table((CURATED, dataset)).scan().to_arrow().to_pylist()
        except Exception as error:  # noqa: BLE001 - any reason that keeps it from being read
            return Content({}, f"cannot be read: {type(error).__name__}")
        return _content(rows, daily)

    def _in_warehouse(self, table: str, daily: bool) -> Content:
        try:
            rows = self._warehouse.query(f"SELECT * FROM `{self._warehouse.project}.{table}`").result(timeout=60)
            return _content([dict(row.items()) for row in rows], daily)
        except GoogleAPIError as error:
            return Content({}, f"cannot be read: {type(error).__name__}")


def refusal_faults(text: str, error_type: str, tables: Sequence[str], words: Sequence[str]) -> list[str]:
    """What is wrong with a refusal: it must be Lakeferry's own error, name one of the tables, what was done and a fix.

    Args:
        tables: those that were touched, `namespace.dataset`.
        words: of which one is in a text that names what was done; empty: any text will do.
    """
    faults = []
    if "unexpected" in error_type or "unexpected " in text or error_type == "RunnerFailed":
        faults.append("ends with an unexpected exception")
    elif "does not answer" in text or "did not answer" in text:
        faults.append("blames a service that answers")
    if not any(table in text for table in tables):
        faults.append(f"names none of {', '.join(tables)}")
    if words and not any(word in text.lower() for word in words):
        faults.append("does not say what was done")
    if len(re.findall(r"[^.…]\.\s+[A-Z]", text)) < 1:
        faults.append("names no fix")
    return faults


def _content(rows: Sequence[Mapping[str, Any]], daily: bool) -> Content:
    key, columns = ("sold_on", DAILY_COLUMNS) if daily else ("id", COLUMNS)
    missing = [name for name in (key, *columns) if rows and name not in rows[0]]
    if missing:
        return Content({}, f"has no column {', '.join(missing)}")
    rows_by_key: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        if row.get(_DELETED) is None:
            rows_by_key[row[key]].append(tuple(row[name] for name in columns))
    return Content(rows_by_key)


def _age(row: Row, versions: Sequence[Row]) -> int | None:
    """Returns which version a row is; None if it is not among them."""
    return versions.index(row) if row in versions else None


def _is_older(new: Content, old: Content, key: Any, versions: Mapping[Any, Sequence[Row]]) -> bool:
    if key not in new.rows:
        return False
    was, now = _age(old.single[key], versions[key]), _age(new.single[key], versions[key])
    return was is not None and now is not None and now < was


def _shown(keys: Sequence[Any]) -> str:
    named = ", ".join(str(key) for key in list(keys)[:_SHOWN])
    return named if len(keys) <= _SHOWN else f"{named} and {len(keys) - _SHOWN} more"
