"""Reads the files that people write (a pipeline's YAML, a suite, a view's SQL) and says why one cannot be read."""

from __future__ import annotations

import codecs
import os
import stat
from pathlib import Path

from connectors.errors import SpecError

LARGEST_BYTES = 1 << 20
"""A pipeline of a thousand datasets is smaller by half, and PyYAML takes seconds per MiB."""

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_OTHER_ENCODINGS = {codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16", b"\x00\x05\x16\x07": "AppleDouble"}


def shown_name(path: Path) -> str:
    """The file's name as text that can be printed: bytes that are not UTF-8 become `\\xNN`."""
    return os.fsencode(path.name).decode("utf-8", "backslashreplace")


def read_text(path: Path) -> str:
    """The text of a regular file in UTF-8, without its byte order mark.

    Raises:
        SpecError: the path leads to no regular file, the file cannot be read or is too large, or its bytes are
            not UTF-8 text; the message names the file, the cause and, where bytes are at fault, the line.
    """
    name = shown_name(path)
    try:
        # Opening a named pipe waits for its writer, so the kind is asked for first.
        status = path.stat()
        _check_file_kind(status.st_mode, name)
        if status.st_size > LARGEST_BYTES:
            raise SpecError(
                f"the file has {status.st_size:,} bytes, and at most {LARGEST_BYTES:,} are read",
                where=name,
                fix="Split it into several files",
            )
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        raise SpecError(
            f"the file cannot be read: {_reason(error, path)}", where=name, fix=_fix_of(error, path)
        ) from None
    return _decoded(content, name)


def _check_file_kind(mode: int, name: str) -> None:
    if stat.S_ISREG(mode):
        return
    kind = next((words for is_kind, words in _KINDS if is_kind(mode)), "no regular file")
    raise SpecError(f"this is {kind}, and a text file is expected", where=name, fix="Remove or rename it")


def _reason(error: Exception, path: Path) -> str:
    if isinstance(error, FileNotFoundError) and path.is_symlink():
        return "it is a symbolic link to a file that does not exist"
    return str(getattr(error, "strerror", None) or error)


def _fix_of(error: Exception, path: Path) -> str | None:
    if isinstance(error, PermissionError):
        return "Give the user that runs Lakeferry the right to read it"
    if isinstance(error, FileNotFoundError):
        return "Remove or repair the link" if path.is_symlink() else f"Put it into {path.parent}"
    return None


def _decoded(content: bytes, name: str) -> str:
    other = next((words for mark, words in _OTHER_ENCODINGS.items() if content.startswith(mark)), None)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        position = f"byte 0x{content[error.start]:02X} in line {line}" + (f"; it begins as {other}" if other else "")
        raise SpecError(
            f"the file is not UTF-8 ({position})", where=f"{name}:{line}", fix="Save the file in UTF-8"
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise SpecError(
            "the file holds a NUL character, so it is not UTF-8 text" + (f"; it begins as {other}" if other else ""),
            where=f"{name}:{line}",
            fix="Save the file in UTF-8",
        )
    return text
