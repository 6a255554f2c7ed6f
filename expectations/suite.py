"""A dataset's rules, read from YAML into typed rules; every error names file, line and fix."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import yaml
from pydantic import ValidationError

from connectors.errors import SpecError
from connectors.yaml.documents import BoundedLoader, parse_yaml
from connectors.yaml.lines import YamlLines
from connectors.yaml.text_files import read_text, shown_name
from expectations.typed_values import parsed_decimal
from expectations.vocabulary import VOCABULARY, Expectation, RowRule

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

Section = Literal["rows", "dataset"]
SECTIONS: tuple[Section, ...] = ("rows", "dataset")


@dataclass(frozen=True)
class Rule:
    """One rule and its place (`payments.yaml:4`)."""

    section: Section
    expectation: Expectation
    where: str
    lines: Mapping[str, str]

    def at(self, key: str) -> str:
        """Returns `file:line` of one of its keys, or of the rule if it has no such key."""
        return self.lines.get(key, self.where)


@dataclass(frozen=True)
class Suite:
    """`rows` set single rows aside; `dataset` stops the batch."""

    name: str
    rows: tuple[Rule, ...]
    dataset: tuple[Rule, ...]

    @property
    def rules(self) -> tuple[Rule, ...]:
        return self.rows + self.dataset

    def only(self, section: Section) -> Suite:
        """Returns the rules of one section."""
        return replace(self, dataset=()) if section == "rows" else replace(self, rows=())

    def without_row_rules_on(self, columns: Collection[str]) -> Suite:
        """Returns all rules but the row rules that name one of these columns."""
        kept = (rule for rule in self.rows if not set(rule.expectation.columns().values()) & set(columns))
        return replace(self, rows=tuple(kept))

    def check_columns(self, columns: Mapping[str, str]) -> None:
        """Checks that every rule fits the columns (name → Spark DDL type).

        Raises:
            SpecError: a rule does not fit; the error names its line and the existing columns.
        """
        for rule in self.rules:
            for key, column in rule.expectation.columns().items():
                if column not in columns:
                    near = difflib.get_close_matches(column, columns, 1)
                    raise SpecError(
                        f"no column {column!r}",
                        where=rule.at(key),
                        choices=sorted(columns),
                        fix=f"Did you mean {near[0]}?" if near else None,
                    )
            refusal = rule.expectation.refusal(columns)
            if refusal:
                key, problem = refusal
                raise SpecError(problem, where=rule.at(key))


def read_suite(folder: Path, name: str) -> str:
    """Returns the text of the suite of that name from a folder of YAML files.

    Args:
        folder: the folder of `<name>.yaml`.
        name: the dataset's `expectations` key.

    Raises:
        SpecError: the file is missing or cannot be read; with the names that exist and the nearest one.
    """
    path = folder / f"{name}.yaml"
    # `exists` is false for a broken link; reading a link or a folder raises an error that names the cause.
    if not path.exists() and not path.is_symlink():
        raise _no_such_suite(folder, name)
    return read_text(path)


def _no_such_suite(folder: Path, name: str) -> SpecError:
    other = folder / f"{name}.yml"
    if other.exists():
        return SpecError(
            f"no expectations {name!r} in {folder}: a suite's file ends in .yaml",
            where=other.name,
            fix=f"Rename it to {name}.yaml",
        )
    names = sorted(shown_name(path.with_suffix("")) for path in folder.glob("[!.]*.yaml"))
    near = difflib.get_close_matches(name, names, 1)
    fix = f"Did you mean {near[0]}?" if near else None
    return SpecError(f"no expectations {name!r} in {folder}", choices=names, fix=fix)


class _Loader(BoundedLoader):
    """Floats become decimals of the same digits; dates and times stay text until the column's type is known."""


def _construct_float(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Any:
    return parsed_decimal(str(loader.construct_scalar(node)))


def _construct_text(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> str:
    return str(loader.construct_scalar(node))


_Loader.add_constructor("tag:yaml.org,2002:float", _construct_float)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _construct_text)


def parse_suite(text: str, file_name: str) -> Suite:
    """Returns the suite that the text of its file defines. Needs neither Spark nor Great Expectations.

    Raises:
        SpecError: the text has a mistake; with file, line, valid choices and nearest match.
    """
    document, lines = parse_yaml(text, file_name, _Loader)
    if not isinstance(document, dict) or lines is None:
        raise SpecError("expectations are a mapping of `rows` and `dataset`, each a list of rules", where=file_name)
    for key in document:
        if key not in SECTIONS:
            near = difflib.get_close_matches(str(key), SECTIONS, 1)
            raise SpecError(
                f"unknown key {key!r}",
                where=lines.at(str(key)),
                choices=SECTIONS,
                fix=f"Did you mean {near[0]}?" if near else None,
            )
    rules = {section: _rules(document, section, lines) for section in SECTIONS}
    if not rules["rows"] and not rules["dataset"]:
        raise SpecError("there is no rule", where=file_name, fix="Add one under rows or dataset, or remove the file")
    return Suite(name=file_name.removesuffix(".yaml"), rows=rules["rows"], dataset=rules["dataset"])


def _rules(document: Mapping[str, Any], section: Section, lines: YamlLines) -> tuple[Rule, ...]:
    entries = document.get(section) or []
    if not isinstance(entries, list):
        raise SpecError(f"{section} is not a list of rules", where=lines.at(section))
    rules: list[Rule] = []
    for index, entry in enumerate(entries):
        rule = _rule(entry, section, index, lines)
        if any(other.expectation == rule.expectation for other in rules):
            raise SpecError("this rule occurs twice", where=rule.where, fix="Remove one")
        rules.append(rule)
    return tuple(rules)


def _rule(entry: object, section: Section, index: int, lines: YamlLines) -> Rule:
    at = (section, index)
    if not isinstance(entry, dict) or len(entry) != 1:
        raise SpecError(
            "a rule is one expectation with its arguments",
            where=lines.at(*at),
            fix="Write - expect_column_values_to_not_be_null: {column: NAME}",
        )
    name, arguments = next(iter(entry.items()))
    model = VOCABULARY.get(str(name))
    choices = sorted(key for key, rule in VOCABULARY.items() if section == "dataset" or rule.row_rule)
    if model is None:
        near = difflib.get_close_matches(str(name), choices, 1)
        raise SpecError(
            f"unknown expectation {name!r}",
            where=lines.at(*at, str(name)),
            choices=choices,
            fix=f"Did you mean {near[0]}?" if near else None,
        )
    if section == "rows" and not model.row_rule:
        raise SpecError(
            f"{name} judges the whole batch, not a row",
            where=lines.at(*at, name),
            choices=choices,
            fix="Move it under dataset",
        )
    if not isinstance(arguments, dict):
        raise SpecError(f"{name} has no arguments", where=lines.at(*at, name), fix=f"Give it {_keys(model, section)}")
    try:
        expectation = model.model_validate(arguments)
    except ValidationError as error:
        _refuse(error, model, section, (*at, name), lines)
    if section == "rows" and isinstance(expectation, RowRule) and expectation.mostly is not None:
        raise SpecError(
            "a row keeps a rule or breaks it: mostly is for dataset rules",
            where=lines.at(*at, name, "mostly"),
            fix="Remove mostly, or move the rule under dataset",
        )
    places = {key: lines.at(*at, name, *_path(key)) for key in (*arguments, *expectation.columns())}
    return Rule(section, expectation, lines.at(*at), places)


def _path(key: str) -> tuple[str | int, ...]:
    return tuple(int(part) if part.isdigit() else part for part in key.split("."))


def _keys(model: type[Expectation], section: Section) -> str:
    return ", ".join(sorted(key for key in model.model_fields if section == "dataset" or key != "mostly"))


def _refuse(
    error: ValidationError, model: type[Expectation], section: Section, at: tuple[str | int, ...], lines: YamlLines
) -> NoReturn:
    first = error.errors()[0]
    location = tuple(part for part in first["loc"])
    key = str(location[0]) if location else ""
    choices: list[str] = []
    fix = None
    if first["type"] == "extra_forbidden":
        choices = _keys(model, section).split(", ")
        near = difflib.get_close_matches(key, choices, 1)
        problem, fix = f"unknown key {key!r} of {model.expectation}", f"Did you mean {near[0]}?" if near else None
    elif first["type"] == "missing":
        problem, fix = f"key {key!r} of {model.expectation} is missing", f"Add {key}: …"
    else:
        message = str(first["msg"]).removeprefix("Value error, ")
        word = lines.plain_word(*at, *location)
        if first["type"] == "string_type" and word:
            message, fix = f"a text is expected, and YAML reads {word} as something else", f"Quote it: '{word}'"
        problem = f"{key}: {message} (found {first['input']!r})" if key else f"{model.expectation}: {message}"
    raise SpecError(problem, where=lines.at(*at, *location), choices=choices, fix=fix) from None
