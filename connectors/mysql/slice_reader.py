"""Reads a plan's slices in Spark's tasks: one connection per slice, its count and its rows at one snapshot."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import pyarrow as pa
import pymysql
from pydantic import JsonValue
from pymysql.constants import ER

from connectors.base import Column, FingerprintOf, OpenSlice, SliceReader
from connectors.connection import Connection
from connectors.errors import LakeferryError, ServiceError
from connectors.mysql.proof.arrow_fingerprints import altered_rows
from connectors.mysql.proof.fingerprints import server_fingerprint
from connectors.mysql.schema.character_sets import altered_on_server
from connectors.mysql.schema.column_types import ColumnType, ZeroDates, column_type
from connectors.mysql.schema.tables import TableName
from connectors.mysql.sessions.replica import prove_by_writer, refuted
from connectors.mysql.sessions.session import open_session, read_timeout_seconds
from connectors.mysql.sql import quote_identifier
from connectors.mysql.wire.decoding import RowDecoder
from connectors.mysql.wire.packets import Rows, wait_up_to
from connectors.mysql.wire.read_errors import read_errors


@dataclass(frozen=True)
class MySQLSliceReader(SliceReader):
    """The slices of a plan of one table.

    `connection` is the server from which rows are read; its `ssl_ca` is PEM text, as executors do not have the driver's
    files. `variables` pin a session to the plan's `snapshot`; `transaction` opens a snapshot if a session cannot be
    pinned. `conditions` are the slices by id, as SQL. A row without a value in the `required` column is rejected, and
    no reason shows a value of a masked column.
    """

    pipeline: str
    dataset: str
    connection: Connection
    table: TableName
    columns: tuple[Column, ...]
    conditions: Mapping[int, str] = field(repr=False)
    variables: Mapping[str, str] = field(default_factory=dict)
    snapshot: Mapping[str, JsonValue] | None = None
    transaction: tuple[str, ...] = ()
    zero_dates: ZeroDates = "quarantine"
    fingerprint: FingerprintOf = "nothing"
    counted: bool = True
    masked_columns: frozenset[str] = frozenset()
    required: str | None = None

    @property
    def schema(self) -> pa.Schema:
        return self._decoder.schema

    def only(self, slice_id: int) -> Self:
        """See `SliceReader.only`."""
        return replace(self, conditions={slice_id: self.conditions[slice_id]})

    @contextmanager
    def open(self, slice_id: int) -> Iterator[OpenSlice]:
        """See `SliceReader.open`. On a server without snapshots both statements run in one transaction, and so in one
        read view (MySQL manual, Consistent Nonlocking Reads)."""
        with self._located(), self._connected() as raw:
            with read_errors(self.connection):
                try:
                    source_rows, rows = self._ask(raw, slice_id)
                except pymysql.MySQLError as error:
                    if error.args[:1] != (ER.TABLE_DEF_CHANGED,):
                        raise
                    # The table was altered between the snapshot and the first look at it.
                    source_rows, rows = self._ask(raw, slice_id)
            yield OpenSlice(source_rows, self._batches(rows))

    def altered(self, batch: pa.RecordBatch) -> int:
        """See `SliceReader.altered`."""
        return 0 if self.fingerprint == "nothing" else altered_rows(batch, self._kinds, self.fingerprint)

    @cached_property
    def _decoder(self) -> RowDecoder:
        return RowDecoder(
            self.columns,
            self.zero_dates,
            fingerprint=self.fingerprint,
            masked_columns=self.masked_columns,
            required=self.required,
        )

    @cached_property
    def _kinds(self) -> list[ColumnType]:
        return [column_type(column.source_type, self.zero_dates) for column in self.columns]

    @property
    def _selected(self) -> str:
        typed = [(quote_identifier(c.name), kind) for c, kind in zip(self.columns, self._kinds, strict=True)]
        selected = [kind.read(name) for name, kind in typed]
        selected += [altered_on_server(name, kind.character_set) for name, kind in typed if kind.character_set]
        if self.fingerprint != "nothing":
            selected.append(server_fingerprint(typed, self.fingerprint))
        return ", ".join(selected)

    def _ask(self, raw: pymysql.connections.Connection[Any], slice_id: int) -> tuple[int | None, Rows]:
        """Starts the read: returns the slice's count and the rows to come."""
        source_rows = None
        with raw.cursor() as cursor:
            for statement in self.transaction:
                cursor.execute(statement)
            if self.counted:
                cursor.execute(self._statement(slice_id, "COUNT(*)", ": count"))
                [(source_rows,)] = cursor.fetchall()
        return source_rows, Rows(raw, self._statement(slice_id, self._selected))

    def _statement(self, slice_id: int, selected: str, what: str = "") -> str:
        # The comment explains the statement to people who look at the server's process list.
        name = re.sub(r"[^A-Za-z0-9_.-]", "_", self.dataset)
        comment = f"/* lakeferry {name} slice {slice_id:d}{what} */"
        return f"SELECT {comment} {selected} FROM {self.table.quoted} WHERE {self.conditions[slice_id]}"

    @contextmanager
    def _connected(self) -> Iterator[pymysql.connections.Connection[Any]]:
        """Opens a connection at the plan's snapshot. A reader that has not reached the snapshot is behind."""
        with ExitStack() as opened:
            try:
                session = opened.enter_context(open_session(self.connection, variables=self.variables))
            except ServiceError as error:
                if error.__cause__ is not None and error.__cause__.args[:1] == (ER.SUBQUERY_NO_1_ROW,):
                    raise refuted(self.connection, self.snapshot) from error
                raise
            prove_by_writer(session, self.snapshot)
            # Connecting has a short timeout, which finds a server that accepts connections and then says nothing. A
            # long answer may take longer.
            wait_up_to(session.raw, read_timeout_seconds(self.connection))
            yield session.raw

    def _batches(self, rows: Rows) -> Iterator[pa.RecordBatch]:
        decode = self._decoder.batch
        with self._located(), read_errors(self.connection):
            for block in rows:
                yield decode(block, rows.columns)

    @contextmanager
    def _located(self) -> Iterator[None]:
        try:
            yield
        except LakeferryError as error:
            raise error.located(pipeline=self.pipeline, dataset=self.dataset) from error.__cause__
