"""Masks: what of a column reaches the lake, as the spec says, and what a spec may not ask for.

A mask is applied where rows are read, before the first byte lands, so raw, curated, quarantine and
BigQuery hold the masked value only. `drop`: the column does not exist. `null`: it exists and is always
NULL. `hmac`: HMAC-SHA-256 of the value (`jobs/masking/keyed_hash.py`), 64 lower-case hexadecimal digits. `truncate`:
a card number's last four digits (`jobs/masking/card_numbers.py`).
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal, NamedTuple

from pydantic import BeforeValidator

from connectors.base import Column
from connectors.connection import find_connection, variable_name
from connectors.errors import ConfigurationError, ConnectionNotFound, ObjectNotFound, SpecError

MaskKind = Literal["drop", "null", "hmac", "truncate"]
LEAST_KEY_BYTES = 16
"""Phone numbers can be tried out one by one, so all secrecy is the key's (RFC 2104, section 3, wants 32 bytes)."""

_LOSES_ROWS = ("drop", "null", "truncate")
_TRUNCATED = re.compile(r"string|tinyint|smallint|int|bigint|decimal\(\d+,0\)")


def _word(value: object) -> object:
    # YAML reads the bare word null as nothing.
    return "null" if value is None else value


Mask = dict[str, Annotated[MaskKind, BeforeValidator(_word)]]
"""`mask` of a dataset: column → what is done to it."""


@dataclass(frozen=True)
class Masking:
    """The masks of one dataset and what they need. `repr` does not show the key.

    Columns in `exact` (the primary key's) are hashed as they stand: two keys never become one.
    """

    mask: Mapping[str, MaskKind]
    exact: frozenset[str] = frozenset()
    key: bytes | None = field(default=None, repr=False)


class Refusal(NamedTuple):
    """A mask that cannot be: the column, why, and what would do."""

    column: str
    problem: str
    fix: str


def check_masks(
    mask: Mapping[str, MaskKind],
    *,
    primary_key: Collection[str],
    cursor: Collection[str],
    partition_by: str | None,
    cluster_by: Collection[str],
) -> Refusal | None:
    """The first mask that its column's other duties forbid, as far as the spec alone can tell."""
    for column, kind in mask.items():
        if column in cursor:
            return Refusal(
                column,
                f"mask on the cursor {column!r}: windows and positions hold its values",
                "Leave it unmasked, or take another cursor",
            )
        if column in primary_key and kind in _LOSES_ROWS:
            return Refusal(
                column,
                f"mask {kind} on {column!r}, which is in primary_key: rows could not be distinguished",
                f"Write {column}: hmac, which keeps keys distinct, or take the column out of primary_key",
            )
        if column == partition_by:
            return Refusal(
                column,
                f"mask on {column!r}, which is bigquery.partition_by: partitions show its days",
                "Leave it unmasked, or partition by another column",
            )
        if column in cluster_by and kind in ("drop", "null"):
            return Refusal(
                column,
                f"mask {kind} on {column!r}, which is in bigquery.cluster_by: nothing is left to cluster by",
                "Take it out of cluster_by, or write hmac",
            )
    return None


def check_mask_types(mask: Mapping[str, MaskKind], columns: Sequence[Column]) -> None:
    """See that every mask fits the source's columns.

    Raises:
        ObjectNotFound: a column that is not there.
        SpecError: a column whose type the mask cannot take.
    """
    types = {column.name: column.spark_type for column in columns}
    for name, kind in mask.items():
        if name not in types:
            raise ObjectNotFound(f"mask names {name!r}, which is not a column", choices=list(types), key=("mask", name))
        if kind == "truncate" and not _TRUNCATED.fullmatch(types[name].replace(" ", "").lower()):
            raise SpecError(
                f"mask truncate on {name!r}, which is {types[name]}: card numbers are text or whole numbers",
                choices=["drop", "null", "hmac"],
                key=("mask", name),
            )


def lake_columns_after(mask: Mapping[str, MaskKind], columns: Sequence[Column]) -> tuple[Column, ...]:
    """The columns as they stand in the lake: dropped ones gone, hashed and truncated ones STRING."""
    masked = []
    for column in columns:
        kind = mask.get(column.name)
        if kind in ("hmac", "truncate"):
            column = column.model_copy(update={"spark_type": "string", "nullable": True, "parsed": None})
        elif kind == "null":
            column = column.model_copy(update={"nullable": True})
        if kind != "drop":
            masked.append(column)
    return tuple(masked)


def open_masking(mask: Mapping[str, MaskKind], primary_key: Collection[str], mask_key: str) -> Masking:
    """What the masks need; the key is looked up only where a mask is `hmac`.

    Args:
        mask_key: id of the connection whose password is the key.

    Raises:
        ConnectionNotFound: there is no such connection.
        ConfigurationError: it has no password, or one too short to be a key.
    """
    key = find_mask_key(mask_key) if "hmac" in mask.values() else None
    return Masking(mask=dict(mask), exact=frozenset(primary_key), key=key)


def mask_key_fingerprint(key: bytes) -> str:
    """Return a fingerprint of the key of `hmac` that does not reveal it: a part of its hash of a fixed text."""
    return hmac.digest(key, b"lakeferry: which key is this", "sha256").hex()[:16]


def find_mask_key(connection_id: str) -> bytes:
    """Return the password of a connection, as the key of `hmac`. For the errors see `open_masking`."""
    variable = variable_name(connection_id)
    how = f"{variable}=generic://:KEY@, with KEY from `openssl rand -hex 32`, keeps it"
    try:
        connection = find_connection(connection_id)
    except ConnectionNotFound as error:
        raise ConnectionNotFound(
            f"mask hmac needs a key: {error.problem}", fix=f"{how}; on AWS a secret of that id, as every connection"
        ) from None
    key = (connection.password or "").encode()
    if len(key) < LEAST_KEY_BYTES:
        problem = f"{LEAST_KEY_BYTES} bytes at least are needed, 32 are right" if key else "it has none"
        raise ConfigurationError(
            f"mask hmac takes the password of connection {connection_id!r} as its key: {problem}",
            where=variable,
            fix=how,
        )
    return key
