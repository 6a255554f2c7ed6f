"""Reads CSV records from a stream of bytes, each with the line where it begins and its original text (RFC 4180)."""

from __future__ import annotations

import base64
import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO
from urllib.parse import unquote

MAX_RECORD_BYTES = 1 << 20
"""A longer line or field is refused, so that a forgotten quote cannot pull a whole file into memory."""

_UNDECODED = re.compile("[\udc80-\udcff]")
_LINE_END = re.compile(rb"\r\n?|\n")
_CHUNK_BYTES = 1 << 16
_NOT_UTF8 = "not UTF-8 (the record is in base64)"
_PATH_VALUE = re.compile(r"([^=/]+)=([^/]*)")
_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class Record:
    """One record: `line` counts from 1; `reason` says why it cannot be split, and then `fields` is empty."""

    line: int
    fields: list[str]
    text: str
    reason: str | None = None


class _AnyLineEnd:
    """Lines of a byte stream that end in CR, LF or CRLF, with a file's `readline`."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._buffer = b""
        self._at = 0
        self._ended = False

    def readline(self, size: int) -> bytes:
        """Returns the next line with its end, at most `size` bytes of it; empty at the end of the stream."""
        while True:
            end = _LINE_END.search(self._buffer, self._at)
            # A CR at the end of the buffer may be the first half of a CRLF.
            if end and (end.end() < len(self._buffer) or self._ended):
                return self._take(min(end.end() - self._at, size))
            if self._ended or len(self._buffer) - self._at > size:
                return self._take(min(len(self._buffer) - self._at, size))
            chunk = self._stream.read(_CHUNK_BYTES)
            self._ended = not chunk
            self._buffer, self._at = self._buffer[self._at :] + chunk, 0

    def _take(self, size: int) -> bytes:
        line = self._buffer[self._at : self._at + size]
        self._at += size
        return line


class _Lines(Iterator[str]):
    """Lines of a byte stream, remembered until the record to which they belong is taken.

    A byte that is not UTF-8 becomes a lone surrogate, by which its record is recognised.
    """

    def __init__(self, stream: IO[bytes], ends_in_cr: bool) -> None:
        self._stream = _AnyLineEnd(stream) if ends_in_cr else stream
        self._ends = (b"\r", b"\n") if ends_in_cr else (b"\n",)
        self._number = 0
        self._lines: list[str] = []
        self._line_bytes = 0
        self._too_long = False

    def __next__(self) -> str:
        raw = self._stream.readline(MAX_RECORD_BYTES)
        if not raw:
            raise StopIteration
        if len(raw) == MAX_RECORD_BYTES and not raw.endswith(self._ends):
            self._too_long = True
            while (rest := self._stream.readline(MAX_RECORD_BYTES)) and not rest.endswith(self._ends):
                pass
        self._number += 1
        if self._number == 1:
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        line = raw.decode("utf-8", "surrogateescape")
        self._lines.append(line)
        self._line_bytes += len(raw)
        if self._line_bytes > MAX_RECORD_BYTES:
            self._too_long = True
        return line

    def take(self) -> tuple[int, str, bool]:
        """Returns first line, text and whether it is too long, for the lines since the last call."""
        first = self._number - len(self._lines) + 1
        text, too_long = "".join(self._lines), self._too_long
        self._lines, self._line_bytes, self._too_long = [], 0, False
        return first, text, too_long


def records(
    stream: IO[bytes], delimiter: str, *, ends_in_cr: bool = False, encoding: str | None = None
) -> Iterator[Record]:
    """Yields the records of a file; a blank line is not a record. Quoting is strict: a stray quote is a reason.

    Lines end in LF or CRLF; with `ends_in_cr` also in CR alone. `encoding` names the file's encoding before it became
    UTF-8, if that was another.
    """
    csv.field_size_limit(MAX_RECORD_BYTES)
    lines = _Lines(stream, ends_in_cr)
    undecoded = f"not {encoding} (the record is UTF-8 in base64, but for its bad bytes)" if encoding else _NOT_UTF8
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        problem = None
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            fields, problem = [], _plain(str(error))
        first, text, too_long = lines.take()
        if not fields and problem is None:
            continue
        text = text.rstrip("\r\n")
        if too_long:
            yield Record(first, [], _printable(text[:1000]), f"longer than {MAX_RECORD_BYTES} bytes (cut short here)")
        elif _UNDECODED.search(text):
            raw = text.encode("utf-8", "surrogateescape")
            yield Record(first, [], base64.b64encode(raw).decode("ascii"), undecoded)
        elif problem is not None:
            yield Record(first, [], text, f"not CSV: {problem}")
        else:
            yield Record(first, fields, text)


def path_values(key: str) -> dict[str, str | None]:
    """Returns the values in a Hive-style key: `settlements/dt=2026-11-20/a.csv` → `{"dt": "2026-11-20"}`."""
    values: dict[str, str | None] = {}
    for part in key.split("/")[:-1]:
        if match := _PATH_VALUE.fullmatch(part):
            value = unquote(match[2])
            values[unquote(match[1])] = None if value == _HIVE_NULL else value
    return values


def _printable(text: str) -> str:
    return _UNDECODED.sub("�", text)


def _plain(problem: str) -> str:
    if "expected after" in problem:
        return "text after a closing quote"
    if "unexpected end of data" in problem:
        return "a quote is never closed"
    if "new-line character" in problem:
        return "a carriage return outside quotes"
    if "field limit" in problem:
        return f"a field is longer than {MAX_RECORD_BYTES} characters: a quote is never closed?"
    return problem
