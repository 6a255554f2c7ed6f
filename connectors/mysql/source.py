"""Aurora MySQL and TiDB as sources: one implementation with two dialects."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from pydantic import JsonValue

from connectors.base import (
    Column,
    Description,
    FingerprintOf,
    KeyScanPlan,
    ReadPlan,
    ReadRequest,
    Slice,
    SliceReader,
    Source,
    SourceSettings,
    Window,
)
from connectors.capabilities import ArrowSource, KeyScanSource, SamplingSource
from connectors.connection import Connection
from connectors.errors import LakeferryError, ObjectNotFound, UnsupportedType, WindowUnfit
from connectors.mysql.dialects.dialects import SNAPSHOT_KEY, Dialect, InnoDB, TiDB
from connectors.mysql.options import MySQLOptions
from connectors.mysql.proof.fingerprints import spark_fingerprint
from connectors.mysql.schema.bigquery_types import with_parsed
from connectors.mysql.schema.column_changes import check_columns_unchanged
from connectors.mysql.schema.column_types import column_type, is_known
from connectors.mysql.schema.tables import TableName, column_types, describe_table, primary_key
from connectors.mysql.sessions.connection_budget import budget_of
from connectors.mysql.sessions.replica import reader_of, same_server, usual_wait_seconds
from connectors.mysql.sessions.session import Session, open_session, read_timeout_seconds
from connectors.mysql.sessions.tls import with_authority_as_text
from connectors.mysql.sessions.writers import declared_role, doubt_about
from connectors.mysql.slicing.split import WindowRows, cut_within, slice_predicate, split
from connectors.mysql.sql import quote_identifier
from connectors.mysql.windows.cursor_warnings import check_options, examine_cursor, rows_without_value
from connectors.mysql.windows.cursors import Cursor, find_cursor, unindexed
from connectors.mysql.windows.older_rows import count_older
from connectors.mysql.windows.unseen_changes import cascade_warnings, key_warnings
from connectors.mysql.windows.window import Clock, plan_window, position_at, unproved_writer

if TYPE_CHECKING:
    from pyspark.sql import Column as SparkColumn
    from pyspark.sql import DataFrame, SparkSession


SAMPLED_CHARACTERS = 200


class MySQLSource(Source, ArrowSource, KeyScanSource, SamplingSource):
    """A table of a MySQL-speaking server, read by several key ranges in parallel, each over its own connection.

    If the server has snapshots (TiDB), a plan always reads the same rows. If it has none, a row that has moved on by
    the time of the read is read by the window to which it moved.
    """

    Options = MySQLOptions
    dialect: ClassVar[Dialect]

    def __init__(self, connection: Connection, settings: SourceSettings | None = None) -> None:
        super().__init__(connection, settings)
        self._first_look = Clock(once=True)

    @property
    def _clock(self) -> Clock:
        return self._first_look if self.settings.plans_one_run else Clock(once=False)

    @property
    def reader(self) -> Connection:
        """The connection on which tables are described, counted and read."""
        return reader_of(self.connection)

    def ping(self) -> str:
        with budget_of(self.connection).taken():
            with open_session(self.connection) as session:
                product = self.dialect.product(session)
            if self.reader == self.connection:
                return product
            with open_session(self.reader) as session:
                return f"{product}, reader {self.reader.address}: {self.dialect.product(session)}"

    def describe(self, dataset: ReadRequest) -> Description:
        with self._session(dataset) as session:
            options = _options(dataset)
            description = describe_table(session, _table(dataset), options.zero_dates)
            return with_parsed(description, options.parsed_json, options.geography, _table(dataset))

    def plan(self, dataset: ReadRequest, position: Mapping[str, JsonValue] | None, window: Window | None) -> ReadPlan:
        """See `Source.plan`. Without a cursor the whole table is read, and the position is `{}`.

        Raises:
            WindowUnfit: a window is requested without a cursor, or is not of the cursor's kind.
            UsageError: a requested window ends before it starts.
            CheckFailed: there are rows without a cursor value.
            UnsupportedType: a column, or the cursor, has a type that cannot be read exactly.
        """
        options = _options(dataset)
        table = _table(dataset)
        if window is not None and not options.cursor:
            raise WindowUnfit(
                f"{table} is read whole: it has no cursor, so it accepts no window",
                pipeline=dataset.pipeline,
                dataset=dataset.name,
                fix="Run it without start and end, or give the dataset a cursor",
            )
        has_reader = self.reader != self.connection
        with ExitStack() as sessions:
            # Time and transactions come from the writer; rows are examined on the server that will read them.
            session = sessions.enter_context(self._long_session(dataset, self.connection))
            described = describe_table(session, table, options.zero_dates)
            description = with_parsed(described, options.parsed_json, options.geography, table)
            _check_key(dataset, description, table)
            _check_lossy_columns(options, description, table)
            zone = options.cursor_time_zone
            cursor = find_cursor(description, table, options.cursor, zone) if options.cursor else None
            planned, findings = None, None
            if cursor is not None and window is not None:
                # Refuse it before waiting for anything: see `settled_number`.
                cursor.check_window(window)
            if cursor is not None:
                check_options(cursor, table, options)
                planned = plan_window(
                    session, self.dialect, table, cursor, options, position, window, has_reader, self._clock
                )
                if window is None:
                    findings = examine_cursor(
                        session, description, table, cursor, options, planned, position, dataset.masked_columns
                    )
            warnings = list(planned.warnings) if planned else []
            doubt = doubt_about(session) if planned is None else None
            if doubt and (late := doubt.for_whole_read(self.connection)):
                warnings.append(late)
            snapshot = planned.snapshot if planned else self.dialect.freeze(session, has_reader)
            if snapshot is None and declared_role(self.connection) is None and not (doubt and doubt.certain):
                snapshot = same_server(session)
            waited = None
            if has_reader:
                session = sessions.enter_context(self._long_session(dataset, self.reader))
                waited = self._pin(session, snapshot)
            if cursor is None or planned is None:
                # Every run reads every row; if there is a key, unchanged rows are left out.
                read_plan = ReadPlan(
                    columns=description.columns, position={}, overlaps_published=bool(dataset.primary_key)
                )
            else:
                nulls = rows_without_value(session, description, table, cursor, options.null_cursors)
                # An explicit window is read exactly as requested.
                nulls = nulls if window is None else None
                read_plan = ReadPlan(
                    columns=description.columns,
                    window=planned.window,
                    overlap_start=planned.overlap_start,
                    null_cursors=nulls,
                    overlaps_published=planned.overlaps_published or nulls is not None,
                    position=None if window is not None else position_at(cursor, planned.window),
                    watched=findings.watched if findings else None,
                    waiting=planned.waiting,
                )
            missing_index = unindexed(description, table, cursor.column) if cursor is not None else None
            warnings += findings.warnings if findings else ()
            condition = _read_condition(cursor, read_plan)
            indexed = cursor and cursor.column in description.indexed and read_plan.null_cursors is None
            column = next((c for c in description.columns if indexed and cursor and c.name == cursor.column), None)
            window_rows = WindowRows(condition, column) if condition else None
            slices = self._split(session, dataset, description.columns, window_rows)
        plan_warnings = tuple(warning for warning in (waited, missing_index, *warnings) if warning)
        key = description.primary_key
        # A key occurs once in one statement and in one snapshot. In ranges of the key, each key lies in one of them.
        keys_are_apart = (
            len(slices) <= 1 or SNAPSHOT_KEY in (snapshot or {}) or all(cut_within(slice_, key) for slice_ in slices)
        )
        keys = {
            "primary_key": key,
            "unique_keys": description.unique_keys,
            "keys_are_unique": bool(key) and keys_are_apart,
        }
        return read_plan.model_copy(update={"slices": slices, "snapshot": snapshot, "warnings": plan_warnings, **keys})

    def plan_key_scan(self, dataset: ReadRequest, plan: ReadPlan) -> KeyScanPlan:
        """See `KeyScanSource.plan_key_scan`. Without snapshots the keys are those that exist when they are read.

        Raises:
            ConfigurationError, ServiceUnavailable: the server is not the writer: rows that have not reached it would
                look like deletes.
        """
        table = _table(dataset)
        if not _options(dataset).cursor:
            # For a read by windows, planning has refused such a server already.
            with self._session(dataset, self.connection) as session:
                unproved_writer(session)
        with self._long_session(dataset, self.reader) as session:
            clock = session.value("SELECT UTC_TIMESTAMP(6)")
            self.dialect.pin(session, plan.snapshot)
            wanted = {*dataset.primary_key, *describe_table(session, table).primary_key, *_options(dataset).cursor}
            slices = self._split(session, dataset, plan.columns, None)
        read = ReadPlan(
            columns=tuple(column for column in plan.columns if column.name in wanted),
            # If the table is empty now, plan one unbounded slice: rows may be inserted before the read.
            slices=slices or (Slice(id=0, detail={}),),
            snapshot=plan.snapshot,
        )
        return KeyScanPlan(read=read, clock=f"{clock.isoformat(timespec='microseconds')}+00:00")

    def read(
        self, spark: SparkSession, dataset: ReadRequest, plan: ReadPlan, fingerprint: FingerprintOf = "nothing"
    ) -> DataFrame:
        """See `Source.read`: a `slice_reader` in Spark's tasks. Raises the errors of `slice_reader`."""
        from connectors.mysql.spark_read import read_slices

        reader = self.slice_reader(dataset, plan, fingerprint)
        ids = [slice_.id for slice_ in plan.slices]
        # A partition reads its slices one after the other, so there are as many open connections as running tasks.
        with self.connections(plan) as connections:
            return read_slices(spark, reader, plan.columns, ids, connections, fingerprint)

    def slice_reader(
        self, dataset: ReadRequest, plan: ReadPlan, fingerprint: FingerprintOf = "nothing", counted: bool = True
    ) -> SliceReader:
        """See `ArrowSource.slice_reader`. The plan is tested first, so that errors are raised here and not in tasks.

        Raises:
            SourceMoved: the snapshot was collected, a planned column is gone or has another type, or the table's
                primary key is another.
        """
        from connectors.mysql.slice_reader import MySQLSliceReader

        table, options = _table(dataset), _options(dataset)
        with self._session(dataset) as session:
            self.dialect.pin(session, plan.snapshot)
            described = describe_table(session, table)
            now = {column.name: column.source_type for column in described.columns}
            check_columns_unchanged(plan, now, described.primary_key, table)
        return MySQLSliceReader(
            pipeline=dataset.pipeline,
            dataset=dataset.name,
            connection=with_authority_as_text(self.reader),
            table=table,
            columns=plan.columns,
            conditions={slice_.id: _predicate(dataset, plan, slice_) for slice_ in plan.slices},
            variables=self.dialect.session_variables(plan.snapshot),
            snapshot=plan.snapshot,
            transaction=self.dialect.transaction,
            zero_dates=options.zero_dates,
            fingerprint=fingerprint,
            counted=counted,
            masked_columns=dataset.masked_columns,
            required=options.cursor[0] if plan.null_cursors == "quarantine" else None,
        )

    def slices_at_once(self) -> int:
        """See `ArrowSource.slices_at_once`."""
        return budget_of(self.connection).most

    @contextmanager
    def connections(self, plan: ReadPlan) -> Iterator[int]:
        """See `Source.connections`: one connection per slice, as far as `max_connections` has them free."""
        from connectors.spark_errors import errors_of_workers

        with budget_of(self.connection).taken(len(plan.slices)) as connections, errors_of_workers():
            yield connections

    def fingerprint(self, dataset: ReadRequest, plan: ReadPlan, of: FingerprintOf) -> SparkColumn | None:
        from pyspark.sql import functions as F

        zero_dates = _options(dataset).zero_dates
        return spark_fingerprint(
            [(F.col(quote_identifier(c.name)), column_type(c.source_type, zero_dates)) for c in plan.columns], of
        )

    def check_unchanged(self, dataset: ReadRequest, plan: ReadPlan) -> None:
        """See `Source.check_unchanged`. A statement locks its table's columns, so a change can only happen between two
        statements: between a slice read before the change and one read after it."""
        table = _table(dataset)
        with self._session(dataset) as session:
            self.dialect.pin(session, plan.snapshot)
            check_columns_unchanged(plan, column_types(session, table), primary_key(session, table), table)

    def count(self, dataset: ReadRequest, plan: ReadPlan) -> dict[int, int]:
        with self._long_session(dataset, self.reader) as session:
            self.dialect.pin(session, plan.snapshot)
            return {
                slice_.id: int(
                    session.value(
                        f"SELECT COUNT(*) FROM {_table(dataset).quoted} WHERE {_predicate(dataset, plan, slice_)}"
                    )
                )
                for slice_ in plan.slices
            }

    def sample(self, dataset: ReadRequest, columns: Sequence[str], limit: int) -> list[tuple[str | None, ...]]:
        """Returns half of the rows from each end of the primary key, read by its index; any rows without a key."""
        if not columns:
            return []
        table = _table(dataset)
        named = ", ".join(f"LEFT(CAST({quote_identifier(column)} AS CHAR), {SAMPLED_CHARACTERS})" for column in columns)
        with self._session(dataset) as session:
            key = describe_table(session, table).primary_key
            if not key:
                return session.rows(f"SELECT {named} FROM {table.quoted} LIMIT {limit:d}")
            ends = [", ".join(f"{quote_identifier(column)}{order}" for column in key) for order in ("", " DESC")]
            samples = [
                session.rows(f"SELECT {named} FROM {table.quoted} ORDER BY {end} LIMIT {limit // 2:d}") for end in ends
            ]
        return [row for rows in samples for row in rows]

    def unseen_changes(self, dataset: ReadRequest, *, swept: bool, may_respell: bool) -> tuple[str, ...]:
        """See `Source.unseen_changes`: foreign keys that do not move the cursor, and keys with a coarse collation."""
        table, cursor, key = _table(dataset), _options(dataset).cursor, dataset.primary_key
        if not cursor and not may_respell:
            return ()
        with self._session(dataset) as session:
            respelled = key_warnings(session, table, key) if may_respell else ()
            cascades = cascade_warnings(session, table, cursor[0], key, swept=swept) if cursor else ()
        return (*respelled, *cascades)

    def count_older(self, dataset: ReadRequest, plan: ReadPlan, column: str, before: datetime) -> int | None:
        cursor = _cursor(dataset, plan)
        with self._long_session(dataset, self.reader) as session:
            return count_older(session, _table(dataset), plan, _read_condition(cursor, plan), column, before)

    @classmethod
    def version_columns(cls, dataset: ReadRequest) -> tuple[str, ...]:
        return _options(dataset).cursor

    def _split(
        self, session: Session, dataset: ReadRequest, columns: Sequence[Column], window: WindowRows | None
    ) -> tuple[Slice, ...]:
        return split(
            session,
            _table(dataset),
            columns,
            self.settings.rows_per_slice,
            window=window,
            estimate_rows=self.dialect.row_estimator(session, _table(dataset)),
            region_boundaries=self.dialect.region_boundaries,
            masked_columns=dataset.masked_columns,
            estimate_resolution=self.dialect.estimate_resolution,
        )

    def _pin(self, session: Session, snapshot: Mapping[str, JsonValue] | None) -> str | None:
        """Pins a session to a snapshot; returns a warning if it had to wait for the server."""
        before = time.monotonic()
        self.dialect.pin(session, snapshot)
        waited = time.monotonic() - before
        if waited <= usual_wait_seconds(snapshot):
            return None
        return f"reader {self.reader.address} was behind the writer: waited {waited:.1f} s for it"

    @contextmanager
    def _session(self, dataset: ReadRequest, server: Connection | None = None) -> Iterator[Session]:
        """Opens a session on a server of the right kind, by default the reader. Errors name pipeline and dataset."""
        with _located(dataset), budget_of(self.connection).taken(), open_session(server or self.reader) as session:
            self.dialect.check(session)
            yield session

    @contextmanager
    def _long_session(self, dataset: ReadRequest, server: Connection) -> Iterator[Session]:
        """Opens such a session on a given server, for statements that take long."""
        with _located(dataset), budget_of(self.connection).taken():
            # Try a short timeout first: it finds a server that accepts connections and then says nothing in seconds.
            with open_session(server) as session:
                self.dialect.check(session)
            with open_session(server, read_timeout_seconds(server)) as session:
                yield session


class AuroraSource(MySQLSource):
    """Aurora MySQL. MySQL and MariaDB are read the same way."""

    dialect = InnoDB()


class TiDBSource(MySQLSource):
    """TiDB. All reads of one plan use one `tidb_snapshot`."""

    dialect = TiDB()


@contextmanager
def _located(dataset: ReadRequest) -> Iterator[None]:
    try:
        yield
    except LakeferryError as error:
        raise error.located(pipeline=dataset.pipeline, dataset=dataset.name) from error.__cause__


def _options(dataset: ReadRequest) -> MySQLOptions:
    options = dataset.options
    assert isinstance(options, MySQLOptions)
    return options


def _table(dataset: ReadRequest) -> TableName:
    return TableName.parse(_options(dataset).table)


def _predicate(dataset: ReadRequest, plan: ReadPlan, slice_: Slice) -> str:
    """Returns window and slice as one condition."""
    return slice_predicate(slice_, plan.columns, _read_condition(_cursor(dataset, plan), plan))


def _cursor(dataset: ReadRequest, plan: ReadPlan) -> Cursor | None:
    names = _options(dataset).cursor
    return find_cursor(Description(columns=plan.columns), _table(dataset), names) if names else None


def _read_condition(cursor: Cursor | None, plan: ReadPlan) -> str | None:
    """Returns the condition for a plan's rows: its window, the rows it reads again, and rows that no window holds. None
    means all rows."""
    window = plan.window
    if cursor is None or window is None or (window.start is None and window.end is None):
        return None
    condition = cursor.predicate(Window(start=plan.overlap_start or window.start, end=window.end))
    return f"({condition} OR {cursor.no_value})" if plan.null_cursors else condition


def _check_key(dataset: ReadRequest, description: Description, table: TableName) -> None:
    names = [column.name for column in description.columns]
    for column in dataset.primary_key:
        if column not in names:
            raise ObjectNotFound(
                f"primary_key {column!r} is not a column of {table}", choices=names, key=("primary_key",)
            )


def _check_lossy_columns(options: MySQLOptions, description: Description, table: TableName) -> None:
    names = [column.name for column in description.columns]
    for name in options.accept_lossy:
        if name not in names:
            raise ObjectNotFound(
                f"accept_lossy {name!r} is not a column of {table}", choices=names, key=("accept_lossy",)
            )
    unknown = [c for c in description.columns if not is_known(c.source_type)]
    for column in unknown:
        if column.name not in options.accept_lossy:
            raise UnsupportedType(
                f"column {column.name!r} of {table} is {column.source_type}, a type Lakeferry does not know: read as "
                "the server's text it may lose something",
                fix=f"Write accept_lossy: [{', '.join(c.name for c in unknown)}] to take the text, or read a view of "
                f"{table} that converts the column",
                key=("accept_lossy",),
            )
