"""One CSV file as a whole: its format by its first bytes, its header, and whether its records can be read at all.

A file that cannot be read gives at least one record, which names the file and the reason. No such file is skipped.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from connectors.s3.encodings import AsUtf8, is_wide, other_encoding
from connectors.s3.records import Record, path_values, records

if TYPE_CHECKING:
    from connectors.base import Column

SHOWN_BYTES = 300
"""How many bytes are kept as the record of a file that is not text."""
_HEAD_BYTES = 1 << 16
_BOM = b"\xef\xbb\xbf"
_FORMATS = (
    (b"\x1f\x8b", "compressed by gzip"),
    (b"PK\x03\x04", "a ZIP archive or an Excel workbook"),
    (b"PK\x05\x06", "an empty ZIP archive"),
    (b"\x28\xb5\x2f\xfd", "compressed by Zstandard"),
    (b"\xfd7zXZ\x00", "compressed by xz"),
    (b"\x04\x22\x4d\x18", "compressed by LZ4"),
    (b"\xff\x06\x00\x00sNaPpY", "compressed by Snappy"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Excel workbook of the old format"),
    (b"Obj\x01", "Avro"),
)
"""First bytes of files that are not text (RFC 1952, RFC 8878, APPNOTE.TXT of ZIP, the Avro specification)."""
_PARQUET = re.compile(rb"PAR1[^\n]{0,15}?[\x00-\x08\x0e-\x1f]")
"""Letters with which a name may begin, soon followed by bytes that no text has: the header of a page, in Thrift's
compact protocol (the Parquet specification)."""
_BZIP2 = re.compile(rb"BZh[1-9](1AY&SY|\x17\x72\x45\x38\x50\x90)")
_QUOTED = re.compile(rb'"[^"]*("|$)')
_LONE_CR = re.compile(rb"\r(?!\n)")


@dataclass(frozen=True)
class Layout:
    """How the files are written, and the declared columns in order.

    `names_shown`: a reason may list the header, which is the first record of a file without one. A field that is
    `null_text` is NULL. `encoding` is one of `ENCODINGS`.
    """

    columns: tuple[Column, ...]
    delimiter: str
    header: bool
    names_shown: bool = True
    null_text: str | None = None
    encoding: str = "utf-8"

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)


@dataclass(frozen=True)
class FileRecords:
    """The names of a file's fields, and its records after the header. `names` is missing if the whole file is refused:
    then each record has a reason."""

    names: tuple[str, ...] | None
    records: Iterator[Record]


def file_records(stream: io.BufferedReader[Any], layout: Layout, key: str, uri: str) -> FileRecords:
    """Splits one file into its field names and records.

    A file without a byte, or with a header alone, has no records. Three kinds of files are refused whole, with at least
    one record:

    - a file whose first bytes are not UTF-8 text;
    - a file whose header cannot be read, or does not have every declared column;
    - a file of blank lines alone that should have a header.

    Args:
        stream: the file from its beginning.
        key: the object's key, whose `name=value` segments give columns too.
        uri: what reasons call the file.
    """
    head = stream.peek(_HEAD_BYTES)
    problem = not_text(head, layout)
    if problem:
        shown = base64.b64encode(head[:SHOWN_BYTES]).decode("ascii")
        reason = f"{uri}: {problem} (the record is the first bytes of the file, in base64)"
        return FileRecords(None, iter([Record(1, [], shown, reason)]))
    if layout.encoding != "utf-8":
        stream = io.BufferedReader(AsUtf8(stream, layout.encoding), _HEAD_BYTES)
        head = stream.peek(_HEAD_BYTES)
    parsed = records(
        stream,
        layout.delimiter,
        ends_in_cr=lines_end_in_cr(head),
        encoding=None if layout.encoding == "utf-8" else layout.encoding,
    )
    in_path = path_values(key)
    if not layout.header:
        return FileRecords(tuple(name for name in layout.names if name not in in_path), parsed)
    first = next(parsed, None)
    if first is None:
        if not head.removeprefix(_BOM):
            return FileRecords((), iter(()))
        return FileRecords(None, iter([Record(1, [], "", f"{uri}: it has no header, only blank lines")]))
    names = tuple(name.strip() for name in first.fields)
    if first.reason is not None:
        # The text in brackets in the reason is about the record's text.
        problem, of_header = f"its header is {first.reason.partition(' (')[0]}", True
    else:
        problem, of_header = _header_problem(layout, names, in_path)
    if problem is None:
        return FileRecords(names, parsed)
    return FileRecords(None, _refused(first, parsed, f"{uri}: {problem}", of_header))


def not_text(head: bytes, layout: Layout) -> str | None:
    """Returns why a file that begins with these bytes cannot be text in the layout's encoding; None if it may be."""
    for magic, name in _FORMATS:
        if head.startswith(magic):
            return _no_csv(name)
    if _BZIP2.match(head):
        return _no_csv("compressed by bzip2")
    if _PARQUET.match(head):
        return _no_csv("Parquet")
    problem = other_encoding(head, layout.encoding)
    if problem or is_wide(layout.encoding):
        return problem
    sample = head[:4096]
    in_header = layout.header and b"\0" in head.partition(b"\n")[0]
    # In UTF-16 one of two bytes is NUL for each ASCII letter; text in UTF-8 has no NUL bytes.
    if in_header or (sample and sample.count(0) * 4 >= len(sample)):
        return (
            "it holds NUL bytes where text is due (UTF-16 without a byte order mark?), and the dataset's encoding is "
            f"{layout.encoding}"
        )
    return None


def _no_csv(name: str) -> str:
    return f"it is {name}, and only CSV text can be read: store it as such"


def lines_end_in_cr(head: bytes) -> bool:
    """Whether the lines of a file that begins with these bytes end in CR alone, as old spreadsheets write them."""
    line, end, _ = head.partition(b"\n")
    if b"\r" not in line.rstrip(b"\r" if end else b""):
        return False
    unquoted = _QUOTED.sub(b"", head)
    return b"\n" not in unquoted and _LONE_CR.search(unquoted) is not None


def _refused(first: Record, others: Iterator[Record], why: str, of_header: bool) -> Iterator[Record]:
    """Yields the records of a file that is refused whole.

    Args:
        of_header: whether the header counts as a record: it cannot be read, or may be the first row of a file without a
            header. It also counts if there is no other record.
    """
    alone = True
    if of_header:
        yield _because(first, why)
        alone = False
    for record in others:
        yield _because(record, why)
        alone = False
    if alone:
        yield _because(first, why)


def _because(record: Record, why: str) -> Record:
    return Record(record.line, [], record.text, "; ".join(filter(None, [why, record.reason])))


def _header_problem(layout: Layout, names: Sequence[str], in_path: Mapping[str, str | None]) -> tuple[str | None, bool]:
    """Returns why a header is not accepted, and whether it may be a row of data because no name in it is declared."""
    missing = [name for name in layout.names if name not in names and name not in in_path]
    if missing:
        problem = f"neither header nor path has column {', '.join(missing)}"
        if not set(names) & set(layout.names):
            # It may be a row of data, whose values no reason shows.
            return f"{problem}; the first line has none of the declared names (header: false reads it as a row)", True
        return problem + (f"; the header is {', '.join(names)}" if layout.names_shown else ""), False
    twice = sorted({name for name in names if name in layout.names and names.count(name) > 1})
    return (f"the header has column {', '.join(twice)} twice" if twice else None), False
