"""The Parquet files in which a batch travels, and the fingerprint that distinguishes one set of them from another."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import google_crc32c

_READ_BYTES = 1024 * 1024


@dataclass(frozen=True)
class TransportFile:
    """One file, closed. `crc32c` is written as Cloud Storage writes it: base64 of the four bytes, big-endian."""

    path: Path
    rows: int
    size_bytes: int
    crc32c: str


def transport_file(path: Path, rows: int) -> TransportFile:
    """The file as it lies there; it is read once, for its checksum."""
    checksum = google_crc32c.Checksum()
    with path.open("rb") as file:
        while chunk := file.read(_READ_BYTES):
            checksum.update(chunk)
    return TransportFile(path, rows, path.stat().st_size, base64.b64encode(checksum.digest()).decode())


def mark_of(files: Iterable[TransportFile], way: str) -> str:
    """Twelve hexadecimal digits that are others for other bytes, another cut into files, or another way of loading.

    What one attempt has loaded may be built upon by the next only where both would load the same: the lake may have
    been compacted in between, or read by another version of the Parquet library.
    """
    identity = "\n".join([way, *(f"{file.rows} {file.size_bytes} {file.crc32c}" for file in files)])
    return hashlib.sha256(identity.encode()).hexdigest()[:12]
