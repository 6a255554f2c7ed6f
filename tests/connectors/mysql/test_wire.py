"""Packets made by hand, fed to the reader in pieces of any size: whole rows come out, or an error that says why."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Sequence
from typing import Any

import pymysql
import pytest
from pymysql.constants import CR

from connectors.mysql.wire.binary_fields import Texts, fields_of
from connectors.mysql.wire.packets import ProtocolError, Rows

Row = tuple[bytes | None, ...]
FULL = 0xFFFFFF
EOF = b"\xfe\0\0\x02\0"
PREPARED = b"\0\x01\0\0\0%c\0\0\0\0\0\0"
KILLED = b"\xff\x25\x05#70100Query execution was interrupted"
DEFINITION = b"\x03def\0\0\0\x01c\x01c\x0c\x2d\0\xff\0\0\0\xfd\0\0\0\0\0"


def length_encoded(value: bytes) -> bytes:
    """A value as MySQL's manual writes it ("Protocol::LengthEncodedString")."""
    size = len(value)
    for mark, width in ((None, 1), (0xFC, 2), (0xFD, 3), (0xFE, 8)):
        if mark is None and size < 251:
            return bytes([size]) + value
        if mark is not None and size < 1 << 8 * width:
            return bytes([mark]) + size.to_bytes(width, "little") + value
    raise AssertionError


def null_bitmap(values: Sequence[object]) -> bytes:
    """As of the manual's "Binary Protocol Resultset Row": its first two bits mean nothing."""
    bits = sum(1 << place for place, value in enumerate(values, 2) if value is None)
    return bits.to_bytes((len(values) + 9) // 8, "little")


def row(*values: bytes | None) -> bytes:
    return b"\0" + null_bitmap(values) + b"".join(length_encoded(value) for value in values if value is not None)


class Wire(io.RawIOBase):
    """A socket's file that gives at most `most` bytes at once, then what `at_end` does."""

    def __init__(self, content: bytes, most: int, at_end: Callable[[], int]) -> None:
        self._content, self._most, self._at_end = memoryview(content), most, at_end

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        if not len(self._content):
            return self._at_end()
        given = self._content[: min(self._most, len(into))]
        into[: len(given)] = given
        self._content = self._content[len(given) :]
        return len(given)


class Connection:
    """What `Rows` uses of PyMySQL's connection, over answers that are there already. `sent` are the commands."""

    def __init__(self, packets: Sequence[bytes], *, most: int = 1 << 20, at_end: Callable[[], int] = lambda: 0) -> None:
        self.sent: list[bytes] = []
        real = pymysql.connections.Connection(defer_connect=True, ssl_disabled=True)
        real._sock = self  # type: ignore[attr-defined]
        real._read_timeout = real._current_timeout = None  # type: ignore[attr-defined]
        self.real = real
        self.answer_with(numbered(PREPARATION) + numbered(packets), most, at_end)

    def answer_with(self, content: bytes, most: int = 1 << 20, at_end: Callable[[], int] = lambda: 0) -> None:
        self.real._rfile = io.BufferedReader(Wire(content, most, at_end))  # type: ignore[attr-defined]

    def sendall(self, command: bytes) -> None:
        self.sent.append(command[4:])

    def settimeout(self, _: float | None) -> None:
        pass

    def close(self) -> None:
        pass


def numbered(packets: Sequence[bytes], first: int = 1) -> bytes:
    """Packets with their headers, those of 16 MB and more as several ("Sending More Than 16Mb")."""
    content, number = [], first
    for packet in packets:
        for start in range(0, len(packet) + 1, FULL):
            piece = packet[start : start + FULL]
            content.append(len(piece).to_bytes(3, "little") + bytes([number & 0xFF]) + piece)
            number += 1
    return b"".join(content)


# The server describes the columns of a statement twice.
PREPARATION = [PREPARED % 2, DEFINITION, DEFINITION, EOF]


def answer(columns: int, *rows: bytes, end: bytes | None = EOF) -> list[bytes]:
    head = [bytes([columns]), *[DEFINITION] * columns, EOF]
    return [*head, *rows, *([] if end is None else [end])]


def read(connection: Connection, block_bytes: int = 1 << 17) -> list[Row]:
    rows = Rows(connection.real, "SELECT 1", block_bytes)
    found: list[Row] = []
    for block in rows:
        fields = list(fields_of(block, rows.columns))
        assert all(isinstance(field, Texts) for field in fields)
        columns = [field.to_arrow().to_pylist() for field in fields]
        found += zip(*columns, strict=True)
    return found


def refused(packets: Sequence[bytes], message: str, **more: Any) -> pymysql.MySQLError:
    with pytest.raises(pymysql.MySQLError, match=message) as caught:
        read(Connection(packets, **more))
    return caught.value


@pytest.mark.parametrize("most", [1, 3, 7, 1000, 1 << 20])
def test_rows_arrive_whole_however_the_socket_cuts_them(most: int) -> None:
    wanted: list[Row] = [
        (b"1", b"", None),
        (None, None, None),
        (b"3", b"x" * 250, b"\0\xff|'"),
        (b"4", b"y" * 251, b"z"),
    ]
    assert read(Connection(answer(3, *(row(*values) for values in wanted)), most=most)) == wanted


def test_no_rows_are_no_rows() -> None:
    assert read(Connection(answer(2))) == []


@pytest.mark.parametrize("seed", range(3))
def test_many_rows_of_any_length_cross_the_edges_of_blocks(seed: int) -> None:
    chance = random.Random(seed)
    sizes = [0, 1, 5, 250, 251, 252, 65_535, 65_536, 70_000]
    wanted: list[Row] = [
        tuple(
            None if chance.random() < 0.2 else chance.randbytes(chance.choices(sizes, [9, 9, 9, 9, 9, 9, 1, 1, 1])[0])
            for _ in range(3)
        )
        for _ in range(2_000)
    ]
    packets = answer(3, *(row(*values) for values in wanted))
    assert read(Connection(packets, most=chance.choice([1_000, 50_000, 1 << 20]))) == wanted


@pytest.mark.parametrize("size", [FULL - 5, FULL - 4, FULL - 3, FULL, FULL + 1, 2 * FULL - 4, 2 * FULL + 10])
def test_rows_of_16_mb_and_more_come_in_several_packets(size: int) -> None:
    # Every byte a piece may begin with: 0xFF and 0xFE look like the end there.
    wanted: list[Row] = [(b"a",), (b"\xff" * size,), (b"b",), (b"\xfe" * size,), (None,)]
    assert read(Connection(answer(1, *(row(*values) for values in wanted)))) == wanted


def test_a_row_many_times_a_block_is_read() -> None:
    wanted: list[Row] = [(b"x" * 5_000_000, b"1"), (b"y", None)]
    assert read(Connection(answer(2, *(row(*values) for values in wanted)), most=100_000)) == wanted


def test_blocks_are_small_again_after_a_long_row() -> None:
    packets = answer(1, *[row(b"x" * 3_000_000), *[row(b"y" * 1_000)] * 10_000])
    sizes = [len(block.data) for block in Rows(Connection(packets).real, "SELECT 1", 1 << 17)]
    assert max(sizes) > 3_000_000
    assert max(sizes[-50:]) < 200_000


def test_packets_are_numbered_from_0_again_after_255() -> None:
    wanted: list[Row] = [(str(n).encode(),) for n in range(1_000)]
    assert read(Connection(answer(1, *(row(*values) for values in wanted)))) == wanted


@pytest.mark.parametrize("before", [0, 1, 3, 5_000])
def test_an_error_in_the_middle_of_the_rows_is_told_at_once(before: int) -> None:
    def silent() -> int:
        raise AssertionError("it asked for more after the end")

    packets = answer(1, *[row(b"x" * 100)] * before, end=KILLED)
    error = refused(packets, "Query execution was interrupted", at_end=silent)
    assert error.args[0] == 1317


def test_rows_before_an_error_are_given_before_it() -> None:
    rows = Rows(Connection(answer(1, row(b"1"), row(b"2"), end=KILLED)).real, "SELECT 1")
    blocks = iter(rows)
    assert len(next(blocks).starts) == 2
    with pytest.raises(pymysql.MySQLError):
        next(blocks)


@pytest.mark.parametrize("cut", [1, 4, 5, 9, 10, 60, 500])
def test_a_connection_that_ends_too_soon_is_lost(cut: int) -> None:
    whole = numbered(answer(1, *[row(b"x" * 50)] * 20))
    connection = Connection([])
    connection.answer_with(numbered(PREPARATION) + whole[:-cut])
    with pytest.raises(pymysql.err.OperationalError, match="closed") as caught:
        read(connection)
    assert caught.value.args[0] == CR.CR_SERVER_LOST


@pytest.mark.parametrize("failure", [TimeoutError("timed out"), ConnectionResetError("reset by peer")])
def test_what_the_socket_says_is_the_cause(failure: OSError) -> None:
    def fail() -> int:
        raise failure

    error = refused(answer(1, row(b"1"), end=None), str(failure), at_end=fail)
    assert error.args[0] == CR.CR_SERVER_LOST
    assert error.__cause__ is failure


def test_a_statement_is_prepared_executed_and_closed() -> None:
    connection = Connection(answer(1, row(b"1")))
    assert read(connection) == [(b"1",)]
    # Number 1, no cursor, once ("COM_STMT_EXECUTE").
    assert connection.sent == [b"\x16SELECT 1", b"\x17\x01\0\0\0\0\x01\0\0\0", b"\x19\x01\0\0\0"]


@pytest.mark.parametrize("packet", [b"\0", b"\x01" + bytes(11), EOF])
def test_what_prepares_nothing_is_refused(packet: bytes) -> None:
    connection = Connection([])
    connection.answer_with(numbered([packet]))
    with pytest.raises(ProtocolError):
        read(connection)


def test_an_error_in_place_of_a_prepared_statement_is_the_servers() -> None:
    connection = Connection([])
    connection.answer_with(numbered([b"\xff\x7a\x04#42S02Table 'a.b' doesn't exist"]))
    with pytest.raises(pymysql.MySQLError, match="doesn't exist"):
        read(connection)


def test_an_error_in_place_of_an_answer_is_the_servers() -> None:
    assert refused([b"\xff\x7a\x04#42S02Table 'a.b' doesn't exist"], "doesn't exist").args[0] == 1146


@pytest.mark.parametrize(
    "rows",
    [
        [row(b"1")],  # a value too few.
        [row(b"1", b"2", b"3")],  # one too many.
        [b"\0\0\x01a\xfcx"],  # a length that is cut off
        [b"\0\0\x01a\xfe" + b"\xff" * 8],  # a length beyond everything
        [b"\0\0\x01a\xff"],  # no length
        [b"\0\0\x01a\xfb"],  # the text protocol's NULL
        [b"\0\0\x0fabc"],  # a value beyond its row
        [b"\0\x08\x01a\x01b"],  # a NULL that has a value
        [b"\x01" + row(b"1", b"2")[1:]],  # no zero at its beginning
        [b""],
        [EOF, row(b"1", b"2")],
        [KILLED, row(b"1", b"2")],
    ],
)
def test_what_is_no_row_is_refused(rows: list[bytes]) -> None:
    good = row(b"1", b"2")
    for packets in (rows, [good, *rows, good], [*[good] * 3_000, *rows]):
        with pytest.raises(ProtocolError):
            read(Connection(answer(2, *packets)))


@pytest.mark.parametrize("place", [0, 1, 299])
def test_a_packet_whose_number_does_not_follow_is_refused(place: int) -> None:
    head, rows = numbered(answer(1, end=None)), [row(b"x")] * 300
    content = head + numbered(rows[:place], 4) + numbered([*rows[place:], EOF], 4 + place + 1)
    connection = Connection([])
    connection.answer_with(numbered(PREPARATION) + content)
    with pytest.raises(
        ProtocolError, match=f"packet number {(5 + place) & 255} arrived where {(4 + place) & 255} was expected"
    ):
        read(connection)


def test_noise_is_never_taken_for_rows() -> None:
    chance = random.Random(7)
    for _ in range(300):
        connection = Connection([])
        noise = numbered(answer(2, end=None)) + chance.randbytes(chance.randrange(1, 3_000))
        connection.answer_with(numbered(PREPARATION) + noise, 512)
        with pytest.raises(pymysql.MySQLError):
            read(connection)
