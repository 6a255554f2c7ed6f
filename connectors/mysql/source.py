"""Aurora MySQL and TiDB as sources: two dialects of one implementation."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, JsonValue, field_validator, model_validator

from connectors.base import Dataset, Description, FingerprintOf, Source, SourceOptions, SourcePlan, Window
from connectors.errors import LakeferryError, ObjectNotFound, SourceMoved, UnsupportedType, UsageError
from connectors.mysql.column_types import ZeroDates, column_type
from connectors.mysql.connection_budget import budget_of
from connectors.mysql.dialects import Dialect, InnoDB, OpenTransactions, TiDB
from connectors.mysql.fingerprints import spark_fingerprint
from connectors.mysql.session import LONG_READ_TIMEOUT, SHORT_READ_TIMEOUT, Session, jdbc_options, open_session
from connectors.mysql.slices import WindowRows, slice_predicate, split
from connectors.mysql.sql import quote_identifier
from connectors.mysql.tables import TableName, describe_table
from connectors.mysql.window import (
    POSITION_KEY,
    check_cursor,
    cursor_literal,
    lookback_start,
    refuse_null_cursors,
    requested_window,
    scheduled_window,
    window_bound,
    window_predicate,
)

if TYPE_CHECKING:
    from pyspark.sql import Column as SparkColumn
    from pyspark.sql import DataFrame, SparkSession

    from connectors.base import Slice


SAMPLED_CHARACTERS = 200


class MySQLOptions(SourceOptions):
    """Keys of a dataset read from a table.

    `cursor` is a DATETIME (holding UTC) or TIMESTAMP column that each change of a row moves forward;
    without one every run reads the whole table. `lag_seconds` is how far behind the server's clock a
    window ends: the longest a row may take from getting its cursor value to being committed; at least
    one, since a cursor of whole seconds says of a row written at 10:00:00.9 that it is of 10:00:00.
    `lookback_seconds` reads that much before the window again and publishes what raw lacks: rows that
    were committed later than `lag_seconds` allows for. `zero_dates` says what becomes of dates like
    `0000-00-00`. `accept_lossy` names columns of types the ledger does not know.
    """

    table: str = Field(description="database.table")
    cursor: str | None = Field(default=None, min_length=1, max_length=64, description="DATETIME or TIMESTAMP column")
    lag_seconds: int = Field(
        default=300, ge=1, le=86_400, description="seconds a window ends behind the server's clock"
    )
    lookback_seconds: int = Field(
        default=0, ge=0, le=31 * 86_400, description="seconds before the window that are read again"
    )

    zero_dates: ZeroDates = Field(default="quarantine", description="quarantine, null or text")
    accept_lossy: list[str] = Field(default_factory=list, description="columns that may lose something")

    @field_validator("zero_dates", mode="before")
    @classmethod
    def _bare_null(cls, value: object) -> object:
        # YAML reads the bare word as no value.
        return "null" if value is None else value

    @field_validator("table")
    @classmethod
    def _named_in_full(cls, value: str) -> str:
        # MySQL's rule for names, less the dot, which separates here.
        if not re.fullmatch(r"[^.`\0/\\]{1,64}\.[^.`\0/\\]{1,64}", value):
            raise ValueError("a table is written database.table")
        return value

    @model_validator(mode="after")
    def _lookback_has_a_cursor(self) -> Self:
        if self.lookback_seconds and self.cursor is None:
            raise ValueError("lookback_seconds needs a cursor; without one the whole table is read anyway")
        return self


class MySQLSource(Source):
    """A table of a MySQL-speaking server, read by key ranges at once through Spark's JDBC source.

    Where the server has snapshots (TiDB) a plan reads the same rows for ever; where it has none, a row
    that has moved on by the time of the read is read by the window it moved to.
    """

    Options = MySQLOptions
    dialect: ClassVar[Dialect]
    rows_per_slice: int = 500_000
    """Rows a slice aims at; the caller may set it."""

    def ping(self) -> str:
        with budget_of(self.connection).taken(), open_session(self.connection) as session:
            return self.dialect.product(session)

    def describe(self, dataset: Dataset) -> Description:
        with self._session(dataset) as session:
            return describe_table(session, _table(dataset), _options(dataset).zero_dates)

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
        with self._session(dataset, LONG_READ_TIMEOUT) as session:
            # The order matters: what is committed neither before the look at open transactions nor by
            # one of them began after the clock was read, so its cursor lies behind the window's end.
            now = session.value("SELECT UTC_TIMESTAMP(6)")
            transactions = self.dialect.open_transactions(session) if options.cursor else OpenTransactions()
            snapshot = self.dialect.freeze(session)
            description = describe_table(session, table, options.zero_dates)
            _check_key(dataset, description, table)
            _refuse_lossy(options, description, table)
            warnings: list[str] = []
            planned: Window | None = None
            reread_from: str | None = None
            if options.cursor is not None:
                unindexed = check_cursor(description, table, options.cursor)
                refuse_null_cursors(session, description, table, options.cursor)
                bound = window_bound(now, options.lag_seconds, transactions.oldest)
                planned = scheduled_window(position, bound) if window is None else requested_window(window, bound)
                if window is None:
                    reread_from = lookback_start(planned, options.lookback_seconds)
                held = _held_back(now, options.lag_seconds, transactions.oldest) if window is None else None
                warnings = [text for text in (unindexed, transactions.warning, held) if text]
            slices = split(
                session,
                table,
                description.columns,
                self.rows_per_slice,
                window=_window_rows(options.cursor, planned, reread_from, description),
                explain=self.dialect.explainer(session, table),
                hidden=dataset.hidden,
                finest_share=self.dialect.finest_share,
            )
        return SourcePlan(
            columns=description.columns,
            window=planned,
            reread_from=reread_from,
            slices=slices,
            position=None if window is not None else ({POSITION_KEY: planned.end} if planned else {}),
            snapshot=snapshot,
            warnings=tuple(warnings),
        )

    def read(
        self, spark: SparkSession, dataset: Dataset, plan: SourcePlan, fingerprint: FingerprintOf = "nothing"
    ) -> DataFrame:
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
        with budget_of(self.connection).taken(len(plan.slices)) as connections:
            rows = read_slices(
                spark,
                jdbc_options(self.connection, self.dialect.session_variables(plan.snapshot)),
                table,
                plan.columns,
                {piece.id: _predicate(dataset, plan, piece) for piece in plan.slices},
                _options(dataset).zero_dates,
                fingerprint,
                dataset.hidden,
            )
        # A partition reads its slices one after the other, so as many connections are open as tasks run.
        return rows.coalesce(connections) if connections < len(plan.slices) else rows

    @contextmanager
    def reading(self, plan: SourcePlan) -> Iterator[None]:
        """See `Source.reading`: as many connections as slices, as far as `max_connections` has them free."""
        with budget_of(self.connection).taken(len(plan.slices)):
            yield

    def fingerprint(self, dataset: Dataset, plan: SourcePlan, of: FingerprintOf) -> SparkColumn | None:
        from pyspark.sql import functions as F

        zero_dates = _options(dataset).zero_dates
        return spark_fingerprint(
            [(F.col(quote_identifier(c.name)), column_type(c.source_type, zero_dates)) for c in plan.columns], of
        )

    def count(self, dataset: Dataset, plan: SourcePlan) -> dict[int, int]:
        with self._session(dataset, LONG_READ_TIMEOUT) as session:
            self.dialect.pin(session, plan.snapshot)
            return {
                piece.id: int(
                    session.value(
                        f"SELECT COUNT(*) FROM {_table(dataset).quoted} WHERE {_predicate(dataset, plan, piece)}"
                    )
                )
                for piece in plan.slices
            }

    def sample(self, dataset: Dataset, columns: Sequence[str], limit: int) -> list[tuple[str | None, ...]]:
        """Half from each end of the primary key, read by its index; any rows where there is none."""
        if not columns:
            return []
        table = _table(dataset)
        named = ", ".join(f"LEFT(CAST({quote_identifier(column)} AS CHAR), {SAMPLED_CHARACTERS})" for column in columns)
        with self._session(dataset) as session:
            key = describe_table(session, table).primary_key
            if not key:
                return session.rows(f"SELECT {named} FROM {table.quoted} LIMIT {limit:d}")
            ends = [", ".join(f"{quote_identifier(column)}{order}" for column in key) for order in ("", " DESC")]
            found = [
                session.rows(f"SELECT {named} FROM {table.quoted} ORDER BY {end} LIMIT {limit // 2:d}") for end in ends
            ]
        return [row for rows in found for row in rows]

    def version_columns(self, dataset: Dataset) -> tuple[str, ...]:
        cursor = _options(dataset).cursor
        return (cursor,) if cursor else ()

    @contextmanager
    def _session(self, dataset: Dataset, read_timeout: int = SHORT_READ_TIMEOUT) -> Iterator[Session]:
        """A session on a server of the right kind; errors leave it naming pipeline and dataset."""
        try:
            with budget_of(self.connection).taken():
                if read_timeout > SHORT_READ_TIMEOUT:
                    # A server that takes connections and then says nothing is found out in seconds.
                    self.ping()
                with open_session(self.connection, read_timeout) as session:
                    self.dialect.check(session)
                    yield session
        except LakeferryError as error:
            raise error.located(pipeline=dataset.pipeline, dataset=dataset.name) from error.__cause__


class AuroraSource(MySQLSource):
    """Aurora MySQL; MySQL and MariaDB are read the same way."""

    dialect = InnoDB()


class TiDBSource(MySQLSource):
    """TiDB, everything of one plan at one `tidb_snapshot`."""

    dialect = TiDB()


def _options(dataset: Dataset) -> MySQLOptions:
    options = dataset.options
    assert isinstance(options, MySQLOptions)
    return options


def _table(dataset: Dataset) -> TableName:
    return TableName.parse(_options(dataset).table)


def _predicate(dataset: Dataset, plan: SourcePlan, piece: Slice) -> str:
    """Window and slice as one condition."""
    return slice_predicate(
        piece, plan.columns, _window_predicate(_options(dataset).cursor, plan.window, plan.reread_from)
    )


def _window_rows(
    cursor: str | None, window: Window | None, reread_from: str | None, description: Description
) -> WindowRows | None:
    predicate = _window_predicate(cursor, window, reread_from)
    if predicate is None:
        return None
    column = next(column for column in description.columns if column.name == cursor)
    return WindowRows(predicate, column if cursor in description.indexed else None)


def _window_predicate(cursor: str | None, window: Window | None, reread_from: str | None) -> str | None:
    """The rows of a window, and of the time looked back at; None where nothing bounds them."""
    if cursor is None or window is None or (window.start is None and window.end is None):
        return None
    return window_predicate(cursor, Window(start=reread_from or window.start, end=window.end))


def _check_key(dataset: Dataset, description: Description, table: TableName) -> None:
    names = [column.name for column in description.columns]
    for column in dataset.primary_key:
        if column not in names:
            raise ObjectNotFound(f"primary_key {column!r} is not a column of {table}", choices=names)


def _refuse_lossy(options: MySQLOptions, description: Description, table: TableName) -> None:
    names = [column.name for column in description.columns]
    for name in options.accept_lossy:
        if name not in names:
            raise ObjectNotFound(f"accept_lossy {name!r} is not a column of {table}", choices=names)
    unknown = [c for c in description.columns if column_type(c.source_type).verdict == "lossy"]
    for column in unknown:
        if column.name not in options.accept_lossy:
            raise UnsupportedType(
                f"column {column.name!r} of {table} is {column.source_type}, a type Lakeferry does not know: read as "
                "the server's text it may lose something",
                fix=f"Write accept_lossy: [{', '.join(c.name for c in unknown)}] to take the text, or read a view of "
                f"{table} that converts the column",
            )


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
