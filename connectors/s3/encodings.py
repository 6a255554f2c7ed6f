"""Files in other encodings than UTF-8, as streams of UTF-8: what comes behind knows one encoding."""

from __future__ import annotations

import codecs
import io
from typing import IO, Any

ENCODINGS = (
    "utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32",
    "cp932", "shift_jis", "euc_jp", "gbk", "gb18030", "big5", "cp949", "euc_kr",
    "cp1250", "cp1251", "cp1252", "cp1254", "iso-8859-1", "iso-8859-2", "iso-8859-15", "koi8-r",
)  # fmt: skip
"""What `encoding` may be: the names of Python's codecs ("Standard Encodings", Python's library reference)."""
_WIDE = ("utf-16", "utf-32")
_CHUNK_BYTES = 1 << 16
_HANDLER = "lakeferry.undecoded"


def is_wide(encoding: str) -> bool:
    """Whether the letters of ASCII take several bytes."""
    return encoding.startswith(_WIDE)


def _undecoded(error: UnicodeError) -> tuple[str, int]:
    """Bytes that are no text in their encoding, as lone surrogates: not UTF-8 behind, so their record is rejected."""
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
