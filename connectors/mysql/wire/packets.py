"""Rows of MySQL's binary protocol as they lie on the wire, taken from PyMySQL's own socket a block at a time.

Of a prepared statement the server sends numbers and dates as it has them, which costs it half of what their text does.
PyMySQL connects, logs in, sends the commands and reads what comes before the rows; of these only the packets' edges are
looked for here. This is the one module that reaches into it. What the bytes mean: MySQL's Source Code Documentation,
Client/Server Protocol, "MySQL Packets" (with "Sending More Than 16Mb"), "COM_STMT_PREPARE", "COM_STMT_EXECUTE",
"Binary Protocol Resultset", "EOF_Packet" and "ERR_Packet".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pymysql
from pymysql.constants import COMMAND, CR, FLAG
from pymysql.protocol import FieldDescriptorPacket, MysqlPacket

BLOCK_BYTES = 1 << 20
"""About as much as is taken apart at once: it then stays in the processor's cache from the socket to Arrow."""
SLACK_BYTES = 64
"""Bytes behind a block's last row that may be read, and mean nothing."""
LARGEST_ROW_BYTES = (1 << 31) - (1 << 26)
"""What Arrow's 32-bit offsets address; servers end at 1 GiB (`max_allowed_packet`)."""
_HEADER = 4
_FULL = 0xFFFFFF
"""The length of a packet whose row goes on in the next one."""
_OK, _EOF, _ERR = 0x00, 0xFE, 0xFF
"""First bytes of a row, of the end and of an error."""
_PREPARED = struct.Struct("<BIHH")
"""What answers a statement that could be prepared: zero, its number, its columns, its parameters."""
_EXECUTE = struct.Struct("<IBI")
"""A statement's number, no cursor, once."""
_RECEIVED_AT_LEAST = 1 << 16

Positions = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]


class ProtocolError(pymysql.err.InternalError):
    """What came is no answer of MySQL's protocol."""


def wait_up_to(raw: pymysql.connections.Connection[Any], seconds: int) -> None:
    """Let an open connection wait so long for each next piece of an answer."""
    cast(Any, raw)._read_timeout = seconds


@dataclass(frozen=True)
class Block:
    """Some whole rows in `data`, from `starts` to `ends` each. The bytes are overwritten when the next block is asked
    for: whoever wants values longer copies them."""

    data: Bytes
    starts: Positions
    ends: Positions


@dataclass(frozen=True)
class WireColumn:
    """How the server sends a column: MySQL's number of the type (`pymysql.constants.FIELD_TYPE`)."""

    type_code: int
    is_unsigned: bool = False


class Rows:
    """The answer to one SELECT: its columns, then its rows in blocks, once.

    Errors, of the first look and of each block: `pymysql.MySQLError` as the server sent it; `OperationalError` with
    `CR_SERVER_LOST`, caused by a `TimeoutError` where the server stalled and by another `OSError` or nothing where the
    connection broke; `ProtocolError`.
    """

    def __init__(self, raw: pymysql.connections.Connection[Any], sql: str, block_bytes: int = BLOCK_BYTES) -> None:
        # Its types do not tell what it keeps to itself.
        self._raw = cast(Any, raw)
        self._block_bytes = max(block_bytes, 2 * _RECEIVED_AT_LEAST)
        self._statement = self._prepare(sql)
        self._raw._execute_command(COMMAND.COM_STMT_EXECUTE, _EXECUTE.pack(self._statement, 0, 1))
        first = self._raw._read_packet()
        columns = 0 if first.is_ok_packet() else int(first.read_length_encoded_integer() or 0)
        if not columns:
            raise ProtocolError("the server answered a SELECT without columns")
        told = [self._raw._read_packet(FieldDescriptorPacket) for _ in range(columns)]
        self._read_end()
        self.columns = tuple(WireColumn(one.type_code, bool(one.flags & FLAG.UNSIGNED)) for one in told)
        self._buffered = True

    def _prepare(self, sql: str) -> int:
        """The number of the prepared statement. Its columns are told again when it is executed, and may be others."""
        self._raw._execute_command(COMMAND.COM_STMT_PREPARE, sql)
        packet = self._raw._read_packet().get_all_data()
        if len(packet) < _PREPARED.size or packet[0] != _OK:
            raise ProtocolError("the server answered what prepares a statement with something else")
        _, statement, columns, parameters = _PREPARED.unpack_from(packet)
        for described in (parameters, columns):
            for _ in range(described):
                self._raw._read_packet()
            if described:
                self._read_end()
        return int(statement)

    def _read_end(self) -> None:
        if not self._raw._read_packet().is_eof_packet():
            raise ProtocolError("columns are not followed by their end")

    def __iter__(self) -> Iterator[Block]:
        unpack = struct.Struct("<I").unpack_from
        number = self._raw._next_seq_id
        usual = self._block_bytes + SLACK_BYTES
        buffer = bytearray(usual)
        filled = 0
        while True:
            # The edges of packets: the first begins at 0, each of the others where one ended; the last may lie beyond
            # what is there.
            edges = [0]
            full = len(buffer) - SLACK_BYTES
            ended = False
            while not ended and full - filled >= _RECEIVED_AT_LEAST:
                filled += self._receive(memoryview(buffer)[filled:full])
                whole = memoryview(buffer)[:filled]
                at, add = edges.pop(), edges.append
                try:
                    while True:
                        add(at)
                        at += (unpack(whole, at)[0] & _FULL) + _HEADER
                except struct.error:
                    pass
                ended = edges[-1] == filled and len(edges) > 1 and _is_end(buffer, edges)
            if edges[-1] > filled:
                edges.pop()
            packets = np.array(edges, dtype=np.int64)
            data = np.frombuffer(buffer, dtype=np.uint8)
            _refuse_other_numbers(data, packets[:-1], number)
            if ended:
                packets = packets[:-1]
            rows, taken = _rows_of(data, packets[:-1], np.diff(packets) - _HEADER)
            if len(rows.starts):
                yield rows
            if ended:
                self._raw._next_seq_id = 0
                self._finish(bytes(buffer[edges[-2] + _HEADER : edges[-1]]))
                return
            number = (number + taken) & 0xFF
            rest = buffer[edges[taken] : filled]
            filled = len(rest)
            if not taken:
                buffer = _grown(buffer)
            elif len(buffer) > usual and 2 * filled < usual:
                buffer = bytearray(usual)
            buffer[:filled] = rest

    def _receive(self, into: memoryview) -> int:
        """Some more bytes of the answer, at least one: what is buffered, then what the socket has. Never more is waited
        for than the first of them, as the end may be among those that came."""
        file = self._raw._rfile
        try:
            if self._buffered:
                # `readinto1` of all the room would read the socket as well, and wait for it.
                self._buffered = False
                received = file.readinto1(into[: len(file.peek(1))])
            else:
                received = file.raw.readinto(into)
        except OSError as error:
            raise _lost(str(error)) from error
        if not received:
            raise _lost("the connection was closed")
        return int(received)

    def _finish(self, packet: bytes) -> None:
        """Take the last packet: return at an end, raise what an error says."""
        if packet[0] == _ERR:
            MysqlPacket(packet, self._raw.encoding).raise_for_error()
        # Nothing answers it.
        self._raw._execute_command(COMMAND.COM_STMT_CLOSE, struct.pack("<I", self._statement))


def _lost(why: str) -> pymysql.err.OperationalError:
    return pymysql.err.OperationalError(CR.CR_SERVER_LOST, why)


def _is_end(buffer: bytearray, edges: list[int]) -> bool:
    """Whether the last packet is none of a row."""
    start = edges[-2] + _HEADER
    if len(edges) > 2 and edges[-2] - edges[-3] == _FULL + _HEADER:
        # The last piece of a long row, which may begin with any byte.
        return False
    return edges[-1] > start and buffer[start] in (_EOF, _ERR)


def _refuse_other_numbers(data: Bytes, packets: Positions, first: int) -> None:
    """Packets of an answer are numbered one after the other, modulo 256 ("MySQL Packets")."""
    found = data[packets + 3]
    wanted = np.arange(first, first + len(packets)).astype(np.uint8)
    if not np.array_equal(found, wanted):
        place = int(np.argmax(found != wanted))
        raise ProtocolError(f"packet number {found[place]} came where {wanted[place]} follows")


def _rows_of(data: Bytes, packets: Positions, lengths: Positions) -> tuple[Block, int]:
    """The whole rows of some packets, and how many of the packets they are."""
    starts, taken = packets + _HEADER, len(packets)
    if taken and lengths.max() == _FULL:
        return _long_rows_of(data, starts, lengths)
    _refuse_others(data, starts, lengths)
    return Block(data, starts, starts + lengths), taken


def _long_rows_of(data: Bytes, starts: Positions, lengths: Positions) -> tuple[Block, int]:
    """The same where a row is of several packets: they are put together, without the headers between them."""
    last_pieces = np.flatnonzero(lengths != _FULL)
    taken = int(last_pieces[-1]) + 1 if len(last_pieces) else 0
    starts, lengths = starts[:taken], lengths[:taken]
    ends = np.cumsum(lengths)
    together = np.zeros(int(ends[-1]) + SLACK_BYTES if taken else SLACK_BYTES, dtype=np.uint8)
    for start, length, end in zip(starts.tolist(), lengths.tolist(), ends.tolist(), strict=True):
        together[end - length : end] = data[start : start + length]
    row_ends = ends[last_pieces]
    row_starts = np.concatenate([np.zeros(min(len(row_ends), 1), dtype=np.int64), row_ends[:-1]])
    _refuse_others(together, row_starts, row_ends - row_starts)
    return Block(together, row_starts, row_ends), taken


def _refuse_others(data: Bytes, starts: Positions, lengths: Positions) -> None:
    """Every row begins with a zero."""
    if len(starts) and (int(lengths.min()) < 1 or bool(data[starts].any())):
        raise ProtocolError("the answer goes on after its end")


def _grown(buffer: bytearray) -> bytearray:
    """Room for a row that is longer than a block."""
    if len(buffer) >= LARGEST_ROW_BYTES:
        raise ProtocolError(f"a row has more than {LARGEST_ROW_BYTES:,} bytes")
    return buffer + bytes(min(len(buffer), LARGEST_ROW_BYTES - len(buffer)))
