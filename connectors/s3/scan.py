"""CSV files taken apart in Spark's Python executors: files in, Arrow batches of text out, one slice a task."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from connectors.s3.bucket import Access, S3File, open_file
from connectors.s3.files import Layout, file_records
from connectors.s3.records import Record, path_values

if TYPE_CHECKING:
    from datetime import datetime

    import pyarrow as pa
    from mypy_boto3_s3 import S3Client

    from connectors.base import Column

BATCH_ROWS = 10_000
BATCH_CHARACTERS = 8 << 20


@dataclass
class _Batch:
    """Rows of text on their way into one Arrow batch."""

    texts: list[list[str | None]]
    files: list[str] = field(default_factory=list)
    etags: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    modified: list[datetime] = field(default_factory=list)
    listings: list[int | None] = field(default_factory=list)
    reasons: list[str | None] = field(default_factory=list)
    records: list[str] = field(default_factory=list)
    characters: int = 0

    @property
    def full(self) -> bool:
        return len(self.lines) >= BATCH_ROWS or self.characters >= BATCH_CHARACTERS

    def arrow(self, slice_id: int, columns: Sequence[Column]) -> pa.RecordBatch:
        import pyarrow as pa

        from connectors.base import SLICE_COLUMN
        from connectors.declared.columns import REASON, RECORD, text_name
        from connectors.declared.text_values import checked_columns

        texts, reasons = checked_columns(
            [pa.array(text, pa.string()) for text in self.texts], columns, pa.array(self.reasons, pa.string()), ""
        )
        arrays = {text_name(index): text for index, text in enumerate(texts)}
        arrays |= {
            "_s3_file": pa.array(self.files, pa.string()),
            "_s3_etag": pa.array(self.etags, pa.string()),
            "_s3_line": pa.array(self.lines, pa.int64()),
            "_s3_modified_at": pa.array(self.modified, pa.timestamp("us", "UTC")),
            "_s3_listing": pa.array(self.listings, pa.int64()),
            SLICE_COLUMN: pa.array([slice_id] * len(self.lines), pa.int32()),
            REASON: reasons,
            RECORD: pa.array(self.records, pa.string()),
        }
        return pa.RecordBatch.from_arrays(list(arrays.values()), list(arrays))


def scan(
    access: Access, layout: Layout, slices: Mapping[int, Sequence[S3File]], ids: Iterable[int]
) -> Iterator[pa.RecordBatch]:
    """The rows of some slices as text: `_text_…` for each column, `_s3_file`, `_s3_etag`, `_s3_line`,
    `_s3_modified_at`, `_s3_listing`, `_slice`, `_reason`, `_record`."""
    client = access.client()
    for slice_id in ids:
        batch = _Batch([[] for _ in layout.columns])
        for file in slices[slice_id]:
            for record, values in rows(access, client, layout, file):
                for index, text in enumerate(batch.texts):
                    text.append(values[index])
                batch.files.append(file.uri)
                batch.etags.append(file.etag)
                batch.lines.append(record.line)
                batch.modified.append(file.modified)
                batch.listings.append(file.listing)
                batch.reasons.append(record.reason)
                batch.records.append(record.text)
                batch.characters += len(record.text)
                if batch.full:
                    yield batch.arrow(slice_id, layout.columns)
                    batch = _Batch([[] for _ in layout.columns])
        if batch.lines:
            yield batch.arrow(slice_id, layout.columns)


def rows(
    access: Access, client: S3Client, layout: Layout, file: S3File
) -> Iterator[tuple[Record, Sequence[str | None]]]:
    """Each record of one file after its header, and the text of each declared column (all None where refused).

    A header that does not give every declared column refuses every record of the file: none is silently NULL.
    """
    nothing: list[str | None] = [None] * len(layout.columns)
    in_path = path_values(file.key)
    with open_file(access, client, file) as stream:
        content = file_records(stream, layout, file.key, file.uri)
        names = content.names
        if names is None:
            for record in content.records:
                yield record, nothing
            return
        places = [names.index(name) if name in names else None for name in layout.names]
        from_path = [in_path.get(name) for name in layout.names]
        for record in content.records:
            if record.reason is not None:
                yield record, nothing
            elif len(record.fields) != len(names):
                reason = f"{len(record.fields)} fields, not {len(names)}"
                yield Record(record.line, [], record.text, reason), nothing
            else:
                fields: list[str | None] = [*record.fields]
                if layout.null_text is not None:
                    fields = [None if field == layout.null_text else field for field in fields]
                yield (
                    record,
                    [value if place is None else fields[place] for place, value in zip(places, from_path, strict=True)],
                )
