"""What a statement may cost: sizes people write, sizes people read, and what a load has scanned."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from connectors.errors import LoadRefused

LEAST_BYTES = 10 * 1024**2
"""What BigQuery bills for any table a query reads, at least ("Estimate and control costs" in its documentation)."""
LEDGER_BYTES = 4 * LEAST_BYTES
"""What a transaction's own questions to the ledger are billed, beside the change."""

_UNITS = {f"{p}B": 1000**n for n, p in enumerate(("", "K", "M", "G", "T", "P"))}
_UNITS |= {f"{p}IB": 1024**n for n, p in enumerate(("K", "M", "G", "T", "P"), 1)}
_SIZE = re.compile(r"([0-9][0-9_]*(?:\.[0-9]+)?)\s*([A-Za-z]*)")


@dataclass
class Cost:
    """Bytes of the queries of one load. `estimated` is what dry runs said of the statements that read the table,
    `processed` and `billed` what BigQuery said of all it ran; a job whose reply was lost is not among them."""

    estimated: int = 0
    processed: int = 0
    billed: int = 0


def bytes_of(value: object) -> int:
    """A number of bytes, or a text such as `10 GB` (10^10) or `10 GiB` (10 * 2^30).

    Raises:
        ValueError: it is neither, or less than BigQuery bills for anything; says what would do.
    """
    match = _SIZE.fullmatch(str(value).strip()) if isinstance(value, str | int) else None
    unit = _UNITS.get(match[2].upper() or "B") if match else None
    if match is None or unit is None:
        raise ValueError("a size is a number of bytes, or one with a unit: 500 MB, 10 GB, 1.5 TiB")
    size = int(Decimal(match[1]) * unit)
    if size < LEAST_BYTES:
        raise ValueError("BigQuery bills 10 MiB for each table a query reads: at least 10 MiB")
    return size


def bytes_text(size: int) -> str:
    """Bytes for people, with as many digits as matter."""
    for power, unit in ((5, "PB"), (4, "TB"), (3, "GB"), (2, "MB"), (1, "kB")):
        if size >= 1000**power:
            return f"{size / 1000**power:.3g} {unit}"
    return f"{size} bytes"


def check_scanned_bytes(limit: int | None, size: int, what: str, key: str) -> None:
    """Refuses what would scan more than the limit.

    Args:
        what: what scans, for the message: `merging batch 3 into shop.payments`.
        key: where the limit stands, for the fix.

    Raises:
        LoadRefused: it would; names both sizes and the ways out.
    """
    if limit is None or size <= limit:
        return
    raise LoadRefused(
        f"{what} would scan {bytes_text(size)} ({size} bytes), the limit is {bytes_text(limit)}: nothing was run",
        fix=f"Raise {key}, or reduce what is read: partition_by, cluster_by, smaller windows",
    )
