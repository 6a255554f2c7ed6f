"""The interface of every source: it can be described, planned, read in slices, and counted.

`describe`, `plan` and `count` are control plane: plain Python clients, no Spark. `read` is data plane: it runs inside a
Spark application and is the only method that may import PySpark.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, JsonValue

from connectors.connection import Connection
from connectors.versions import LogColumns, Version
from connectors.yaml.models import YamlModel

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column as SparkColumn
    from pyspark.sql import DataFrame, SparkSession

SLICE_COLUMN = "_slice"
"""INT: id of the slice in which a row was read."""
SOURCE_ROWS_COLUMN = "_source_rows"
"""BIGINT: rows of this slice, counted by the server at the snapshot of the read; NULL if it cannot count them."""
REJECTED_COLUMN = "_rejected"
"""STRUCT<reason: STRING, record: STRING>: why the row cannot be decoded, and its text; NULL for a good row."""
FINGERPRINT_COLUMN = "_fingerprint"
"""STRING: the row's fingerprint as the source made it; only for sources with `Source.fingerprint`."""
READ_COLUMNS = (SLICE_COLUMN, SOURCE_ROWS_COLUMN, REJECTED_COLUMN)
TypeVerdict = Literal["exact", "widened", "lossy"]
"""What happens to a column's values: the lake's type holds the same values, or more, or would lose some of them."""
ParsedType = Literal["JSON", "GEOGRAPHY"]
"""The type in BigQuery of a column that is text in the lake."""
FingerprintOf = Literal["nothing", "row", "columns"]
"""What a source fingerprints as it reads: nothing, whole rows, or each column (to see which one differs)."""
REJECTED_TYPE = "struct<reason:string,record:string>"
WindowBound = Literal["instant", "day", "number"]
TOMBSTONE = "empty message (a tombstone)"
"""The whole reason of a message that marks a row as deleted: it goes to quarantine, but nothing is wrong with it."""


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Column(_Frozen):
    """One column in the form it has in the lake.

    `spark_type` is a Spark DDL type (`decimal(18,2)`, `timestamp_ntz`); `source_type` is the source's own word for it
    (`decimal(18,2) unsigned`, `json string`). `verdict` says whether every value survives, `note` explains what is not
    obvious. `parsed` is the type in BigQuery of a column that is text in the lake.
    """

    name: str
    source_type: str
    spark_type: str
    nullable: bool = True
    verdict: TypeVerdict = "exact"
    note: str | None = None
    comment: str | None = None
    parsed: ParsedType | None = None


class Window(_Frozen):
    """Half-open `[start, end)` in the cursor's own literals; `None` is unbounded.

    A requested window (params, backfill) is in ISO 8601 instants (UTC if they have no offset), or in whole numbers if
    the cursor is a number.
    """

    start: str | None = None
    end: str | None = None


class Slice(_Frozen):
    """One parallel part of a read. Only its source understands `detail`. `expected_rows` is the number of rows that
    the source itself promises for it (Kafka's offsets do), or None. `planned_rows` is how many it had when it was
    planned, if that was counted: the read may find another number."""

    id: int
    detail: dict[str, JsonValue]
    expected_rows: int | None = None
    planned_rows: int | None = None


class Description(_Frozen):
    """A table, topic or file set as the source describes it. `primary_key` is the source's own. `unique_keys` are all
    keys that no two rows share, the primary key first."""

    columns: tuple[Column, ...]
    primary_key: tuple[str, ...] = ()
    unique_keys: tuple[tuple[str, ...], ...] = ()
    indexed: tuple[str, ...] = ()
    estimated_rows: int | None = None


class ReadPlan(_Frozen):
    """The frozen plan of what one dataset of one run will read: the same plan read twice gives the same rows.

    If `slices` is empty, there is nothing to move. `position` is where the next scheduled run starts once this plan is
    published; `None` if the position must not move. `watched` is stored beside it in that position, under the same
    name, for the source's next plan. `snapshot` pins the source if it can be pinned (`{"tidb_snapshot": "4567…"}`).
    `overlaps_published`: the read holds rows that earlier batches may hold, and those are left out. `overlap_start` is
    the cursor value at which such a read begins (None: anywhere). `null_cursors`: rows without a cursor value are read
    as well.
    `primary_key` and `unique_keys` are the source's own, as in `Description`. With `keys_are_unique` no two rows of the
    read share that primary key, even if rows move meanwhile. `waiting` says what exists and is not read, or not yet.
    `warnings` are about what somebody should do, `notes` about what is right and may surprise.
    """

    columns: tuple[Column, ...]
    primary_key: tuple[str, ...] = ()
    unique_keys: tuple[tuple[str, ...], ...] = ()
    keys_are_unique: bool = False
    window: Window | None = None
    overlaps_published: bool = False
    overlap_start: str | None = None
    null_cursors: Literal["include", "quarantine"] | None = None
    slices: tuple[Slice, ...] = ()
    position: dict[str, JsonValue] | None = None
    watched: dict[str, JsonValue] | None = None
    snapshot: dict[str, JsonValue] | None = None
    waiting: str | None = None
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def next_position(self) -> dict[str, JsonValue] | None:
        """The position as the lake keeps it, with `watched` beside it."""
        if self.position is None or self.watched is None:
            return self.position
        return {**self.position, "watched": self.watched}

    def only(self, slice_ids: Sequence[int]) -> ReadPlan:
        """Returns the same plan, restricted to some of its slices."""
        wanted = set(slice_ids)
        return self.model_copy(update={"slices": tuple(s for s in self.slices if s.id in wanted)})


class KeyScanPlan(_Frozen):
    """A read of every key of a table, to find rows that were deleted: frozen beside the plan to which it belongs.

    `read` holds the key's columns and the cursor's, and slices of all rows. `clock` is the source's own
    time when it was planned, ISO 8601 with its offset.
    """

    read: ReadPlan
    clock: str


class SourceOptions(YamlModel):
    """The keys of a dataset in YAML that belong to its source; each source has a subclass."""

    rows_name_their_place: ClassVar[bool] = False
    """Whether the source adds columns that name the place of a row (`Source.identity_columns`), by which an `append`
    without a `primary_key` recognizes a row that it has loaded."""

    @property
    def continued_by(self) -> str | None:
        """The key that makes a run read only what came after the published position; None: each run reads all there
        is."""
        return None

    @property
    def window_bounds(self) -> frozenset[WindowBound]:
        """The kinds of bounds a requested window may have, as far as the keys say; empty: no window may be
        requested."""
        return frozenset({"instant"}) if self.continued_by else frozenset()


@dataclass(frozen=True)
class ReadRequest:
    """The part of a dataset that a source needs to know. `options` is an instance of the source's `Options`.

    No value of its `masked_columns` may be in a plan, a query's text, a reason or an error.
    """

    pipeline: str
    name: str
    primary_key: tuple[str, ...]
    options: Any
    masked_columns: frozenset[str] = frozenset()


@dataclass
class OpenSlice:
    """A slice being read. `source_rows` are its rows, counted by the server at the read's snapshot; None if the server
    was not asked."""

    source_rows: int | None
    batches: Iterator[pa.RecordBatch]


class SliceReader(ABC):
    """Reads slices of one plan in Spark's tasks: picklable, plain Python and Arrow, no Spark, no settings.

    It carries all that is needed to reach the source, including secrets, and shows none of them. Its errors are those
    of `Source`.
    """

    @property
    @abstractmethod
    def schema(self) -> pa.Schema:
        """The schema of the batches: the plan's columns in order, then `identity_columns`, then `REJECTED_COLUMN`, then
        `FINGERPRINT_COLUMN` if one is requested."""

    @abstractmethod
    def only(self, slice_id: int) -> Self:
        """Returns the same reader for one of its slices, so that a task carries little."""

    @abstractmethod
    def open(self, slice_id: int) -> AbstractContextManager[OpenSlice]:
        """Begins to read a slice of the plan. The batches come once, while the context is open; each of them may raise
        an error of the source."""

    def altered(self, batch: pa.RecordBatch) -> int:
        """Counts the rows of a batch, except rejected ones, whose values differ from those of `FINGERPRINT_COLUMN`; 0
        if no fingerprint is read."""
        return 0


@dataclass(frozen=True)
class SourceSettings:
    """What the jobs ask of a source beyond its connection; a source ignores what it has no use for.

    `rows_per_slice` and `bytes_per_slice` are the size of a slice to aim for. With `plans_one_run`, everything that is
    planned through one source object is for one run, so that one look at the source's clock may serve it.
    """

    rows_per_slice: int = 500_000
    bytes_per_slice: int = 64 << 20
    plans_one_run: bool = False


class Source(ABC):
    """One place data comes from, reached over one connection. `connectors.capabilities` has what only some offer.

    Errors of every method:

    - `ServiceUnavailable` within 15 seconds if nothing answers,
    - `AccessDenied` if the login or a right is refused,
    - `ObjectNotFound` if the table, topic, bucket or column does not exist (with the names that do),
    - `SourceMoved` if a frozen plan can no longer be read as planned.

    Each names pipeline, dataset and address. None of them names a secret.
    """

    Options: ClassVar[type[SourceOptions]]
    identity_columns: ClassVar[tuple[Column, ...]] = ()
    """Columns that the source adds to every row. They name the place the row came from, and the lake keeps them."""
    place_key: ClassVar[tuple[str, ...]] = ()
    """Those of the `identity_columns` that no two rows share: the key of an `append` that declares none. Empty: all."""
    origin_column: ClassVar[str | None] = None
    """The one of the `identity_columns` that names the object a row came from. It is set if the position says for each
    object whether rows of it are published."""
    later_batches_are_newer: ClassVar[bool] = False
    """Whether a batch that begins at the position brings later versions than all batches before it. If so, its number
    orders versions before `version_columns` do."""

    def __init__(self, connection: Connection, settings: SourceSettings | None = None) -> None:
        self.connection = connection
        self.settings = settings or SourceSettings()

    @abstractmethod
    def ping(self) -> str:
        """Tries the connection; returns a line for people with product and version. Takes at most 15 seconds."""

    @abstractmethod
    def describe(self, dataset: ReadRequest) -> Description:
        """Looks up the table, topic or file set."""

    @abstractmethod
    def plan(self, dataset: ReadRequest, position: Mapping[str, JsonValue] | None, window: Window | None) -> ReadPlan:
        """Freezes what will be read: from `position` (None: from the beginning) to the source's own now, or exactly
        `window` if one is requested, which does not move the position."""

    @classmethod
    def describe_position(cls, position: Mapping[str, JsonValue]) -> str:
        """Returns a position in a few words, for people."""
        return ", ".join(str(value) for value in position.values())

    @abstractmethod
    def read(
        self, spark: SparkSession, dataset: ReadRequest, plan: ReadPlan, fingerprint: FingerprintOf = "nothing"
    ) -> DataFrame:
        """Returns the rows of `plan.slices`: its columns in order, then `identity_columns`, then `READ_COLUMNS`, then
        `FINGERPRINT_COLUMN` if one is requested and the source can make it.

        Lazy: nothing is read until Spark acts. A row that cannot be decoded comes with `_rejected` set; it is never
        dropped and never fails the read.
        """

    def fingerprint(self, dataset: ReadRequest, plan: ReadPlan, of: FingerprintOf) -> SparkColumn | None:
        """Returns what `FINGERPRINT_COLUMN` must be for the values of a row from `read`, as an expression over its
        columns; None if the source cannot make fingerprints."""
        return None

    @contextmanager
    def connections(self, plan: ReadPlan) -> Iterator[int]:
        """Surrounds `read` and the Spark action that takes its rows, or the use of a `SliceReader`; yields how many
        slices may be read at once.

        A source that allows only a number of connections waits here for some, and `read` then gives Spark no more
        partitions than it got. Other sources have no limit. A failure of the source in a Spark task leaves as one of
        the errors above.
        """
        yield len(plan.slices)

    def check_unchanged(self, dataset: ReadRequest, plan: ReadPlan) -> None:
        """Checks, once slices are read, that they were read from the columns that the plan froze. Raises `SourceMoved`
        if the source has changed them meanwhile. Sources whose columns the spec declares check nothing. Control plane.
        """
        return

    def position_after(
        self, plan: ReadPlan, published: Mapping[int, Set[str]] = MappingProxyType({})
    ) -> dict[str, JsonValue] | None:
        """Returns the plan's position once its slices are read, with what only the read through this object found out.

        Args:
            published: for each slice that has rows in quarantine, the values of `origin_column` in its good rows.
        """
        return plan.next_position

    def observations(self, plan: ReadPlan) -> dict[str, JsonValue] | None:
        """Returns what `count` found through this object and `position_after` of this plan needs; None if it needs
        nothing. It is kept with the attempt, so a retry does not count again."""
        return None

    def recall(self, plan: ReadPlan, observations: Mapping[str, JsonValue]) -> None:
        """Takes over the `observations` of another object for the same plan."""
        return

    @abstractmethod
    def count(self, dataset: ReadRequest, plan: ReadPlan) -> dict[int, int]:
        """Counts the rows of each slice independently of `read`; returns {slice id: rows}."""

    def unseen_changes(self, dataset: ReadRequest, *, swept: bool, may_respell: bool) -> tuple[str, ...]:
        """Returns warnings about changes of rows that a merge of this dataset does not see, or takes for another row.
        Control plane.

        Args:
            swept: all keys of the source are compared with the lake's.
            may_respell: whether to warn of a key that the source may write in two ways.
        """
        return ()

    def count_older(self, dataset: ReadRequest, plan: ReadPlan, column: str, before: datetime) -> int | None:
        """Counts a plan's rows whose value in a column of days or times is before a moment; None if the count is not
        cheap. Control plane."""
        return None

    @classmethod
    @abstractmethod
    def version_columns(cls, dataset: ReadRequest) -> tuple[Version, ...]:
        """Returns what orders versions of one key, most significant first. `_batch` follows them, or precedes them with
        `later_batches_are_newer`."""

    @classmethod
    def log_columns(cls, dataset: ReadRequest) -> LogColumns | None:
        """Returns the columns with a row's place in a partitioned log; None if the source is not a log."""
        return None
