"""Aurora MySQL and TiDB as sources: two dialects of one implementation."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, JsonValue, field_validator

from connectors.base import Dataset, Description, Source, SourceOptions, SourcePlan, Window
from connectors.connection import Connection
from connectors.errors import LakeferryError, ObjectNotFound, SourceMoved, UsageError
from connectors.mysql.dialects import Dialect, InnoDB, OpenTransactions, TiDB
from connectors.mysql.reader import reader_of
from connectors.mysql.session import Session, jdbc_options, open_session, read_timeout_seconds
from connectors.mysql.slices import slice_predicate, split
from connectors.mysql.tables import TableName, describe_table
from connectors.mysql.window import (
    POSITION_KEY,
    check_cursor,
    cursor_literal,
    refuse_null_cursors,
    requested_window,
    scheduled_window,
    window_bound,
    window_predicate,
)

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from connectors.base import Slice


class MySQLOptions(SourceOptions):
    """Keys of a dataset read from a table.

    `cursor` is a DATETIME (holding UTC) or TIMESTAMP column that each change of a row moves forward;
    without one every run reads the whole table. `lag_seconds` is how far behind the server's clock a
    window ends: the longest a row may take from getting its cursor value to being committed; at least
    one, since a cursor of whole seconds says of a row written at 10:00:00.9 that it is of 10:00:00.
    """

    table: str = Field(description="database.table; in backquotes what holds a dot")
    cursor: str | None = Field(default=None, min_length=1, max_length=64, description="DATETIME or TIMESTAMP column")
    lag_seconds: int = Field(
        default=300, ge=1, le=86_400, description="seconds a window ends behind the server's clock"
    )

    @field_validator("table")
    @classmethod
    def _named_in_full(cls, value: str) -> str:
        TableName.parse(value)
        return value


class MySQLSource(Source):
    """A table of a MySQL-speaking server, read by key ranges at once through Spark's JDBC source.

    Where the server has snapshots (TiDB) a plan reads the same rows for ever; where it has none, a row
    that has moved on by the time of the read is read by the window it moved to.
    """

    Options = MySQLOptions
    dialect: ClassVar[Dialect]
    rows_per_slice: int = 500_000
    """Rows a slice aims at; the caller may set it."""

    @property
    def reader(self) -> Connection:
        """Where tables are described, counted and read."""
        return reader_of(self.connection)

    def ping(self) -> str:
        with open_session(self.connection) as session:
            product = self.dialect.product(session)
        if self.reader == self.connection:
            return product
        with open_session(self.reader) as session:
            return f"{product}, reader {self.reader.address}: {self.dialect.product(session)}"

    def describe(self, dataset: Dataset) -> Description:
        with self._session(dataset) as session:
            return describe_table(session, _table(dataset))

    def plan(self, dataset: Dataset, position: Mapping[str, JsonValue] | None, window: Window | None) -> SourcePlan:
        """See `Source.plan`. Without a cursor the whole table is read, and the position is `{}`.

        Raises:
            UsageError: an asked-for window without a cursor, or one that ends before it starts.
            CheckFailed: rows without a cursor value.
            UnsupportedType: a column, or the cursor, of a type that cannot be read exactly.
        """
        options = _options(dataset)
        table = _table(dataset)
        if window is not None and options.cursor is None:
            raise UsageError(
                f"{table} is read whole: it has no cursor, so a window means nothing",
                pipeline=dataset.pipeline,
                dataset=dataset.name,
                fix="Run it without start and end, or give the dataset a cursor",
            )
        with ExitStack() as sessions:
            session = sessions.enter_context(self._long_session(dataset, self.connection))
            # The order matters: what is committed neither before the look at open transactions nor by
            # one of them began after the clock was read, so its cursor lies behind the window's end.
            now = session.value("SELECT UTC_TIMESTAMP(6)")
            transactions = self.dialect.open_transactions(session) if options.cursor else OpenTransactions()
            snapshot = self.dialect.freeze(session, self.reader != self.connection)
            waited = None
            if self.reader != self.connection:
                session = sessions.enter_context(self._long_session(dataset, self.reader))
                waited = self._pin(session, snapshot)
            description = describe_table(session, table)
            _check_key(dataset, description, table)
            warnings = [waited] if waited else []
            planned: Window | None = None
            if options.cursor is not None:
                unindexed = check_cursor(description, table, options.cursor)
                refuse_null_cursors(session, description, table, options.cursor)
                bound = window_bound(now, options.lag_seconds, transactions.oldest)
                planned = scheduled_window(position, bound) if window is None else requested_window(window, bound)
                held = _held_back(now, options.lag_seconds, transactions.oldest) if window is None else None
                warnings += [text for text in (unindexed, transactions.warning, held) if text]
            predicate = window_predicate(options.cursor, planned) if options.cursor and planned else "TRUE"
            first_key = description.primary_key[0] if description.primary_key else None
            key = next((column for column in description.columns if column.name == first_key), None)
            slices = split(session, table, predicate, key, self.rows_per_slice)
        return SourcePlan(
            columns=description.columns,
            window=planned,
            slices=slices,
            position=None if window is not None else ({POSITION_KEY: planned.end} if planned else {}),
            snapshot=snapshot,
            warnings=tuple(warnings),
        )

    def read(self, spark: SparkSession, dataset: Dataset, plan: SourcePlan) -> DataFrame:
        """See `Source.read`. The plan is tried out first, so that what is wrong is said by name and
        not by a failed Spark task.

        Raises:
            SourceMoved: the snapshot was collected, or a planned column is gone or of another type.
        """
        from connectors.mysql.reading import read_slices

        table = _table(dataset)
        with self._session(dataset) as session:
            self.dialect.pin(session, plan.snapshot)
            _check_columns(plan, describe_table(session, table), table)
        with self.reading():
            return read_slices(
                spark,
                jdbc_options(self.reader, self.dialect.session_variables(plan.snapshot)),
                table,
                plan.columns,
                {piece.id: _predicate(dataset, plan, piece) for piece in plan.slices},
            )

    @contextmanager
    def reading(self) -> Iterator[None]:
        """See `Source.reading`."""
        from connectors.mysql.jdbc_errors import jdbc_errors

        with jdbc_errors(self.reader):
            yield

    def count(self, dataset: Dataset, plan: SourcePlan) -> dict[int, int]:
        with self._long_session(dataset, self.reader) as session:
            self.dialect.pin(session, plan.snapshot)
            return {
                piece.id: int(
                    session.value(
                        f"SELECT COUNT(*) FROM {_table(dataset).quoted} WHERE {_predicate(dataset, plan, piece)}"
                    )
                )
                for piece in plan.slices
            }

    def version_columns(self, dataset: Dataset) -> tuple[str, ...]:
        cursor = _options(dataset).cursor
        return (cursor,) if cursor else ()

    def _pin(self, session: Session, snapshot: Mapping[str, JsonValue] | None) -> str | None:
        """Pin a session to a snapshot; a warning where its server had to be waited for."""
        before = time.monotonic()
        self.dialect.pin(session, snapshot)
        waited = time.monotonic() - before
        return (
            f"reader {self.reader.address} was behind the writer: waited {waited:.1f} s for it" if waited > 1 else None
        )

    @contextmanager
    def _session(self, dataset: Dataset) -> Iterator[Session]:
        """A session on the reader, a server of the right kind; errors leave it naming pipeline and dataset."""
        with _located(dataset), open_session(self.reader) as session:
            self.dialect.check(session)
            yield session

    @contextmanager
    def _long_session(self, dataset: Dataset, server: Connection) -> Iterator[Session]:
        """The same on a given server, for statements that take their time."""
        with _located(dataset):
            # A server that takes connections and then says nothing is found out in seconds.
            with open_session(server) as session:
                self.dialect.check(session)
            with open_session(server, read_timeout_seconds(server)) as session:
                yield session


class AuroraSource(MySQLSource):
    """Aurora MySQL; MySQL and MariaDB are read the same way."""

    dialect = InnoDB()


class TiDBSource(MySQLSource):
    """TiDB, everything of one plan at one `tidb_snapshot`."""

    dialect = TiDB()


@contextmanager
def _located(dataset: Dataset) -> Iterator[None]:
    try:
        yield
    except LakeferryError as error:
        raise error.located(pipeline=dataset.pipeline, dataset=dataset.name) from error.__cause__


def _options(dataset: Dataset) -> MySQLOptions:
    options = dataset.options
    assert isinstance(options, MySQLOptions)
    return options


def _table(dataset: Dataset) -> TableName:
    return TableName.parse(_options(dataset).table)


def _predicate(dataset: Dataset, plan: SourcePlan, piece: Slice) -> str:
    """Window and slice as one condition."""
    cursor = _options(dataset).cursor
    window = window_predicate(cursor, plan.window) if cursor and plan.window else "TRUE"
    return f"{window} AND {slice_predicate(piece, plan.columns, _table(dataset))}"


def _check_key(dataset: Dataset, description: Description, table: TableName) -> None:
    names = [column.name for column in description.columns]
    for column in dataset.primary_key:
        if column not in names:
            raise ObjectNotFound(f"primary_key {column!r} is not a column of {table}", choices=names)


def _check_columns(plan: SourcePlan, now: Description, table: TableName) -> None:
    types = {column.name: column.source_type for column in now.columns}
    for column in plan.columns:
        found = types.get(column.name)
        if found != column.source_type:
            change = "is gone" if found is None else f"is {found} now"
            raise SourceMoved(
                f"column {column.name!r} of {table} {change}; planned was {column.source_type}", fix="Plan again"
            )


def _held_back(now: datetime, lag_seconds: int, oldest: datetime | None) -> str | None:
    """A warning where an open transaction, not the lag, ends the window."""
    if oldest is None or (now - oldest).total_seconds() <= lag_seconds:
        return None
    since = cursor_literal(oldest.replace(microsecond=0))
    return f"the window ends at {since} UTC: a transaction is open since then, {now - oldest} by now"
