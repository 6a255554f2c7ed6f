"""Writes the pages of the reference that are made from code: `make reference`. tests/docs compares them.

Pages: the command line from Typer, errors from their classes, fields of receipts from the models, columns that
Lakeferry adds from the schemas of the lake.
"""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer.main
from pydantic import BaseModel

from connectors import errors
from jobs.cli.app import app
from jobs.lake import schema
from jobs.runs.receipts import Receipt
from jobs.runs.stage_results import RESULTS

_ROOT = Path(__file__).resolve().parents[2]
_WIDTH = 118
_MADE = "This page is made from the code by `make reference`."
_RECOVERIES = {
    "fix_configuration": "fix the configuration, then run again",
    "retry": "run again; Airflow does so by itself",
    "plan_again": "nothing: the dataset is planned again, three times at most in one run",
    "look_at_data": "look at the data, then run again",
}


def pages() -> dict[str, str]:
    """Return the text of each page by its path below docs/reference."""
    return {
        "command-line.md": command_line(),
        "errors.md": error_classes(),
        "receipts.md": receipts(),
        "lake-columns.md": lake_columns(),
    }


def command_line() -> str:
    """Every command with its arguments and options, as `--help` shows them."""
    text = f"# Commands and options\n\n{_MADE} What each command answers is in [commands.md](commands.md).\n"
    root: Any = typer.main.get_command(app)
    for path, command in sorted(_commands(root, "lakeferry")):
        text += f"\n## `{path}`\n\n{_filled(command.help or '')}\n"
        rows = [(_usage(parameter), _cell(getattr(parameter, "help", "") or "")) for parameter in command.params]
        rows = [row for row in rows if not row[0].startswith("`--help`")]
        if rows:
            text += "\n" + _table(("argument", "meaning"), rows)
    return text


def error_classes() -> str:
    """Every class with its code, exit code and what to do."""
    text = (
        f"# Errors\n\n{_MADE} Symptoms, and what to do about each, are in "
        "[troubleshooting.md](../how-to/troubleshooting.md).\n\nA code is never given to another error. It stands in "
        "events and receipts. With several failures the highest exit code of `lakeferry` counts.\n\n"
    )
    rows = [
        (
            f"{kind.code}",
            f"`{kind.__name__}`",
            str(kind.exit_code),
            _cell(inspect.getdoc(kind) or ""),
            _RECOVERIES[kind.recovery],
        )
        for kind in sorted(_classes(errors.LakeferryError), key=lambda kind: kind.code)
    ]
    return text + _table(("code", "class", "exit code", "meaning", "what to do"), rows)


def receipts() -> str:
    """The fields of a receipt, and of the result that each stage leaves in `details`."""
    text = (
        f"# Receipts\n\n{_MADE}\n\nA stage leaves one receipt per dataset, run and generation, as JSON under "
        "`receipts/PIPELINE/RUN/GENERATION/DATASET.STAGE.json` in the lake. `lakeferry receipts PIPELINE` shows "
        "them.\n\n"
        f"{_filled(inspect.getdoc(Receipt) or '')}\n\n" + _table(("field", "type"), _fields(Receipt))
    )
    for stage, result in RESULTS.items():
        text += f"\n## `details` of {stage}\n\n{_filled(inspect.getdoc(result) or '')}\n"
        if result.model_fields:
            text += "\n" + _table(("field", "type"), _fields(result))
    return text


def lake_columns() -> str:
    """The columns that Lakeferry adds to those of a dataset."""
    text = f"# Columns of the lake\n\n{_MADE} [Where they stand](../explanation/architecture.md#columns-of-the-lake).\n"
    both = [*schema._LINEAGE, schema.DELETED]
    meanings = {c.name: c.comment or "" for c in (*both, *schema._READ)} | {
        schema.GENERATION_COLUMN: "generation of the plan that the attempt worked through",
        "quarantined_at": "when the row was set aside",
    }
    for heading, columns in (
        ("In raw and curated", both),
        ("In raw alone", schema._READ),
        ("In quarantine", schema.QUARANTINE_COLUMNS),
    ):
        rows = [(f"`{c.name}`", f"`{c.spark_type}`", _cell(c.comment or meanings[c.name])) for c in columns]
        text += f"\n## {heading}\n\n" + _table(("column", "type", "meaning"), rows)
    return text


def _commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, child in getattr(command, "commands", {}).items():
        if getattr(child, "commands", None):
            yield from _commands(child, f"{path} {name}")
        else:
            yield f"{path} {name}", child


def _usage(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        name = str(parameter.name).upper()
        return f"`{name}`" if parameter.required else f"`[{name}]`"
    return " ".join(f"`{option}`" for option in (*parameter.opts, *parameter.secondary_opts))


def _fields(model: type[BaseModel]) -> list[tuple[str, str]]:
    return [(f"`{name}`", f"`{_type_name(field.annotation)}`") for name, field in model.model_fields.items()]


def _type_name(annotation: Any) -> str:
    """Return a type as a reader of the JSON needs it."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type_name(arguments[0])
    if origin in (Union, UnionType):
        return " | ".join(_type_name(argument) for argument in arguments)
    if origin is Literal:
        return " | ".join(repr(argument) for argument in arguments)
    if annotation is type(None):
        return "None"
    if arguments:
        return f"{origin.__name__}[{', '.join(_type_name(argument) for argument in arguments)}]"
    return str(getattr(annotation, "__name__", annotation))


def _classes(kind: type[errors.LakeferryError]) -> Iterator[type[errors.LakeferryError]]:
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield child
            yield from _classes(child)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split())


def _filled(text: str) -> str:
    blocks = [" ".join(block.split()) for block in re.split(r"\n\s*\n", text)]
    return "\n\n".join(textwrap.fill(b, _WIDTH, break_long_words=False, break_on_hyphens=False) for b in blocks)


def main() -> int:
    for name, text in pages().items():
        (_ROOT / "docs" / "reference" / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
