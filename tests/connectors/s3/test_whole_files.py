"""A file that cannot be read at all is at least one record that names it; a healthy one is quiet."""

from __future__ import annotations

import bz2
import gzip
import io
import zipfile

import pytest

from connectors.base import Column
from connectors.s3.encodings import ENCODINGS
from connectors.s3.files import Layout, file_records
from connectors.s3.records import Record

COLUMNS = (
    Column(name="id", source_type="csv", spark_type="bigint"),
    Column(name="v", source_type="csv", spark_type="string"),
)


def read(data: bytes, *, header: bool = True, encoding: str = "utf-8") -> tuple[tuple[str, ...] | None, list[Record]]:
    stream = io.BufferedReader(io.BytesIO(data), 1 << 20)
    found = file_records(stream, Layout(COLUMNS, ",", header, encoding=encoding), "in/a.csv", "s3://b/in/a.csv")
    return found.names, list(found.records)


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.csv", "id,v\n1,x\n")
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (gzip.compress(b"id,v\n1,x\n", mtime=0), "compressed by gzip"),
        (zipped(), "a ZIP archive or an Excel workbook"),
        (bz2.compress(b"id,v\n1,x\n"), "compressed by bzip2"),
        (bz2.compress(b""), "compressed by bzip2"),
        (b"\x28\xb5\x2f\xfd\x24\x09", "compressed by Zstandard"),
        (b"PAR1\x15\x04\x15", "Parquet"),
        ("id,v\r\n1,売上\r\n".encode("utf-16"), "UTF-16 text"),
        (b"\xfe\xff" + "id,v\r\n1,売上\r\n".encode("utf-16-be"), "UTF-16 text"),
        ("id,v\n1,x\n".encode("utf-32"), "UTF-32 text"),
        ("id,v\r\n1,x\r\n".encode("utf-16-le"), "UTF-16 without a byte order mark?"),
        ("id,v\n1,売上\n".encode("utf-16-be"), "UTF-16 without a byte order mark?"),
        (b"\x00" * 5000, "NUL bytes"),
    ],
)
@pytest.mark.parametrize("header", [True, False])
def test_what_is_no_text_is_one_record(data: bytes, words: str, header: bool) -> None:
    names, found = read(data, header=header)
    assert names is None
    assert len(found) == 1
    assert found[0].reason is not None
    assert found[0].reason.startswith("s3://b/in/a.csv: ")
    assert words in found[0].reason
    assert "in base64" in found[0].reason


@pytest.mark.parametrize(
    ("data", "texts", "words"),
    [
        (b'id,"v\n1,x\n2,y\n', ['id,"v\n1,x\n2,y\n'.rstrip("\n")], "its header is not CSV: a quote is never closed"),
        (b'id,"v"x\n1,x\n', ['id,"v"x', "1,x"], "its header is not CSV: text after a closing quote"),
        (b"3,x\n", ["3,x"], "neither header nor path has column id, v; the first line has none of the declared names"),
        (b"3,x\n4,y\n5,z\n", ["3,x", "4,y", "5,z"], "header: false reads it as a row"),
        (b"id,other\n", ["id,other"], "neither header nor path has column v; the header is id, other"),
        (b"id,other\n1,x\n", ["1,x"], "the header is id, other"),
        (b"\n\r\n\n", [""], "it has no header, only blank lines"),
        (b"x" * (1 << 21), ["x" * 1000], "its header is longer than 1048576 bytes"),
    ],
)
def test_a_header_that_does_not_do_refuses_the_whole_file(data: bytes, texts: list[str], words: str) -> None:
    names, found = read(data)
    assert names is None
    assert [record.text for record in found] == texts
    for record in found:
        assert record.reason is not None
        assert record.reason.startswith("s3://b/in/a.csv: ")
        assert words in record.reason


def test_a_reason_says_of_each_record_what_its_text_is() -> None:
    _, found = read("取引番号,金額\r\n1,100\r\n2,円\r\n".encode("cp932"))
    why = "s3://b/in/a.csv: its header is not UTF-8"
    assert [record.reason for record in found] == [
        f"{why}; not UTF-8 (the record is in base64)",
        why,
        f"{why}; not UTF-8 (the record is in base64)",
    ]
    assert found[1].text == "1,100"


def test_a_row_of_a_file_without_a_header_is_in_no_reason() -> None:
    _, found = read(b"3,secret\n")
    assert found[0].reason is not None
    assert "secret" not in found[0].reason


@pytest.mark.parametrize("data", [b"", b"\xef\xbb\xbf", b"id,v\n", b"id,v", b"v,id,more\r\n", b"\xef\xbb\xbfid,v\r\n"])
def test_a_file_without_rows_is_quiet(data: bytes) -> None:
    names, found = read(data)
    assert names is not None
    assert found == []


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_a_file_without_rows_and_header_is_quiet(data: bytes) -> None:
    assert read(data, header=False) == (("id", "v"), [])


@pytest.mark.parametrize("data", [b"id,v\r1,x\r2,y\r", b"id,v\r1,x\r2,y", b'id,v\r1,"x"\r2,y\r'])
def test_lines_that_end_in_cr_are_rows(data: bytes) -> None:
    assert [record.fields for record in read(data)[1]] == [["1", "x"], ["2", "y"]]


@pytest.mark.parametrize(
    ("data", "reasons"),
    [
        (b"id,v\n1,a\rb\n2,y\n", ["not CSV: a carriage return outside quotes", None]),
        (b'id,v\r\n1,"a\rb"\r\n2,y\r\n', [None, None]),
        (b'id,"v"\r\n1,"a\rb\n"\r\n', [None]),
        (b"id,v\r\r\n1,x\r\r\n", [None]),
        (b"id,v\n1,BZh91AY\n2,\x00nul\n", [None, None]),
    ],
)
def test_a_file_with_other_line_ends_is_read_as_before(data: bytes, reasons: list[str | None]) -> None:
    names, found = read(data)
    assert names == ("id", "v")
    assert [record.reason for record in found] == reasons


def test_names_of_columns_that_look_like_a_format_are_names() -> None:
    columns = (Column(name="BZh91", source_type="csv", spark_type="string"),)
    stream = io.BufferedReader(io.BytesIO(b"BZh91,PAR\n1,2\n"))
    found = file_records(stream, Layout(columns, ",", True), "a.csv", "s3://b/a.csv")
    assert found.names == ("BZh91", "PAR")


@pytest.mark.parametrize(
    ("encoding", "codec"),
    [
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"),
        ("utf-32", "utf-32"),
        ("cp932", "cp932"),
        ("shift_jis", "shift_jis"),
        ("euc_jp", "euc_jp"),
        ("gb18030", "gb18030"),
    ],
)
def test_other_encodings_are_read_where_the_dataset_says_so(encoding: str, codec: str) -> None:
    # The second byte of 表 in CP932 is a backslash; a line end and a comma are inside quotes.
    text = 'id,v\r\n1,"売上, 表\n"\r\n2,円\r\n'
    names, found = read(text.encode(codec), encoding=encoding)
    assert names == ("id", "v")
    assert [(r.line, r.fields) for r in found] == [(2, ["1", "売上, 表\n"]), (4, ["2", "円"])]


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (b"id,v\n1,\x81\n2,\x89\x7e\n3,ok\n", "cp932"),
        ("id,v\n1,\ud800\n2,円\n3,ok\n".encode("utf-16-le", "surrogatepass"), "utf-16-le"),
    ],
)
def test_a_record_that_is_not_in_the_encoding_is_refused_alone(data: bytes, encoding: str) -> None:
    _, found = read(data, encoding=encoding)
    assert [(r.reason or "").startswith(f"not {encoding} (the record is ") for r in found] == [True, False, False]
    assert [r.fields for r in found[1:]] == [["2", "円"], ["3", "ok"]]


def test_a_file_in_another_encoding_than_the_dataset_says_is_refused() -> None:
    assert "it is UTF-16 text, and the dataset's encoding is cp932" in str(
        read("id,v\n1,x\n".encode("utf-16"), encoding="cp932")[1][0].reason
    )
    for encoding in ("cp932", "utf-16"):
        names, found = read(gzip.compress(b"id,v\n1,x\n", mtime=0), encoding=encoding)
        assert names is None
        assert "compressed by gzip" in str(found[0].reason)
    assert read(b"id,v\n1,x\n", encoding="utf-16-le")[0] is None


@pytest.mark.parametrize(
    ("encoding", "data", "words"),
    [
        ("utf-16", b"id,v\n2,x\n", "no byte order mark; write encoding: utf-16-le or utf-16-be"),
        ("utf-16", "id,v\n2,x\n".encode("utf-16-le"), "no byte order mark; write encoding: utf-16-le or utf-16-be"),
        ("utf-16", "id,v\n2,円\n".encode("utf-16-be"), "no byte order mark; write encoding: utf-16-le or utf-16-be"),
        ("utf-16", b"i", "no byte order mark"),
        ("utf-16", b"\xef\xbb\xbfid,v\n2,x\n", "it is UTF-8 text, and the dataset's encoding is utf-16"),
        ("utf-16", "id,v\n2,x\n".encode("utf-32"), "it is UTF-32 text, and the dataset's encoding is utf-16"),
        ("utf-32", b"id,v\n2,x\n", "no byte order mark; write encoding: utf-32-le or utf-32-be"),
        ("utf-32", b"\n", "no byte order mark"),
        ("utf-32", "id,v\n2,x\n".encode("utf-16"), "it is UTF-16 text, and the dataset's encoding is utf-32"),
        ("utf-16-le", b"\xfe\xff" + "2,x\n".encode("utf-16-be"), "it is UTF-16 text of the other byte order"),
        ("utf-16-be", "2,x\n".encode("utf-16"), "it is UTF-16 text of the other byte order"),
        ("utf-32-be", b"\xff\xfe\0\0" + "2,x\n".encode("utf-32-le"), "it is UTF-32 text of the other byte order"),
        ("utf-16-le", "id,v\n2,x\n".encode("utf-32"), "it is UTF-32 text, and the dataset's encoding is utf-16-le"),
    ],
)
@pytest.mark.parametrize("header", [True, False])
def test_a_file_whose_byte_order_is_unknown_or_another_is_one_record(
    encoding: str, data: bytes, words: str, header: bool
) -> None:
    names, found = read(data, encoding=encoding, header=header)
    assert names is None
    assert [(record.reason or "").startswith(f"s3://b/in/a.csv: {words}") for record in found] == [True]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_any_bytes_in_any_encoding_are_records_or_a_reason(encoding: str) -> None:
    ends = (b"", b"\0", b"\xff", b"\xd8\x00", b"\x00\xd8", b"\x1b$B", b"\x81", b"\xff\xff\xff\xff")
    for start in ("", "id,v\n1,x\n", "\ufeffid,v\n1,x\n"):
        for codec in ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"):
            for end in ends:
                read(start.encode(codec) + end, encoding=encoding)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_a_byte_order_mark_is_no_part_of_the_text(encoding: str) -> None:
    names, found = read("\ufeffid,v\n1,円\n".encode(encoding), encoding=encoding)
    assert names == ("id", "v")
    assert [record.fields for record in found] == [["1", "円"]]
    assert read(b"", encoding=encoding) == ((), [])


def test_a_header_that_begins_like_parquet_is_a_header() -> None:
    columns = (Column(name="PAR1", source_type="csv", spark_type="string"),)
    for data, delimiter in ((b"PAR1,v\n1,x\n", ","), (b"PAR1\tv\r\n1\tx\r\n", "\t"), (b"PAR1\n1\n", ",")):
        stream = io.BufferedReader(io.BytesIO(data))
        found = file_records(stream, Layout(columns, delimiter, True), "a.csv", "s3://b/a.csv")
        assert found.names is not None
        assert found.names[0] == "PAR1"
