"""The keys of an S3 dataset, and the columns that the source adds to it."""

from __future__ import annotations

import difflib
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from connectors.base import Column, SourceOptions
from connectors.declared.columns import DeclaredColumns, check_column_names
from connectors.s3.encodings import ENCODINGS

IDENTITY = (
    Column(name="_s3_file", source_type="object uri", spark_type="string", nullable=False),
    Column(name="_s3_etag", source_type="etag", spark_type="string", nullable=False),
    Column(name="_s3_line", source_type="line number", spark_type="bigint", nullable=False),
    Column(name="_s3_modified_at", source_type="last modified", spark_type="timestamp", nullable=False),
    Column(name="_s3_listing", source_type="number of the listing", spark_type="bigint"),
)


def _checked_path(value: str) -> str:
    bucket, _, prefix = value.removeprefix("s3://").partition("/")
    if not value.startswith("s3://") or not bucket:
        raise ValueError("a path is written s3://bucket/prefix/")
    if prefix and not prefix.endswith("/"):
        raise ValueError("a path ends with /: without it, folders that only begin alike would be read too")
    return value


def _checked_delimiter(value: str) -> str:
    if value in '"\r\n':
        raise ValueError("the delimiter is one character, no quote and no line end")
    return value


def _checked_encoding(value: str) -> str:
    name = value.lower()
    if name not in ENCODINGS:
        near = difflib.get_close_matches(name, ENCODINGS, 3, 0.5)
        raise ValueError(f"not an encoding. Valid: {', '.join(near or ENCODINGS)}")
    return name


class S3Options(SourceOptions):
    """Keys of an S3 dataset: the files under `path` whose key ends in `suffix`.

    `columns` maps columns of the header to types, in any order; one that is not in the header may stand in the path,
    as in `dt=2026-11-20/`. Columns of the header that are not declared are ignored. `header: false` takes the declared
    columns that are not in the path, in their order. A field that is `null_text` is NULL, for any type of its column.
    `copies: read` reads files even if their content is published.
    """

    rows_name_their_place: ClassVar[bool] = True

    path: Annotated[str, AfterValidator(_checked_path)]
    suffix: str = ""
    format: Literal["csv"] = "csv"
    columns: DeclaredColumns
    delimiter: Annotated[str, Field(min_length=1, max_length=1), AfterValidator(_checked_delimiter)] = ","
    header: bool = True
    encoding: Annotated[str, AfterValidator(_checked_encoding)] = "utf-8"
    null_text: str | None = None
    copies: Literal["skip", "read"] = "skip"

    @property
    def continued_by(self) -> str | None:
        return "path"

    @model_validator(mode="after")
    def _no_name_twice(self) -> Self:
        check_column_names(self.columns, IDENTITY)
        return self

    @property
    def bucket(self) -> str:
        return self.path.removeprefix("s3://").partition("/")[0]

    @property
    def prefix(self) -> str:
        return self.path.removeprefix("s3://").partition("/")[2]
