"""Aurora MySQL and TiDB as sources: two dialects of one implementation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import JsonValue

from connectors.base import Dataset, Description, FingerprintOf, KeyRead, Slice, Source, SourcePlan, Window
from connectors.errors import LakeferryError, ObjectNotFound, SourceMoved, UnsupportedType, UsageError
from connectors.mysql.column_types import column_type
from connectors.mysql.connection_budget import budget_of
from connectors.mysql.cursors import Cursor, find_cursor, unindexed
from connectors.mysql.dialects import Dialect, InnoDB, TiDB
from connectors.mysql.fingerprints import spark_fingerprint
from connectors.mysql.options import MySQLOptions
from connectors.mysql.session import LONG_READ_TIMEOUT, SHORT_READ_TIMEOUT, Session, jdbc_options, open_session
from connectors.mysql.slices import WindowRows, slice_predicate, split
from connectors.mysql.sql import quote_identifier
from connectors.mysql.tables import TableName, describe_table
from connectors.mysql.window import POSITION_KEY, may_be_null, plan_window, refuse_null_cursors

if TYPE_CHECKING:
    from pyspark.sql import Column as SparkColumn
    from pyspark.sql import DataFrame, SparkSession


SAMPLED_CHARACTERS = 200


class MySQLSource(Source):
    """A table of a MySQL-speaking server, read by key ranges at once through Spark's JDBC source.

    Where the server has snapshots (TiDB) a plan reads the same rows for ever; where it has none, a row
    that has moved on by the time of the read is read by the window it moved to.
    """

    Options = MySQLOptions
    shows_deletes = True
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
        if window is not None and not options.cursor:
            raise UsageError(
                f"{table} is read whole: it has no cursor, so a window means nothing",
                pipeline=dataset.pipeline,
                dataset=dataset.name,
                fix="Run it without start and end, or give the dataset a cursor",
            )
        with self._session(dataset, LONG_READ_TIMEOUT) as session:
            description = describe_table(session, table, options.zero_dates)
            _check_key(dataset, description, table)
            _refuse_lossy(options, description, table)
            cursor = find_cursor(description, table, options.cursor) if options.cursor else None
            if cursor is None:
                snapshot = self.dialect.freeze(session)
                # Every run reads every row; with a key, those that have not changed are left out.
                found = SourcePlan(columns=description.columns, position={}, rereads=bool(dataset.primary_key))
            else:
                planned = plan_window(session, self.dialect, table, cursor, options, position, window)
                snapshot = planned.snapshot
                nulls: Literal["include", "quarantine"] | None = None
                if options.null_cursors == "refuse":
                    refuse_null_cursors(session, description, table, cursor.column)
                elif window is None and may_be_null(description, cursor.column):
                    nulls = options.null_cursors
                found = SourcePlan(
                    columns=description.columns,
                    window=planned.window,
                    reread_from=planned.reread_from,
                    null_cursors=nulls,
                    rereads=planned.reread_from is not None or nulls is not None,
                    position=None if window is not None else {POSITION_KEY: planned.window.end},
                    warnings=tuple(
                        text for text in (unindexed(description, table, cursor.column), *planned.warnings) if text
                    ),
                )
            condition = _read_condition(cursor, found)
            indexed = cursor and cursor.column in description.indexed and found.null_cursors is None
            column = next((c for c in description.columns if indexed and cursor and c.name == cursor.column), None)
            slices = split(
                session,
                table,
                description.columns,
                self.rows_per_slice,
                window=WindowRows(condition, column) if condition else None,
                explain=self.dialect.explainer(session, table),
                hidden=dataset.hidden,
            )
        return found.model_copy(update={"slices": slices, "snapshot": snapshot})

    def plan_keys(self, dataset: Dataset, plan: SourcePlan) -> KeyRead:
        """See `Source.plan_keys`. Without snapshots the keys are those there are when they are read."""
        table = _table(dataset)
        with self._session(dataset, LONG_READ_TIMEOUT) as session:
            clock = session.value("SELECT UTC_TIMESTAMP(6)")
            self.dialect.pin(session, plan.snapshot)
            wanted = {*dataset.primary_key, *describe_table(session, table).primary_key, *_options(dataset).cursor[:1]}
            slices = split(
                session,
                table,
                plan.columns,
                self.rows_per_slice,
                explain=self.dialect.explainer(session, table),
                hidden=dataset.hidden,
            )
        read = SourcePlan(
            columns=tuple(column for column in plan.columns if column.name in wanted),
            # Of a table that is empty now the whole is read: a row may have come by then.
            slices=slices or (Slice(id=0, detail={}),),
            snapshot=plan.snapshot,
        )
        return KeyRead(read=read, clock=f"{clock.isoformat(timespec='microseconds')}+00:00")

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
                _options(dataset).cursor[0] if plan.null_cursors == "quarantine" else None,
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
        return _options(dataset).cursor

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
    description = Description(columns=plan.columns)
    names = _options(dataset).cursor
    cursor = find_cursor(description, _table(dataset), names) if names else None
    return slice_predicate(piece, plan.columns, _read_condition(cursor, plan))


def _read_condition(cursor: Cursor | None, plan: SourcePlan) -> str | None:
    """The rows of a plan: its window, what it looks back at, and rows no window holds; None for all rows."""
    window = plan.window
    if cursor is None or window is None or (window.start is None and window.end is None):
        return None
    condition = cursor.predicate(Window(start=plan.reread_from or window.start, end=window.end))
    return f"({condition} OR {quote_identifier(cursor.column)} IS NULL)" if plan.null_cursors else condition


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
