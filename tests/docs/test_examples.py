"""Examples in the documents: whole pipelines and options of a DAG can be read, and commands are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer.main
import yaml

from jobs.cli.app import app
from jobs.spec.airflow_options import AirflowOptions
from jobs.spec.reader import read_spec

_ROOT = Path(__file__).parents[2]
_PAGES = [page for page in sorted((_ROOT / "docs").rglob("*.md")) if "examples" not in page.parts]
_TEXTS = {str(page.relative_to(_ROOT / "docs")): page.read_text(encoding="utf-8") for page in _PAGES}
_TEXTS["../README.md"] = (_ROOT / "README.md").read_text(encoding="utf-8")
_YAML = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_BLOCKS = [(name, block) for name, text in _TEXTS.items() for block in _YAML.findall(text)]
_PIPELINES = [(name, block) for name, block in _BLOCKS if block.startswith("pipeline:")]


@pytest.mark.parametrize(("document", "block"), _PIPELINES, ids=[name for name, _ in _PIPELINES])
def test_whole_pipelines_can_be_read(document: str, block: str, tmp_path: Path) -> None:
    file = tmp_path / f"{yaml.safe_load(block)['pipeline']}.yaml"
    file.write_text(block, encoding="utf-8")

    assert read_spec(file).datasets


def test_there_is_a_whole_pipeline_of_every_kind() -> None:
    assert {f"how-to/{kind}.md" for kind in ("tables", "topics", "csv", "derived")} <= {name for name, _ in _PIPELINES}


def test_options_of_a_dag_can_be_read_and_all_are_shown() -> None:
    blocks = [block for _, block in _BLOCKS if block.startswith("airflow:")]
    options = [AirflowOptions.model_validate(yaml.safe_load(block)["airflow"]) for block in blocks]

    assert {name for each in options for name in each.model_fields_set} == set(AirflowOptions.model_fields)


def test_commands_are_there() -> None:
    commands = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    named = {word for text in _TEXTS.values() for word in re.findall(r"`lakeferry ([a-z]+)", text)}

    assert named <= commands
    assert commands <= set(re.findall(r"^\| `lakeferry (\w+)", _TEXTS["reference/commands.md"], re.M))
