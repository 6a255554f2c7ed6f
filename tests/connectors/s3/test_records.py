"""CSV records keep their line, their text and their bytes."""

from __future__ import annotations

import base64
import io
import tracemalloc

from connectors.s3.records import MAX_RECORD_BYTES, Record, path_values, records


def read(data: bytes, delimiter: str = ",") -> list[Record]:
    return list(records(io.BytesIO(data), delimiter))


def test_records_say_where_they_begin() -> None:
    found = read('\ufeffa,b\r\n1,"x, ""y""\nz"\n\n\r\n2,\n3,😀'.encode())
    assert [(r.line, r.fields, r.reason) for r in found] == [
        (1, ["a", "b"], None),
        (2, ["1", 'x, "y"\nz'], None),
        (6, ["2", ""], None),
        (7, ["3", "😀"], None),
    ]
    assert found[1].text == '1,"x, ""y""\nz"'


def test_a_line_that_is_not_utf8_is_refused_alone() -> None:
    found = read(b"1,ok\n2,\xff\n3,ok\n")
    assert [r.reason is None for r in found] == [True, False, True]
    assert base64.b64decode(found[1].text) == b"2,\xff"


def test_stray_quotes_and_carriage_returns_are_refused_alone() -> None:
    found = read(b'1,"a"b\n2,ok\n3,a\rb\n4,"never closed\n')
    assert [(r.line, r.reason) for r in found] == [
        (1, "not CSV: text after a closing quote"),
        (2, None),
        (3, "not CSV: a carriage return outside quotes"),
        (4, "not CSV: a quote is never closed"),
    ]


def test_a_forgotten_quote_cannot_pull_a_file_into_memory() -> None:
    class Unclosed(io.RawIOBase):
        """A quote, then 32 MB of lines, made as they are read."""

        opening = b'1,"'
        left = 32 << 20

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
            data = (self.opening or b"x" * 999 + b"\n")[: self.left]
            self.opening = b""
            self.left -= len(data)
            buffer[: len(data)] = data
            return len(data)

    tracemalloc.start()
    found = [(record.reason, len(record.text)) for record in records(io.BufferedReader(Unclosed(), 4096), ",")]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found[0] == (f"longer than {MAX_RECORD_BYTES} bytes (cut short here)", 1000)
    assert {reason for reason, _ in found[1:]} == {None}
    assert len(found) == 1 + 32_506, "the lines after the first MB are records again"
    assert peak < 16 * MAX_RECORD_BYTES


def test_a_line_too_long_is_one_record_cut_short() -> None:
    found = read(b"1,a\n" + b"x" * (3 * MAX_RECORD_BYTES) + b"\n2,b\n")
    assert [r.line for r in found] == [1, 2, 3]
    assert found[1].reason == f"longer than {MAX_RECORD_BYTES} bytes (cut short here)"
    assert len(found[1].text) == 1000
    assert found[2].fields == ["2", "b"]


def test_other_delimiters() -> None:
    assert read(b"1\ta,b\n", "\t")[0].fields == ["1", "a,b"]


def test_hive_paths_are_unquoted() -> None:
    key = "in/dt=2026-11-20/city=S%C3%A3o%20Paulo/x=__HIVE_DEFAULT_PARTITION__/plain/name=a.csv"
    assert path_values(key) == {"dt": "2026-11-20", "city": "São Paulo", "x": None}


def test_lines_that_end_in_cr_alone_are_lines() -> None:
    found = list(records(io.BytesIO(b'id,v\r1,"a\rb"\r\n\r2,y\n3,z'), ",", ends_in_cr=True))
    assert [(r.line, r.fields) for r in found] == [
        (1, ["id", "v"]),
        (2, ["1", "a\rb"]),
        (5, ["2", "y"]),
        (6, ["3", "z"]),
    ]


def test_a_crlf_across_two_chunks_is_one_line_end() -> None:
    first = b"1," + b"x" * ((1 << 16) - 3)
    found = list(records(io.BytesIO(first + b"\r\n2,y\r"), ",", ends_in_cr=True))
    assert [(r.line, r.fields[0]) for r in found] == [(1, "1"), (2, "2")]
