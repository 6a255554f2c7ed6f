"""A pipeline is registered by exactly one of the files that Airflow parses."""

from __future__ import annotations

from pathlib import Path

import pytest
from airflow.utils.file import list_py_file_paths

from jobs.launch.dag_files import write_dag_files
from lakeferry_airflow import registration
from lakeferry_airflow.bundle import files_airflow_parses
from lakeferry_airflow.registration import dags_to_register

PIPELINE = """pipeline: {name}
source: {{type: aurora, connection: c}}
datasets:
  - {{name: {name}, table: shop.{name}, primary_key: [id], write_disposition: append, cursor: id,
     bigquery: {{table: shop.{name}}}}}
"""


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a bundle whose DAG files are in its folder `dags`; Airflow puts the root on Python's path."""
    monkeypatch.delenv("LAKEFERRY_PIPELINES", raising=False)
    monkeypatch.setenv("LAKEFERRY_STATE_DIR", str(tmp_path / "state"))
    root = tmp_path / "bundle"
    monkeypatch.syspath_prepend(str(root))
    (root / "dags" / "pipelines").mkdir(parents=True)
    (root / "dags" / "lakeferry.py").write_text("# a dag of airflow\n")
    for name in ("one", "two"):
        (root / "dags" / "pipelines" / f"{name}.yaml").write_text(PIPELINE.format(name=name))
    return root


def in_the_main_file(bundle: Path) -> list[str]:
    return sorted(dags_to_register(str(bundle / "dags" / "lakeferry.py")))


def parsed_by_airflow(bundle: Path) -> list[str]:
    return sorted(Path(path).stem for path in list_py_file_paths(bundle))


def test_files_behind_a_link_register_their_pipelines(bundle: Path, tmp_path: Path) -> None:
    write_dag_files(bundle / "dags" / "pipelines", tmp_path / "checkout")
    (bundle / "dags" / "generated").symlink_to(tmp_path / "checkout")
    assert parsed_by_airflow(bundle) == ["lakeferry", "one", "two"]
    assert in_the_main_file(bundle) == []


@pytest.mark.parametrize(
    ("where", "pattern", "main"),
    [
        ("dags", "generated/", ["one", "two"]),
        (".", "dags/generated", ["one", "two"]),
        ("dags/generated", "two.py", ["two"]),
        (".", "notebooks/", []),
    ],
)
def test_files_that_airflow_ignores_register_nothing(bundle: Path, where: str, pattern: str, main: list[str]) -> None:
    write_dag_files(bundle / "dags" / "pipelines", bundle / "dags" / "generated")
    (bundle / where / ".airflowignore").write_text(f"# not for Airflow\n{pattern}\n")
    assert sorted([*in_the_main_file(bundle), *parsed_by_airflow(bundle)]) == ["lakeferry", "one", "two"]
    assert in_the_main_file(bundle) == main


def test_an_ignore_file_above_the_bundle_does_not_count(bundle: Path, tmp_path: Path) -> None:
    write_dag_files(bundle / "dags" / "pipelines", bundle / "dags" / "generated")
    (tmp_path / ".airflowignore").write_text("*\n")
    assert len(files_airflow_parses(bundle / "dags")) == 3


def test_what_cannot_be_listed_beside_the_bundle_takes_no_dag_down(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repository on Python's path, with an environment whose links go in a circle."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / ".airflowignore").write_text("*.md\n")
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / "lib64").symlink_to(tmp_path / "venv")
    write_dag_files(bundle / "dags" / "pipelines", bundle / "dags" / "generated")
    (bundle / "dags" / "generated" / "two.py").unlink()
    assert in_the_main_file(bundle) == ["two"]


@pytest.mark.parametrize(("ignored", "main"), [(False, ["one"]), (True, ["one", "two"])])
def test_a_registering_file_that_airflow_ignores_registers_nothing(
    bundle: Path, ignored: bool, main: list[str]
) -> None:
    roles = PIPELINE.format(name="two") + "airflow: {access_control: {Viewer: [can_read]}}\n"
    (bundle / "dags" / "pipelines" / "two.yaml").write_text(roles)
    (bundle / "dags" / "lakeferry_access_control.py").write_text("# a dag of airflow\n")
    if ignored:
        (bundle / "dags" / ".airflowignore").write_text("lakeferry_access_control.py\n")
    assert in_the_main_file(bundle) == main


@pytest.mark.parametrize("name", ["lakeferry.py", "lakeferry_access_control.py", "lakeferry_broken_specs.py"])
def test_a_parse_lists_the_folder_of_dag_files_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv("LAKEFERRY_PIPELINES", raising=False)
    monkeypatch.setenv("LAKEFERRY_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "_defaults.yaml").write_text("airflow: {access_control: {Viewer: [can_read]}}\n")
    for file in ("lakeferry.py", "lakeferry_access_control.py", "lakeferry_broken_specs.py"):
        (tmp_path / file).touch()
    listed: list[Path] = []

    def files(folder: Path) -> list[Path]:
        listed.append(folder)
        return files_airflow_parses(folder)

    monkeypatch.setattr(registration, "files_airflow_parses", files)
    parse = registration.refuse_broken_specs if "broken" in name else registration.dags_to_register
    parse(str(tmp_path / name))
    assert listed == [tmp_path]
