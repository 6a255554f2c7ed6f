"""CSV files in S3: planned from listings, read in Spark's executors, typed without loss."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, cast

from pydantic import JsonValue

from connectors.base import (
    READ_COLUMNS,
    REJECTED_TYPE,
    SLICE_COLUMN,
    Column,
    Description,
    FingerprintOf,
    ReadPlan,
    ReadRequest,
    Slice,
    Source,
    SourceOptions,
    SourceSettings,
    Window,
)
from connectors.declared.columns import (
    REASON,
    RECORD,
    declared_columns,
    text_name,
    typed_rows,
)
from connectors.errors import LakeferryError, SpecError, UsageError
from connectors.s3.bucket import Access, S3File, moved, open_file
from connectors.s3.copies import MOST_COMPARED_BYTES, Contents
from connectors.s3.files import Layout, file_records
from connectors.s3.listing import Listing, archived, list_files, named
from connectors.s3.options import IDENTITY, S3Options
from connectors.s3.read_files import Known, ReadFiles
from connectors.s3.records import path_values
from connectors.s3.scan import scan
from connectors.spark_errors import errors_for_the_driver, errors_of_workers
from connectors.versions import Version, WhereNull

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

    from connectors.connection import Connection

FILES_PER_SLICE = 1000


class S3Source(Source):
    """Records of CSV files (RFC 4180), one row each.

    An empty field is NULL, except in a `string` column, where it is an empty text: CSV as Python reads it does not
    distinguish `,,` from `,"",`. A row is rejected if it is not UTF-8 (its record is then base64), is not CSV, has more
    or fewer fields than the header, or if a declared column cannot be kept exactly. A file whose header lacks a
    declared column is rejected whole, row by row. A key with another content is read again, as new rows of a newer
    version. A content of which rows are published is not read again, under any key or ETag.

    Rows of a file that a later listing showed first are newer, independently of the file's time: a copy or a restored
    object has a new time. In one listing the later key is newer; for one key the content that was put there later. A
    file that is read again, for a window, stays as old as it was. Rows from before listings had numbers are ordered by
    time.
    """

    Options: ClassVar[type[SourceOptions]] = S3Options
    identity_columns: ClassVar[tuple[Column, ...]] = IDENTITY
    place_key: ClassVar[tuple[str, ...]] = ("_s3_file", "_s3_etag", "_s3_line")
    origin_column: ClassVar[str | None] = "_s3_file"

    def __init__(self, connection: Connection, settings: SourceSettings | None = None) -> None:
        super().__init__(connection, settings)
        self._digests: dict[tuple[str, str], str] = {}
        self._access = Access.of(connection)

    def ping(self) -> str:
        with self._access.translated():
            buckets = self._access.client().list_buckets().get("Buckets", [])
        return f"{self._access.address}, {len(buckets)} bucket(s)"

    def describe(self, dataset: ReadRequest) -> Description:
        """Returns the declared columns, once the bucket has answered; files do not say how many rows they have."""
        self._list(dataset)
        return Description(columns=self._columns(dataset))

    @classmethod
    def describe_position(cls, position: Mapping[str, JsonValue]) -> str:
        files = ReadFiles.of(position).files
        newest = f", the last {max(files)}" if files else ""
        return f"{len(files):,} files{newest}"

    def plan(self, dataset: ReadRequest, position: Mapping[str, JsonValue] | None, window: Window | None) -> ReadPlan:
        """Freezes a list of files: those that `position` (`ReadFiles`) does not have with the same ETag, or, for a
        requested window, those last modified within it. Slices hold about `bytes_per_slice` bytes.

        Archived files wait, and a warning names them: no position says that they are read. The same holds for files
            that
        are left out because their content is published already (`copies`).
        """
        listing, before = self._list(dataset), ReadFiles.of(position)
        if _options(dataset).copies == "read":
            before = before.without_copies()
        start, end = (_instant(window.start), _instant(window.end)) if window else (None, None)
        wanted = [
            file
            for file in listing.files
            if (not before.holds(file) if window is None else _within(file.modified, start, end))
        ]
        _check_masked_path_columns(dataset, wanted)
        with _named(dataset):
            waiting = archived(self._access, wanted)
            readable = [file for file in wanted if file.key not in waiting]
            copies, digests, uncompared = self._copies(dataset, before, listing, readable)
        read = [before.numbered(file) for file in readable if file.key not in copies]
        after = before.after(listing.files, copies, waiting).with_digests(digests) if window is None else None
        return ReadPlan(
            columns=self._columns(dataset),
            window=window,
            slices=tuple(
                Slice(id=number, detail={"files": [_entry(file) for file in group]})
                for number, group in enumerate(_grouped(read, self.settings.bytes_per_slice))
            ),
            position=after.to_position() if after else None,
            waiting=_unread_files(waiting, copies),
            warnings=tuple(_warnings(_options(dataset), listing, waiting, copies, uncompared, after)),
            notes=tuple(_notes(listing)),
        )

    def read(
        self, spark: SparkSession, dataset: ReadRequest, plan: ReadPlan, fingerprint: FingerprintOf = "nothing"
    ) -> DataFrame:
        """See `Source.read`. The executors stream the files with `If-Match` and their planned ETag: a file that is
        replaced later fails the Spark job with `SourceMoved` in its text.

        Raises:
            SourceMoved: a file was replaced or deleted since the plan.
        """
        identity = [f"{column.name} {column.spark_type}" for column in IDENTITY]
        if not plan.slices:
            own = zip(READ_COLUMNS, ("int", "bigint", REJECTED_TYPE), strict=True)
            columns = [f"{column.name} {column.spark_type}" for column in plan.columns]
            return spark.createDataFrame([], ", ".join([*columns, *identity, *(f"{n} {k}" for n, k in own)]))
        slices = self._planned_files(dataset, plan)
        self._check_unmoved(dataset, slices)
        access, layout, ids = self._access, self._layout(dataset, plan.columns), list(slices)

        def decode(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            with errors_for_the_driver():
                for batch in batches:
                    yield from scan(access, layout, slices, (ids[number] for number in batch.column(0).to_pylist()))

        texts = [f"{text_name(index)} string" for index in range(len(plan.columns))]
        schema = ", ".join([*texts, *identity, f"{SLICE_COLUMN} int", f"{REASON} string", f"{RECORD} string"])
        frame = spark.range(0, len(ids), 1, len(ids)).mapInArrow(decode, schema)
        return typed_rows(frame, plan.columns, IDENTITY)

    @contextmanager
    def connections(self, plan: ReadPlan) -> Iterator[int]:
        with errors_of_workers():
            yield len(plan.slices)

    def count(self, dataset: ReadRequest, plan: ReadPlan) -> dict[int, int]:
        """Counts the records by slice, by reading the files once more, each up to the length that S3 gave for it."""
        layout, client = self._layout(dataset, plan.columns), self._access.client()
        counts: dict[int, int] = {}
        for slice_id, files in self._planned_files(dataset, plan).items():
            counts[slice_id] = 0
            for file in files:
                with _named(dataset), open_file(self._access, client, file) as stream:
                    content = file_records(stream, layout, file.key, file.uri)
                    counts[slice_id] += sum(1 for _ in content.records)
                    # If a file is not text, only its first bytes are read.
                    if stream.raw.bytes_read == stream.raw.size:
                        self._digests[file.key, file.etag] = stream.raw.digest.hexdigest()
        return counts

    def observations(self, plan: ReadPlan) -> dict[str, JsonValue] | None:
        """Returns the MD5s of the files that were counted: by slice in the order of the plan, an empty list if each is
        the file's ETag."""
        digests = {part.id: [self._digests.get(at) for at in _objects(part)] for part in plan.slices}
        etags = {part.id: [etag for _, etag in _objects(part)] for part in plan.slices}
        return {
            "digests": {
                str(slice_id): cast("JsonValue", [] if md5s == etags[slice_id] else md5s)
                for slice_id, md5s in digests.items()
                if any(md5s)
            }
        }

    def recall(self, plan: ReadPlan, observations: Mapping[str, JsonValue]) -> None:
        seen = cast("dict[str, list[str | None]]", observations["digests"])
        for part in plan.slices:
            if str(part.id) in seen:
                objects = _objects(part)
                md5s = seen[str(part.id)] or [etag for _, etag in objects]
                self._digests |= {at: md5 for at, md5 in zip(objects, md5s, strict=True) if md5 is not None}

    def position_after(
        self, plan: ReadPlan, published: Mapping[int, Set[str]] = MappingProxyType({})
    ) -> dict[str, JsonValue] | None:
        """Returns the plan's position, with the digests of the files that `count` has read through this object or one
        before it (`recall`). The content of a file that published no row is not known: it may come again."""
        if plan.position is None:
            return None
        digests = dict(self._digests)
        for part in plan.slices:
            if part.id not in published:
                continue
            keys = {uri.removeprefix("s3://").partition("/")[2] for uri in published[part.id]}
            digests |= {(key, etag): "" for key, etag in _objects(part) if key not in keys}
        return ReadFiles.of(plan.position).with_digests(digests).to_position()

    @classmethod
    def version_columns(cls, dataset: ReadRequest) -> tuple[Version, ...]:
        # Under one key a later content has a later time. One listing may bring both if a window, which does not move
        # the position, read the first one.
        unlisted = WhereNull("_s3_modified_at", "_s3_listing")
        return ("_s3_listing", unlisted, "_s3_file", "_s3_modified_at", "_s3_line")

    def _list(self, dataset: ReadRequest) -> Listing:
        options = _options(dataset)
        with _named(dataset):
            return list_files(self._access, options.bucket, options.prefix, options.suffix)

    def _copies(
        self, dataset: ReadRequest, before: ReadFiles, listing: Listing, files: Sequence[S3File]
    ) -> tuple[dict[str, Known], dict[tuple[str, str], str], list[str]]:
        """Returns three things: the files that hold what is published, by key, with what they are copies of; the MD5s,
        by key and ETag, of files that were read to find out; and the keys of possible copies that could not be
        compared."""
        if _options(dataset).copies == "read":
            return {}, {}, []
        known = {file.key: before.files[file.key] for file in files if before.holds(file)}
        unknown = [file for file in files if file.key not in known]
        copies = {key: file for key, file in known.items() if file.copy_of is not None}
        if unknown and (before.files or before.gone):
            layout = self._layout(dataset, self._columns(dataset))
            contents = Contents(self._access, layout, before, listing.files)
            copies |= contents.copies(unknown)
            return copies, contents.digests, contents.uncompared
        return copies, {}, []

    def _columns(self, dataset: ReadRequest) -> tuple[Column, ...]:
        return declared_columns(_options(dataset).columns, "csv")

    def _layout(self, dataset: ReadRequest, columns: tuple[Column, ...]) -> Layout:
        options = _options(dataset)
        return Layout(
            columns,
            options.delimiter,
            options.header,
            names_shown=not dataset.masked_columns,
            null_text=options.null_text,
            encoding=options.encoding,
        )

    def _planned_files(self, dataset: ReadRequest, plan: ReadPlan) -> dict[int, list[S3File]]:
        bucket = _options(dataset).bucket
        return {
            slice_.id: [
                S3File(
                    bucket,
                    entry["key"],
                    entry["etag"],
                    entry["size"],
                    entry["modified_at"],
                    # A plan of an earlier version has no listing.
                    listing=entry.get("listing"),
                )
                for entry in cast("list[dict[str, Any]]", slice_.detail["files"])
            ]
            for slice_ in plan.slices
        }

    def _check_unmoved(self, dataset: ReadRequest, slices: Mapping[int, Sequence[S3File]]) -> None:
        now = {file.key: file.etag for file in self._list(dataset).files}
        for file in (file for files in slices.values() for file in files):
            if now.get(file.key) != file.etag:
                raise moved(file).located(pipeline=dataset.pipeline, dataset=dataset.name)


@contextmanager
def _named(dataset: ReadRequest) -> Iterator[None]:
    try:
        yield
    except LakeferryError as error:
        raise error.located(pipeline=dataset.pipeline, dataset=dataset.name) from None


def _check_masked_path_columns(dataset: ReadRequest, files: Sequence[S3File]) -> None:
    for file in files if dataset.masked_columns else ():
        shown = sorted(dataset.masked_columns & path_values(file.key).keys())
        if shown:
            raise SpecError(
                f"mask on {shown[0]!r}, whose value is part of the files' names, which plans and _s3_file hold",
                pipeline=dataset.pipeline,
                dataset=dataset.name,
                fix="Leave it unmasked, or have the files laid out by another column",
            )


def _options(dataset: ReadRequest) -> S3Options:
    return cast("S3Options", dataset.options)


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is not an instant", fix="Write YYYY-MM-DDThh:mm:ssZ") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _objects(part: Slice) -> list[tuple[str, str]]:
    """Returns key and ETag of each file of a slice."""
    return [(entry["key"], entry["etag"]) for entry in cast("list[dict[str, Any]]", part.detail["files"])]


def _entry(file: S3File) -> dict[str, JsonValue]:
    return {
        "key": file.key,
        "etag": file.etag,
        "size": file.size,
        "modified_at": file.modified_at,
        "listing": file.listing,
    }


def _within(instant: datetime, start: datetime | None, end: datetime | None) -> bool:
    return (not start or instant >= start) and (not end or instant < end)


def _warnings(
    options: S3Options,
    listing: Listing,
    waiting: Mapping[str, str],
    copies: Mapping[str, Known],
    uncompared: Sequence[str],
    after: ReadFiles | None,
) -> Iterator[str]:
    if waiting:
        files = named([f"s3://{options.bucket}/{key} ({condition})" for key, condition in waiting.items()])
        yield (
            f"{len(waiting):,} archived files wait, since they cannot be read: {files}. Restore them, or move them out "
            f"of {options.path}"
        )
    if copies:
        files = named([f"{key} (as {copy.copy_of})" for key, copy in copies.items()])
        yield (
            f"{len(copies):,} files of s3://{options.bucket} hold what is published already, and are not read: "
            f"{files}. Write `copies: read` on the dataset to read them anyway"
        )
    if uncompared:
        yield (
            f"{len(uncompared):,} files of s3://{options.bucket} may be copies of published files and are read as new: "
            f"{named(uncompared)}. They have the size of such files, and there is no MD5 to compare. `reconcile: "
            f"counts` takes it of files that are read; plan reads at most {MOST_COMPARED_BYTES >> 20:,} MiB to take it"
        )
    if after and after.forgotten and options.copies == "skip":
        yield (
            f"{after.newly_gone:,} contents have left s3://{options.bucket}, deleted or replaced, and only the last "
            f"{len(after.gone):,} are remembered: {after.forgotten:,} of them would be read as new if they came again"
        )
    if listing.beside and not listing.files:
        yield (
            f"all {listing.beside:,} files under {options.path} are left out: a segment of their names begins with _ "
            "or ., as those of unfinished files do. If they are data, name their folder in `path`"
        )


def _unread_files(waiting: Mapping[str, str], copies: Mapping[str, Known]) -> str | None:
    """Returns, in a few words, which files are not read; None if all are."""
    notes = [f"{len(waiting):,} archived files wait"] if waiting else []
    notes += [f"{len(copies):,} files hold what is published already"] if copies else []
    return ", ".join(notes) or None


def _notes(listing: Listing) -> Iterator[str]:
    if listing.beside and listing.files:
        yield f"{listing.beside:,} files are not data: a segment of their names begins with _ or ."


def _grouped(files: Sequence[S3File], size: int) -> Iterator[list[S3File]]:
    group: list[S3File] = []
    group_bytes = 0
    for file in files:
        if group and (group_bytes + file.size > size or len(group) >= FILES_PER_SLICE):
            yield group
            group, group_bytes = [], 0
        group.append(file)
        group_bytes += file.size
    if group:
        yield group
