"""Turns a validation error of pydantic into a `SpecError` with line, valid choices and fix."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from connectors.errors import SpecError
from connectors.yaml.lines import YamlLines
from jobs.spec.airflow_options import AirflowOptions, Deadline, Notifier, Notify, Timeouts
from jobs.spec.bigquery_table import PartitionRange, WarehouseSpec
from jobs.spec.models import After, DatasetSpec, SourceSpec, ViewSpec


def spec_error(
    error: ValidationError,
    document: Mapping[str, Any],
    lines: YamlLines,
    model: type[BaseModel],
    at: tuple[str | int, ...] = (),
    known: set[str] | None = None,
) -> SpecError:
    """The first mistake of `error`, at its line. `known` are the valid keys, where `model` alone does not say."""
    first = error.errors()[0]
    # A path ends in the names of union members ("After", "str"), which are not keys of the document.
    location = at + tuple(
        part for part in first["loc"] if lines.has(*at, part) or isinstance(part, int) or part != "After"
    )
    while location and not lines.has(*location) and first["type"] not in ("extra_forbidden", "missing"):
        location = location[:-1]
    # An entry of a list is named by the list.
    words = [part for part in first["loc"] if isinstance(part, str) and part != "[key]"]
    key = words[-1] if words else str(first["loc"][-1])
    kind = first["type"]
    choices: list[str] = []
    word = lines.plain_word(*location)
    # Where text is expected, a word that YAML takes for a boolean, a number, a date or nothing was meant as text.
    fix = f"Quote it: '{word}'" if word and kind in _TEXT_OR_LIST else None
    if kind == "extra_forbidden":
        known = known or _known_keys(model, first["loc"])
        near = difflib.get_close_matches(key, known, 1)
        problem, choices = f"unknown key {key!r}", sorted(known)
        fix = f"Did you mean {near[0]}?" if near else None
    elif kind == "missing":
        problem, fix = f"key {key!r} is missing", f"Add {key}: …"
    elif kind == "literal_error":
        problem = f"{key} is {_shown(first['input'], word)}"
        choices = [part.strip(" '") for part in re.split(r", | or ", str(first["ctx"]["expected"]))]
    elif kind in _SHAPES and location:
        key = next((part for part in reversed(location) if isinstance(part, str)), key)
        shape = _SHAPES[kind]
        problem = f"{key} is {shape}, and {first['input']!r} is not one"
        if word is not None:
            problem = f"{key} must be {shape} (found {_shown(first['input'], word)})"
        if kind == "list_type" and isinstance(first["input"], str):
            fix = f"Write {key}: [{first['input']}]"
    else:
        problem = f"{key}: {str(first['msg']).removeprefix('Value error, ')} (found {first['input']!r})"
    dataset = _dataset_name(document, location)
    pipeline = document.get("pipeline")
    return SpecError(
        problem,
        where=lines.at(*location),
        pipeline=str(pipeline) if pipeline else None,
        dataset=dataset,
        choices=choices,
        fix=fix,
    )


def _shown(value: object, word: str | None) -> str:
    """What was found: as it is written, and as YAML reads it where that differs."""
    if word is None:
        return repr(value)
    if value is None:
        return f"{word}, which YAML reads as no value" if word else "no value"
    read = str(value).lower() if isinstance(value, bool) else str(value)
    return word if read == word else f"{word}, which YAML reads as {read}"


_TEXT_OR_LIST = ("string_type", "list_type", "tuple_type", "dict_type", "literal_error")
_SHAPES = {
    "tuple_type": "a text or a list of texts",
    "list_type": "a list",
    "dict_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
    "string_type": "a text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
}
"""What pydantic's kinds of errors ask for, in words of YAML."""


def _known_keys(model: type[BaseModel], location: tuple[str | int, ...]) -> set[str]:
    nested: dict[str, type[BaseModel]] = {
        "airflow": AirflowOptions,
        "timeouts": Timeouts,
        "notify": Notify,
        "failure": Notifier,
        "success": Notifier,
        "deadline": Deadline,
        "source": SourceSpec,
        "schedule": After,
        "datasets": DatasetSpec,
        "bigquery": WarehouseSpec,
        "partition_range": PartitionRange,
        "views": ViewSpec,
    }
    for part in location[:-1]:
        model = nested.get(str(part), model)
    return set(model.model_fields) - {"file", "options"}


def _dataset_name(document: Mapping[str, Any], location: tuple[str | int, ...]) -> str | None:
    if isinstance(document.get("name"), str):
        return str(document["name"])
    if len(location) > 1 and location[0] == "datasets" and isinstance(location[1], int):
        entry = document["datasets"][location[1]]
        return str(entry["name"]) if isinstance(entry, dict) and "name" in entry else None
    return None
