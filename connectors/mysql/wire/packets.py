"""Rows of MySQL's binary protocol as they are on the wire, taken from PyMySQL's own socket one block at a time.

For a prepared statement the server sends numbers and dates in binary, which costs it half of what their text costs.
PyMySQL connects, logs in, sends the commands and reads what precedes the rows. For the rows, only the packets' edges
are searched here. This is the only module that uses PyMySQL's internals. The meaning of the bytes: see MySQL's Source
Code Documentation, Client/Server Protocol, "MySQL Packets" (with "Sending More Than 16Mb"), "COM_STMT_PREPARE",
"COM_STMT_EXECUTE", "Binary Protocol Resultset", "EOF_Packet" and "ERR_Packet".
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
"""About as much as is decoded at once: it then stays in the processor's cache from the socket to Arrow."""
SLACK_BYTES = 64
"""Bytes after a block's last row that may be read and have no meaning."""
LARGEST_ROW_BYTES = (1 << 31) - (1 << 26)
"""The most that Arrow's 32-bit offsets address; servers allow up to 1 GiB (`max_allowed_packet`)."""
_HEADER = 4
_FULL = 0xFFFFFF
"""The length of a packet whose row continues in the next one."""
_OK, _EOF, _ERR = 0x00, 0xFE, 0xFF
"""First bytes of a row, of the end and of an error."""
_PREPARED = struct.Struct("<BIHH")
"""The answer to a statement that could be prepared: zero, its number, its columns, its parameters."""
_EXECUTE = struct.Struct("<IBI")
"""A statement's number, no cursor, one execution."""
_RECEIVED_AT_LEAST = 1 << 16

Positions = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]


class ProtocolError(pymysql.err.InternalError):
    """The server's answer does not follow MySQL's protocol."""


def wait_up_to(raw: pymysql.connections.Connection[Any], seconds: int) -> None:
    """Lets an open connection wait this long for each next part of an answer."""
    cast(Any, raw)._read_timeout = seconds


@dataclass(frozen=True)
class Block:
    """Some whole rows in `data`, each from its place in `starts` to that in `ends`. The next block overwrites the
    bytes: copy values that are needed longer."""

    data: Bytes
    starts: Positions
    ends: Positions


@dataclass(frozen=True)
class WireColumn:
    """How the server sends a column. `type_code` is MySQL's number of the type (`pymysql.constants.FIELD_TYPE`)."""

    type_code: int
    is_unsigned: bool = False


class Rows:
    """The answer to one SELECT: its columns, then its rows in blocks, once.

    Errors of the first look and of each block:

    - `pymysql.MySQLError` as the server sent it;
    - `OperationalError` with `CR_SERVER_LOST`, caused by a `TimeoutError` if the server stalled, and by another
      `OSError` or nothing if the connection broke;
    - `ProtocolError`.
    """

    def __init__(self, raw: pymysql.connections.Connection[Any], sql: str, block_bytes: int = BLOCK_BYTES) -> None:
        # PyMySQL's types do not declare its private attributes.
        self._raw = cast(Any, raw)
        self._block_bytes = max(block_bytes, 2 * _RECEIVED_AT_LEAST)
        self._statement = self._prepare(sql)
        self._raw._execute_command(COMMAND.COM_STMT_EXECUTE, _EXECUTE.pack(self._statement, 0, 1))
        first = self._raw._read_packet()
        columns = 0 if first.is_ok_packet() else int(first.read_length_encoded_integer() or 0)
        if not columns:
            raise ProtocolError("the server answered a SELECT without columns")
        descriptions = [self._raw._read_packet(FieldDescriptorPacket) for _ in range(columns)]
        self._read_end()
        self.columns = tuple(WireColumn(one.type_code, bool(one.flags & FLAG.UNSIGNED)) for one in descriptions)
        self._buffered = True

    def _prepare(self, sql: str) -> int:
        """Returns the number of the prepared statement. Its execution describes the columns again, perhaps others."""
        self._raw._execute_command(COMMAND.COM_STMT_PREPARE, sql)
        packet = self._raw._read_packet().get_all_data()
        if len(packet) < _PREPARED.size or packet[0] != _OK:
            raise ProtocolError("the server answered a request to prepare a statement with something else")
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
            # The edges of packets: the first packet begins at 0, each other one at the end of the previous one. The
            # last edge may lie beyond the bytes that have arrived.
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
            _check_numbering(data, packets[:-1], number)
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
        """Receives at least one more byte of the answer: from the buffer first, then from the socket. It waits for the
        first byte only, as the bytes that came may include the end."""
        file = self._raw._rfile
        try:
            if self._buffered:
                # `readinto1` with all the room would also read the socket, and wait for it.
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
        """Handles the last packet: returns at an end, raises the error that it holds."""
        if packet[0] == _ERR:
            MysqlPacket(packet, self._raw.encoding).raise_for_error()
        # The server does not answer this command.
        self._raw._execute_command(COMMAND.COM_STMT_CLOSE, struct.pack("<I", self._statement))


def _lost(why: str) -> pymysql.err.OperationalError:
    return pymysql.err.OperationalError(CR.CR_SERVER_LOST, why)


def _is_end(buffer: bytearray, edges: list[int]) -> bool:
    """Whether the last packet is something other than a row."""
    start = edges[-2] + _HEADER
    if len(edges) > 2 and edges[-2] - edges[-3] == _FULL + _HEADER:
        # The last packet of a long row may begin with any byte.
        return False
    return edges[-1] > start and buffer[start] in (_EOF, _ERR)


def _check_numbering(data: Bytes, packets: Positions, first: int) -> None:
    """Raises if packets are not numbered one after the other, modulo 256 ("MySQL Packets")."""
    numbers = data[packets + 3]
    wanted = np.arange(first, first + len(packets)).astype(np.uint8)
    if not np.array_equal(numbers, wanted):
        place = int(np.argmax(numbers != wanted))
        raise ProtocolError(f"packet number {numbers[place]} arrived where {wanted[place]} was expected")


def _rows_of(data: Bytes, packets: Positions, lengths: Positions) -> tuple[Block, int]:
    """Returns the whole rows of some packets, and of how many packets they consist."""
    starts, taken = packets + _HEADER, len(packets)
    if taken and lengths.max() == _FULL:
        return _long_rows_of(data, starts, lengths)
    _check_row_headers(data, starts, lengths)
    return Block(data, starts, starts + lengths), taken


def _long_rows_of(data: Bytes, starts: Positions, lengths: Positions) -> tuple[Block, int]:
    """Does the same if a row has several packets: puts them together, without the headers between them."""
    last_packets = np.flatnonzero(lengths != _FULL)
    taken = int(last_packets[-1]) + 1 if len(last_packets) else 0
    starts, lengths = starts[:taken], lengths[:taken]
    ends = np.cumsum(lengths)
    together = np.zeros(int(ends[-1]) + SLACK_BYTES if taken else SLACK_BYTES, dtype=np.uint8)
    for start, length, end in zip(starts.tolist(), lengths.tolist(), ends.tolist(), strict=True):
        together[end - length : end] = data[start : start + length]
    row_ends = ends[last_packets]
    row_starts = np.concatenate([np.zeros(min(len(row_ends), 1), dtype=np.int64), row_ends[:-1]])
    _check_row_headers(together, row_starts, row_ends - row_starts)
    return Block(together, row_starts, row_ends), taken


def _check_row_headers(data: Bytes, starts: Positions, lengths: Positions) -> None:
    """Raises if a row does not begin with a zero byte."""
    if len(starts) and (int(lengths.min()) < 1 or bool(data[starts].any())):
        raise ProtocolError("the answer continues after its end")


def _grown(buffer: bytearray) -> bytearray:
    """Returns a larger buffer, for a row that is longer than a block."""
    if len(buffer) >= LARGEST_ROW_BYTES:
        raise ProtocolError(f"a row has more than {LARGEST_ROW_BYTES:,} bytes")
    return buffer + bytes(min(len(buffer), LARGEST_ROW_BYTES - len(buffer)))
