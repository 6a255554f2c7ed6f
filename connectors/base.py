"""What every source is: a thing that can be described, planned, read in slices, and counted.

`describe`, `plan` and `count` are control plane: plain Python clients, no Spark. `read` is data
plane: it runs inside a Spark application and is the only method that may import PySpark.
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
from connectors.errors import UsageError
from connectors.versions import LogColumns, Version
from connectors.yaml.models import YamlModel

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column as SparkColumn
    from pyspark.sql import DataFrame, SparkSession

SLICE_COLUMN = "_slice"
"""INT: id of the slice a row was read in."""
SOURCE_ROWS_COLUMN = "_source_rows"
"""BIGINT: rows of this slice, counted by the server at the snapshot of the read; NULL if it cannot count them."""
REJECTED_COLUMN = "_rejected"
"""STRUCT<reason: STRING, record: STRING>: why the row cannot be decoded and its text; NULL for a good row."""
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
"""The whole reason of a message that marks a row as gone: it goes to quarantine, yet nothing is wrong with it."""


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Column(_Frozen):
    """One column as it will stand in the lake.

    `spark_type` is a Spark DDL type (`decimal(18,2)`, `timestamp_ntz`); `source_type` is the source's
    own word for it (`decimal(18,2) unsigned`, `json string`). `verdict` says whether every value
    survives, `note` what is not obvious about it. `parsed` is what BigQuery makes of it, which is text in the
    lake.
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

    A requested window (params, backfill) is in ISO 8601 instants, UTC where no offset is given, or in whole numbers
    where the cursor is a number.
    """

    start: str | None = None
    end: str | None = None


class Slice(_Frozen):
    """One parallel piece of a read. `detail` means something to its source alone; `expected_rows` is
    the number of rows the source itself promises for it (Kafka's offsets do), or None; `planned_rows` is how many it
    had when it was planned, where that was counted: the read may find others."""

    id: int
    detail: dict[str, JsonValue]
    expected_rows: int | None = None
    planned_rows: int | None = None


class Description(_Frozen):
    """A table, topic or file set as the source describes it. `primary_key` is the source's own, `unique_keys` are
    all the keys no two rows share, the primary key first."""

    columns: tuple[Column, ...]
    primary_key: tuple[str, ...] = ()
    unique_keys: tuple[tuple[str, ...], ...] = ()
    indexed: tuple[str, ...] = ()
    estimated_rows: int | None = None


class SourcePlan(_Frozen):
    """What one dataset of one run will read, frozen: the same plan read twice gives the same rows.

    `slices` empty means that there is nothing to move. `position` is where the next scheduled run
    starts once this plan is published; `None` where the position must not move. `watched` is what the source wants
    to find in that position beside it, under the same name. `snapshot` pins the
    source where it can be pinned (`{"tidb_snapshot": "4567…"}`). `rereads` says that the read
    holds rows that earlier batches may hold: those are left out. `reread_from` is the cursor value such a
    read begins at (None: anywhere). `null_cursors` says that rows without a cursor value are read as well.
    `primary_key` and `unique_keys` are the source's own, as in `Description`. With `one_row_a_key` no two rows of the
    read share that primary key, even if rows move meanwhile. `waiting` says what exists and is not read, or not yet.
    `warnings` are about what somebody should do, `notes` about what is right and may surprise.
    """

    columns: tuple[Column, ...]
    primary_key: tuple[str, ...] = ()
    unique_keys: tuple[tuple[str, ...], ...] = ()
    one_row_a_key: bool = False
    window: Window | None = None
    rereads: bool = False
    reread_from: str | None = None
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
        """The position as the lake keeps it: `watched` beside it."""
        if self.position is None or self.watched is None:
            return self.position
        return {**self.position, "watched": self.watched}

    def only(self, slice_ids: Sequence[int]) -> SourcePlan:
        """The same plan, restricted to some of its slices."""
        wanted = set(slice_ids)
        return self.model_copy(update={"slices": tuple(s for s in self.slices if s.id in wanted)})


class KeyRead(_Frozen):
    """How every key of a table is read, to see which rows are gone: frozen beside the plan it belongs to.

    `read` holds the key's columns and the cursor's, and slices of all rows. `clock` is the source's own
    time when it was planned, ISO 8601 with its offset.
    """

    read: SourcePlan
    clock: str


class SourceOptions(YamlModel):
    """The keys of a dataset in YAML that belong to its source: each source has a subclass."""

    @property
    def continued_by(self) -> str | None:
        """The key because of which a run reads only what came after the published position; None: each run reads all
        that is there."""
        return None

    @property
    def window_bounds(self) -> frozenset[WindowBound]:
        """What the bounds of a requested window can be, as far as the keys say; empty: no window can be asked for."""
        return frozenset({"instant"}) if self.continued_by else frozenset()


@dataclass(frozen=True)
class Dataset:
    """What a source needs to know of a dataset. `options` is an instance of the source's `Options`.

    `hidden` names its masked columns: no value of theirs may be in a plan, a query's text, a reason or an error.
    """

    pipeline: str
    name: str
    primary_key: tuple[str, ...]
    options: Any
    hidden: frozenset[str] = frozenset()


@dataclass
class OpenSlice:
    """A slice being read. `source_rows`: its rows as the server counts them at the read's snapshot; None where it
    was not asked."""

    source_rows: int | None
    batches: Iterator[pa.RecordBatch]


class SliceReader(ABC):
    """Reads slices of one plan where Spark's tasks run: picklable, plain Python and Arrow, no Spark, no settings.

    It carries all that is needed to reach the source, secrets included, and shows none of them. Errors are those of
    `Source`.
    """

    @property
    @abstractmethod
    def schema(self) -> pa.Schema:
        """Of the batches: the plan's columns in order, then `identity_columns`, then `REJECTED_COLUMN`, then
        `FINGERPRINT_COLUMN` where one was asked for."""

    @abstractmethod
    def only(self, slice_id: int) -> Self:
        """The same reader for one of its slices: what a task needs is little."""

    @abstractmethod
    def open(self, slice_id: int) -> AbstractContextManager[OpenSlice]:
        """Begin to read a slice of the plan. Batches come once, while the context is open; an error of the source
        may come with any of them."""

    def altered(self, batch: pa.RecordBatch) -> int:
        """Rows of a batch, rejected ones aside, whose values are not what `FINGERPRINT_COLUMN` was made of; 0 where
        no fingerprint is read."""
        return 0


class Source(ABC):
    """One place data comes from, reached over one connection.

    Errors of every method:

    - `ServiceUnavailable` within 15 seconds if nothing answers,
    - `AccessDenied` if the login or a right is refused,
    - `ObjectNotFound` if the table, topic, bucket or column does not exist (with the names that do),
    - `SourceMoved` if a frozen plan can no longer be read as planned.

    Each names pipeline, dataset and address. None of them names a secret.
    """

    Options: ClassVar[type[SourceOptions]]
    rows_per_slice: int = 500_000
    """The number of rows per slice to aim for, if the source can choose; jobs set it from the settings."""
    plans_one_run: bool = False
    """Whether everything that is planned through this object is for one run, so that one look at the source's clock
    may serve it."""
    reads_columns: ClassVar[bool] = False
    """Whether slices can be read as Arrow columns, without Spark, by `slice_reader`."""
    shows_deletes: ClassVar[bool] = False
    """Whether deleted rows can be found by reading all keys, by `plan_keys`."""
    identity_columns: ClassVar[tuple[Column, ...]] = ()
    """Columns the source adds to every row, which name the place it came from, and are kept in the lake."""
    place_key: ClassVar[tuple[str, ...]] = ()
    """Those of the `identity_columns` that no two rows share, the key of an `append` that declares none; empty: all."""
    origin_column: ClassVar[str | None] = None
    """The one of the `identity_columns` that names the object a row came from, where the position says of each object
    whether rows of it are published."""
    later_batches_are_newer: ClassVar[bool] = False
    """Whether a batch that begins at the position brings later versions than all batches before it: then its number
    orders versions before `version_columns` do."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    @abstractmethod
    def ping(self) -> str:
        """Tries the connection; returns a line for people: product and version. At most 15 seconds."""

    @abstractmethod
    def describe(self, dataset: Dataset) -> Description:
        """Looks the table, topic or file set up."""

    @abstractmethod
    def plan(self, dataset: Dataset, position: Mapping[str, JsonValue] | None, window: Window | None) -> SourcePlan:
        """Freezes what will be read: from `position` (None: from the beginning) to the source's own
        now, or exactly `window` where one is asked for, which leaves the position alone."""

    @classmethod
    def describe_position(cls, position: Mapping[str, JsonValue]) -> str:
        """A position in a few words, for people."""
        return ", ".join(str(value) for value in position.values())

    def plan_keys(self, dataset: Dataset, plan: SourcePlan) -> KeyRead:
        """Freezes how all keys are read, at the snapshot of `plan` where it has one.

        Raises:
            UsageError: the source has no rows that go away.
        """
        raise UsageError(
            "rows of this source are not deleted, so there is nothing to sweep",
            pipeline=dataset.pipeline,
            dataset=dataset.name,
            fix="Leave deletes out",
        )

    @abstractmethod
    def read(
        self, spark: SparkSession, dataset: Dataset, plan: SourcePlan, fingerprint: FingerprintOf = "nothing"
    ) -> DataFrame:
        """The rows of `plan.slices`: its columns in order, then `identity_columns`, then `READ_COLUMNS`,
        then `FINGERPRINT_COLUMN` where one is asked for and the source can make it.

        Lazy: nothing is read until Spark acts. A row that cannot be decoded comes with `_rejected`
        set; it is never dropped and never fails the read.
        """

    def slice_reader(
        self, dataset: Dataset, plan: SourcePlan, fingerprint: FingerprintOf = "nothing", counted: bool = True
    ) -> SliceReader:
        """Returns what reads the plan's slices without Spark, made where the plan is known. It is implemented if
        `reads_columns` is true. `counted`: ask the server for the rows of each slice, too.

        Raises:
            SourceMoved: as `read`.
        """
        raise NotImplementedError

    @property
    def slices_at_once(self) -> int:
        """How many slices may be read at once by what `slice_reader` gives, if nothing else reads."""
        raise NotImplementedError

    def fingerprint(self, dataset: Dataset, plan: SourcePlan, of: FingerprintOf) -> SparkColumn | None:
        """What `FINGERPRINT_COLUMN` must be for the values of a row that `read` gave, as an expression over
        its columns; None where the source cannot make fingerprints."""
        return None

    @contextmanager
    def reading(self, plan: SourcePlan) -> Iterator[int]:
        """Around `read` and the Spark action that takes its rows, or around the use of a `SliceReader`; gives how many
        slices may be read at once.

        A source that allows a number of connections only waits here for some, and `read` then gives
        Spark no more partitions than it has got; others have no limit. A failure of the source in a
        Spark task leaves as one of the errors above.
        """
        yield len(plan.slices)

    def check_unchanged(self, dataset: Dataset, plan: SourcePlan) -> None:
        """See, once slices are read, that they were read of the columns the plan froze; `SourceMoved` where the
        source has changed them meanwhile. Sources whose columns the spec declares have nothing to see. Control plane.
        """
        return

    def position_after(
        self, plan: SourcePlan, published: Mapping[int, Set[str]] = MappingProxyType({})
    ) -> dict[str, JsonValue] | None:
        """The plan's position once its slices are read, with what only the read through this object could tell.

        Args:
            published: of each slice that has rows in quarantine, the values of `origin_column` in its good rows.
        """
        return plan.next_position

    def observations(self, plan: SourcePlan) -> dict[str, JsonValue] | None:
        """What `count` has seen through this object that `position_after` of this plan needs; None where it needs
        nothing. It is kept with the attempt: a retry does not count again what was counted."""
        return None

    def recall(self, plan: SourcePlan, observations: Mapping[str, JsonValue]) -> None:
        """Takes over the `observations` of another object of the same plan."""
        return

    @abstractmethod
    def count(self, dataset: Dataset, plan: SourcePlan) -> dict[int, int]:
        """Rows of each of `plan.slices` by id, as the source says, by another way than `read`."""

    def sample(self, dataset: Dataset, columns: Sequence[str], limit: int) -> list[tuple[str | None, ...]]:
        """Text of these columns in at most `limit` rows, where looking is cheap; else none. Control plane."""
        return []

    def unseen_changes(self, dataset: Dataset, *, swept: bool, may_respell: bool) -> tuple[str, ...]:
        """Warnings about changes of rows that a merge of this dataset does not see, or takes for another row. Control
        plane.

        Args:
            swept: all keys of the source are compared with the lake's.
            may_respell: whether to warn of a key that the source may write in two ways.
        """
        return ()

    def count_older(self, dataset: Dataset, plan: SourcePlan, column: str, before: datetime) -> int | None:
        """Rows of a plan whose value in a column of days or times is before a moment, where it is cheap to know; else
        None. Control plane."""
        return None

    @abstractmethod
    def version_columns(self, dataset: Dataset) -> tuple[Version, ...]:
        """What orders versions of one key, most significant first; `_batch` follows them, or precedes them with
        `later_batches_are_newer`."""

    def log_columns(self, dataset: Dataset) -> LogColumns | None:
        """Where a row's place in a partitioned log is; None where the source is no log."""
        return None
