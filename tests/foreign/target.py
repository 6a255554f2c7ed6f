"""The target of a foreign operation, and the kinds of operations."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from py4j.java_gateway import JavaClass

from tests.foreign.saved_state import Objects, SavedCatalog

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table
    from pyspark.sql import SparkSession

RAW, CURATED, QUARANTINE = "raw", "curated", "quarantine"
MAIN = "main"
Undo = Callable[[], None]


class MovedOnError(Exception):
    """Somebody has committed since: to undo the operation would take that back, too."""


@dataclass(frozen=True)
class Target:
    """One table of the lake as somebody else's tool sees it."""

    spark: SparkSession
    catalog: Catalog
    catalog_file: Path
    yesterday: SavedCatalog
    objects: Objects
    namespace: str
    dataset: str
    random: Random

    @property
    def path(self) -> str:
        """The name procedures take."""
        return f"{self.namespace}.{self.dataset}"

    @property
    def name(self) -> str:
        """The name statements take."""
        return f"lake.{self.path}"

    @property
    def table(self) -> Table:
        return self.catalog.load_table((self.namespace, self.dataset))

    @property
    def key(self) -> str:
        """A column whose values tell rows apart."""
        if self.namespace == QUARANTINE:
            return "place"
        names = self.table.schema().column_names
        return "id" if "id" in names else "sold_on"

    @property
    def value(self) -> str:
        """A column with a value of the source's."""
        if self.namespace == QUARANTINE:
            return "record"
        return "note" if self.key == "id" else "total"

    def sql(self, statement: str) -> Any:
        return self.spark.sql(statement)

    def call(self, procedure: str, arguments: str) -> None:
        self.spark.sql(f"CALL lake.system.{procedure}({arguments})").collect()

    def set_properties(self, **properties: str) -> None:
        self.java_update("updateProperties", *[("set", key, value) for key, value in properties.items()])

    def java(self, name: str) -> Any:
        """A Java class by its full name, for its static methods."""
        gateway: Any = self.spark.sparkContext._gateway
        return JavaClass(name, gateway._gateway_client)

    @property
    def java_catalog(self) -> Any:
        """`org.apache.iceberg.catalog.Catalog`, as Spark has it."""
        session: Any = self.spark._jsparkSession
        return session.sessionState().catalogManager().catalog("lake").icebergCatalog()

    def identifier(self, name: str | None = None) -> Any:
        return self.java("org.apache.iceberg.catalog.TableIdentifier").parse(name or self.path)

    @property
    def java_table(self) -> Any:
        """`org.apache.iceberg.Table`."""
        return self.java_catalog.loadTable(self.identifier())

    def java_update(self, update: str, *calls: tuple[Any, ...]) -> None:
        """An update of the table (`Table.updateProperties` and its like): these calls, then a commit."""
        change = getattr(self.java_table, update)()
        for method, *arguments in calls:
            change = getattr(change, method)(*arguments)
        change.commit()

    def lineage(self) -> list[Any]:
        """The snapshots of main, newest first, as PyIceberg has them."""
        return list(ancestors(self.table))

    def batch_ends(self) -> list[int]:
        """Ids of the snapshots on main at which a batch ends, newest first: for raw those that seal one, for curated
        each that took some in."""
        mark = {RAW: "lakeferry.sealed", CURATED: "lakeferry.consumed-batch"}.get(self.namespace)
        return [s.snapshot_id for s in self.lineage() if mark is None or mark in s.summary.additional_properties]

    def set_current(self, snapshot_id: int) -> None:
        self.call("set_current_snapshot", f"table => '{self.path}', snapshot_id => {snapshot_id}")

    def back_to(self, snapshot_id: int) -> Undo:
        """Undo what was just done by setting main back; not once somebody has committed behind it."""
        left = self.table.current_snapshot()

        def undo() -> None:
            if self.table.current_snapshot() != left:
                raise MovedOnError(self.path)
            self.set_current(snapshot_id)

        return undo

    def metadata_file(self) -> str:
        return str(self.table.metadata_location)

    def register(self, metadata_file: str) -> None:
        self.java_catalog.registerTable(self.identifier(), metadata_file)

    def drop(self, *, purge: bool = False) -> None:
        assert self.java_catalog.dropTable(self.identifier(), purge), f"{self.path} is not there"

    def registered_again(self, metadata_file: str) -> Undo:
        """Undo by registering the table as a metadata file has it, in place of the table that has its name now."""

        def undo() -> None:
            if self.java_catalog.tableExists(self.identifier()):
                self.drop()
            self.register(metadata_file)

        return undo

    def delete_object(self, address: str) -> Undo:
        key = self.objects.key(address)
        body = self.objects.read(key)
        self.objects.delete(key)
        return lambda: self.objects.put(key, body)

    def data_files(self) -> list[str]:
        """Addresses of the files of main, in a fixed order."""
        return sorted(task.file.file_path for task in self.table.scan().plan_files())

    def tomorrow(self) -> int:
        """Milliseconds of a moment behind all there is."""
        return int((time.time() + 86_400) * 1000)


def ancestors(table: Table) -> Iterator[Any]:
    """The snapshots of main, newest first, as far as they are there."""
    snapshot = table.current_snapshot()
    while snapshot is not None:
        yield snapshot
        parent = snapshot.parent_snapshot_id
        snapshot = table.snapshot_by_id(parent) if parent is not None else None


Act = Callable[[Target], Undo | None]


@dataclass(frozen=True)
class Kind:
    """A kind of foreign operation.

    `tables` are the namespaces it may be about: a seed takes one entry. `harmless` kinds must leave the result whole
    and refuse nothing. `words`: one of them is in the text of a refusal. `extracted`: only with a run under way that
    has its rows on a branch.
    """

    name: str
    act: Act
    tables: tuple[tuple[str, ...], ...]
    harmless: bool
    words: tuple[str, ...] = ()
    extracted: bool = False


@dataclass
class Kinds:
    """The kinds by name, in the order they are written."""

    by_name: dict[str, Kind] = field(default_factory=dict)

    def add(
        self, tables: Sequence[str], *, harmless: bool = False, words: Sequence[str] = (), extracted: bool = False
    ) -> Callable[[Act], Act]:
        """Make a function a kind of its name; each of `tables` is one namespace or several, joined with `+`."""

        def added(act: Act) -> Act:
            name = act.__name__
            choices = tuple(tuple(choice.split("+")) for choice in tables)
            self.by_name[name] = Kind(name, act, choices, harmless, tuple(words), extracted)
            return act

        return added
