"""Columns of the lake as columns of BigQuery: types, names, and what a table may be partitioned and clustered by.

No connection is needed and no client is imported: plan asks here before anything moves.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from connectors.base import ParsedType
from connectors.errors import ObjectNotFound, SpecError, UnsupportedType
from connectors.versions import BATCH_COLUMN as BATCH_COLUMN

RUN_COLUMN = "_run_id"
DELETED_COLUMN = "_deleted_at"

_TYPES = {
    "boolean": "BOOL",
    "tinyint": "INT64",
    "smallint": "INT64",
    "int": "INT64",
    "bigint": "INT64",
    "float": "FLOAT64",
    "double": "FLOAT64",
    "string": "STRING",
    "binary": "BYTES",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
    "timestamp_ntz": "DATETIME",
}
"""Spark's word → GoogleSQL's, for types without parameters."""

WIDER = {"INT64": ("NUMERIC", "BIGNUMERIC"), "NUMERIC": ("BIGNUMERIC",)}
"""Types a column may be given in place that hold each of its values exactly. BigQuery would also make a FLOAT64 of
them, which rounds ("ALTER COLUMN SET DATA TYPE" in the GoogleSQL reference)."""

PARTITION_TYPES = ("DATE", "DATETIME", "TIMESTAMP")
HOUR_TYPES = ("DATETIME", "TIMESTAMP")
CLUSTER_TYPES = ("BIGNUMERIC", "BOOL", "DATE", "DATETIME", "GEOGRAPHY", "INT64", "NUMERIC", "STRING", "TIMESTAMP")
"""Types a table may be clustered by ("Introduction to clustered tables" in BigQuery's documentation)."""

KEY_TYPES = ("BIGNUMERIC", "BOOL", "BYTES", "DATE", "DATETIME", "INT64", "NUMERIC", "STRING", "TIMESTAMP")

EMULATOR_LACKS = ("BIGNUMERIC",)
"""Types that the local emulator has no values of: it answers a load of them with "500: Run again later"."""

_DECIMAL = re.compile(r"decimal\(\s*(\d+)\s*,\s*(\d+)\s*\)")
_TEXT = re.compile(r"(char|varchar)\(\d+\)")
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
MOST_CHARACTERS = 300
_RESERVED = ("_TABLE_", "_FILE_", "_PARTITION", "_ROW_TIMESTAMP", "__ROOT__", "_COLIDENTIFIER", "_CHANGE_")


@dataclass(frozen=True)
class WarehouseColumn:
    """One column of a BigQuery table; `type` is GoogleSQL's word without parameters (`NUMERIC`), `lake_name`
    what the column is called in the lake, `staged_name` in the staging table: letters of other languages do
    well in a table, and in a Parquet file only where the load job says so. `required`: never NULL, so far."""

    name: str
    type: str
    description: str | None = None
    lake_name: str = ""
    required: bool = False
    policy_tag: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "lake_name", self.lake_name or self.name)

    @property
    def staged_type(self) -> str:
        """What staging holds: a Parquet file has these as text, which the change of the table parses."""
        return "STRING" if self.type in ("JSON", "GEOGRAPHY") else self.type

    @property
    def staged_name(self) -> str:
        plain = _PLAIN.fullmatch(self.name) is not None
        return self.name if plain else "staged_" + hashlib.sha256(self.name.encode()).hexdigest()[:16]


def warehouse_name(name: str) -> str:
    """The name of a lake's column in BigQuery: its own, as far as BigQuery allows.

    Letters and digits of any language stay ("Flexible column names" in BigQuery's documentation), anything
    else becomes `_`: `pay day` is `pay_day`. `_partition` becomes `lake_partition`: BigQuery refuses columns
    that begin with `_PARTITION` and a few more, in any case ("Column names").
    """
    name = "".join(character if character.isalnum() else "_" for character in name)
    if name[:1].isdigit():
        name = f"_{name}"
    return f"lake{name}" if name.upper().startswith(_RESERVED) else name


def warehouse_type(spark_type: str) -> str | None:
    """GoogleSQL's type for a Spark DDL type, or None where values could not survive.

    NUMERIC holds 29 integer digits and scale 9, BIGNUMERIC 38 and 38, so every decimal Spark can hold
    (38 digits in all) fits one of the two ("Data types" in the GoogleSQL reference).
    """
    word = spark_type.strip().lower()
    if word in _TYPES:
        return _TYPES[word]
    if _TEXT.fullmatch(word):
        return "STRING"
    decimal = _DECIMAL.fullmatch(word)
    if decimal is None:
        return None
    precision, scale = int(decimal[1]), int(decimal[2])
    return "NUMERIC" if scale <= 9 and precision - scale <= 29 else "BIGNUMERIC"


def in_emulator(columns: Sequence[WarehouseColumn]) -> list[WarehouseColumn]:
    """The columns as the local emulator can have them. It loads no BIGNUMERIC, so such a column is text there, with all
    its digits. BigQuery itself has all types."""
    return [replace(column, type="STRING") if column.type in EMULATOR_LACKS else column for column in columns]


def lacking_in_emulator(columns: Sequence[WarehouseColumn]) -> str | None:
    """What users should know of columns that the emulator cannot have as BigQuery has them; None if it can have all."""
    names = [column.name for column in columns if column.type in EMULATOR_LACKS]
    if not names:
        return None
    kind, (be, they) = EMULATOR_LACKS[0], ("is", "it is") if len(names) == 1 else ("are", "they are")
    return f"the BigQuery emulator has no {kind}: {', '.join(names)} {be} STRING there. In BigQuery {they} {kind}"


def warehouse_columns(
    columns: Iterable[tuple[str, str, str | None]], parsed: Mapping[str, ParsedType] = MappingProxyType({})
) -> list[WarehouseColumn]:
    """BigQuery's columns for (name, Spark type, comment), in order; `parsed` is what it makes of some, which are text.

    Raises:
        UnsupportedType: a type BigQuery cannot hold, or a name it refuses.
    """
    translated: list[WarehouseColumn] = []
    names: dict[str, str] = {}
    for name, spark_type, comment in columns:
        kind = parsed.get(name) or warehouse_type(spark_type)
        if kind is None:
            raise UnsupportedType(
                f"column {name!r} is {spark_type}, which has no BigQuery column type",
                choices=[*sorted(_TYPES), "decimal(p,s)"],
                fix="Leave the column out, or turn it into a string",
            )
        known = warehouse_name(name)
        if not known or len(known) > MOST_CHARACTERS:
            raise UnsupportedType(
                f"column name {name!r} is refused by BigQuery",
                fix=f"Rename it at the source (a view does): at most {MOST_CHARACTERS} characters",
            )
        if known.lower() in names:
            raise UnsupportedType(
                f"columns {names[known.lower()]!r} and {name!r} have one name in BigQuery, which ignores case",
                fix="Rename one at the source (a view does)",
            )
        names[known.lower()] = name
        translated.append(WarehouseColumn(known, kind, comment, name))
    return translated


def check_table(
    columns: Sequence[WarehouseColumn],
    *,
    partition_by: str | None,
    cluster_by: Sequence[str],
    key: Sequence[str] = (),
    table: str | None = None,
    partition_types: Sequence[str] = PARTITION_TYPES,
    tagged: Iterable[str] = (),
) -> None:
    """See that a table of these columns can be partitioned, clustered and merged as asked.

    Raises:
        ObjectNotFound: a column that is not there; lists those that would do.
        SpecError: a column whose type does not do.
    """
    types = {column.lake_name: column.type for column in columns}
    if partition_by is not None:
        _check("bigquery.partition_by", partition_by, types, partition_types, table)
    for name in cluster_by:
        _check("bigquery.cluster_by", name, types, CLUSTER_TYPES, table)
    for name in tagged:
        _check("bigquery.policy_tags", name, types, tuple(set(types.values())), table)
    for name in key:
        # GoogleSQL refuses PARTITION BY and DISTINCT over FLOAT64: NaN and rounding make no key.
        _check("primary_key", name, types, KEY_TYPES, table)


def _check(key: str, name: str, types: dict[str, str], allowed: Sequence[str], table: str | None) -> None:
    place = key.split(".")
    would_do = [column for column, kind in types.items() if kind in allowed and not column.startswith("_")]
    if name not in types:
        of = f" for {table}" if table else ""
        raise ObjectNotFound(
            f"{key} names {name!r}, which is not a column of the dataset{of}", choices=would_do, key=place
        )
    if types[name] not in allowed:
        raise SpecError(
            f"{key} names {name!r}, which is {types[name]} in BigQuery; it takes {', '.join(allowed)}",
            choices=would_do,
            key=place,
        )
