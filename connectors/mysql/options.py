"""The keys of a dataset's YAML for a MySQL-speaking source."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from connectors.base import SourceOptions, WindowBound
from connectors.mysql.schema.bigquery_types import JsonColumns
from connectors.mysql.schema.column_types import ZeroDates
from connectors.mysql.schema.tables import TableName
from connectors.mysql.windows.cursor_zone import parse_zone
from connectors.mysql.windows.window import NullCursors


def _several(value: object) -> object:
    return () if value is None else (value,) if isinstance(value, str) else value


def _bare_null(value: object) -> object:
    # YAML reads the bare word `null` as no value.
    return "null" if value is None else value


ColumnName = Annotated[str, Field(min_length=1, max_length=64)]


class MySQLOptions(SourceOptions):
    """Keys of a dataset that is read from a table.

    `cursor` is a column that every change of a row moves forward: a DATETIME (in UTC, or in the local time of
    `cursor_time_zone`), TIMESTAMP or DATE. For a table to which rows are only added it may be an id that only grows. If
    there are several columns, the first makes the windows, and the others order rows that share its value. Without a
    cursor every run reads the whole table and moves the rows that differ.

    `lag_seconds` is how far a window ends behind the server's clock and behind the start of the oldest open
    transaction. It is the longest time between a row getting its cursor value and the start of its transaction; if the
    login does not see open transactions, the longest time until its commit. It is at least one, since a cursor of whole
    seconds gives a row written at 10:00:00.9 the value 10:00:00.

    `lookback_seconds` reads that much before the window again and publishes the rows that raw lacks, which were
    committed later than `lag_seconds` allows. `lookback` does the same for a cursor of numbers, in numbers.

    `null_cursors` decides about rows without a cursor value, which no window holds: the plan refuses them, every run
    reads them, or they are set aside. `zero_dates` decides about dates like `0000-00-00`. `accept_lossy` names columns
    of types that the ledger does not know. `json: parse` stores columns of type JSON as JSON in BigQuery; a list names
    text columns to store so. `geography` names columns of geometries that BigQuery stores as GEOGRAPHY. The lake keeps
    the server's text.
    """

    table: str = Field(description="database.table; in backquotes what holds a dot")
    cursor: Annotated[tuple[ColumnName, ...], BeforeValidator(_several), Field(max_length=4)] = ()
    lag_seconds: int = Field(
        default=300, ge=1, le=86_400, description="seconds a window ends behind the server's clock"
    )
    lookback_seconds: int = Field(
        default=0, ge=0, le=31 * 86_400, description="seconds before the window that are read again"
    )
    cursor_time_zone: str | None = Field(default=None, description="IANA time zone of a DATETIME or DATE cursor")
    lookback: int = Field(
        default=0, ge=0, le=2**63 - 1, description="numbers before the window that are read again, of a number cursor"
    )
    null_cursors: NullCursors = Field(default="refuse", description="refuse, include or quarantine")
    zero_dates: Annotated[ZeroDates, BeforeValidator(_bare_null)] = Field(
        default="quarantine", description="quarantine, null or text"
    )
    parsed_json: JsonColumns = Field(default="text", alias="json", description="text, parse, or a list of columns")
    geography: Annotated[tuple[str, ...], BeforeValidator(_several)] = Field(
        default=(), description="columns of geometries that are GEOGRAPHY in BigQuery"
    )
    accept_lossy: list[str] = Field(default_factory=list, description="columns that may lose something")

    @property
    def continued_by(self) -> str | None:
        return "cursor" if self.cursor else None

    @property
    def window_bounds(self) -> frozenset[WindowBound]:
        """The bounds a window may have. Only the server knows the type of the cursor, but some keys imply a kind."""
        if not self.cursor:
            return frozenset()
        if self.cursor_time_zone or self.lookback_seconds:
            return frozenset({"instant", "day"})
        return frozenset({"number"}) if self.lookback else frozenset({"instant", "day", "number"})

    @field_validator("table")
    @classmethod
    def _named_in_full(cls, value: str) -> str:
        TableName.parse(value)
        return value

    @field_validator("cursor_time_zone")
    @classmethod
    def _zone_is_known(cls, value: str | None) -> str | None:
        return None if value is None else parse_zone(value)

    @model_validator(mode="after")
    def _zone_has_a_cursor(self) -> Self:
        if self.cursor_time_zone and not self.cursor:
            raise ValueError("cursor_time_zone needs a cursor")
        return self

    @model_validator(mode="after")
    def _lookback_has_a_cursor(self) -> Self:
        for key, value in (("lookback_seconds", self.lookback_seconds), ("lookback", self.lookback)):
            if value and not self.cursor:
                raise ValueError(f"{key} needs a cursor; without one the whole table is read anyway")
        if self.lookback and self.lookback_seconds:
            raise ValueError("lookback is for a cursor of numbers, lookback_seconds for one of times: keep one of them")
        return self
