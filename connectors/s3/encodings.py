"""Converts files in other encodings than UTF-8 to streams of UTF-8, so that later steps know one encoding."""

from __future__ import annotations

import codecs
import io
from typing import IO, Any

ENCODINGS = (
    "utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be",
    "cp932", "shift_jis", "euc_jp", "gbk", "gb18030", "big5", "cp949", "euc_kr",
    "cp1250", "cp1251", "cp1252", "cp1254", "iso-8859-1", "iso-8859-2", "iso-8859-15", "koi8-r",
)  # fmt: skip
"""The values of `encoding`: names of Python's codecs ("Standard Encodings", Python's library reference)."""
_WIDE = ("utf-16", "utf-32")
_MARKS = (
    (b"\x00\x00\xfe\xff", "utf-32-be"),
    (b"\xff\xfe\x00\x00", "utf-32-le"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
    (b"\xef\xbb\xbf", "utf-8"),
)
"""Byte order marks (The Unicode Standard 23.8), the longer ones first: no text begins with U+0000."""
_CHUNK_BYTES = 1 << 16
_HANDLER = "lakeferry.undecoded"


def is_wide(encoding: str) -> bool:
    """Whether the letters of ASCII take several bytes."""
    return encoding.startswith(_WIDE)


def other_encoding(head: bytes, encoding: str) -> str | None:
    """Returns how a file's byte order mark contradicts the encoding in which it is to be read; None if it does not.

    `utf-16` and `utf-32` need the mark: Python's codecs refuse text without one, with an error that names no bytes and
    that no error handler gets ("Standard Encodings", Python's library reference).

    Args:
        head: the first bytes of the file; empty for an empty file.
    """
    if not head:
        return None
    mark = next((name for magic, name in _MARKS if head.startswith(magic)), None)
    if encoding in _WIDE:
        if mark is None:
            return f"no byte order mark; write encoding: {encoding}-le or {encoding}-be"
        return None if mark.startswith(encoding) else _other(mark, encoding)
    # In other encodings EF BB BF may be text.
    if mark in (None, "utf-8", encoding):
        return None
    if mark[:6] == encoding[:6]:
        return f"it is {mark[:6].upper()} text of the other byte order than the dataset's encoding, {encoding}"
    return _other(mark, encoding)


def _other(mark: str, encoding: str) -> str:
    name = mark.removesuffix("-le").removesuffix("-be").upper()
    return f"it is {name} text, and the dataset's encoding is {encoding}"


def _undecoded(error: UnicodeError) -> tuple[str, int]:
    """Returns bytes that are not text in their encoding, as lone surrogates: later they are not UTF-8, so their record
    is rejected."""
    assert isinstance(error, UnicodeDecodeError), "it is for decoding"
    data = error.object[error.start : error.end]
    return "\udcff" + "".join(chr(0xDC00 + byte) if byte >= 0x80 else chr(byte) for byte in data), error.end


codecs.register_error(_HANDLER, _undecoded)


class AsUtf8(io.RawIOBase):
    """The bytes of a stream of text, in UTF-8. Bytes that cannot be decoded arrive as bytes that are not UTF-8."""

    def __init__(self, stream: IO[bytes], encoding: str) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)(_HANDLER)
        self._ready = b""
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        while not self._ready and not self._ended:
            data = self._stream.read(_CHUNK_BYTES)
            self._ended = not data
            self._ready = self._decoder.decode(data, final=self._ended).encode("utf-8", "surrogateescape")
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size
