"""A DAG file reads the pipelines beside it, and so does the planning of its tasks: a pinned run has its own YAML."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from airflow.sdk.exceptions import AirflowException

from jobs.runtime.project import CODE_ROOT as CHECKOUT
from jobs.runtime.settings import load_settings
from lakeferry_airflow.bundle import settings_beside
from lakeferry_airflow.registration import dags_to_register
from lakeferry_airflow.windows import Request

if TYPE_CHECKING:
    from tests.dags.conftest import NewRun
    from tests.support.dags.documents import World

PIPELINE = """pipeline: payments
description: Payments in version {version}
source: {{type: aurora, connection: c}}
datasets:
  - name: payments
    table: shop.payments
    primary_key: [id]
    write_disposition: merge
    bigquery: {{table: shop.payments}}
"""


@pytest.fixture(autouse=True)
def _no_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEFERRY_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("LAKEFERRY_PIPELINES", raising=False)
    monkeypatch.delenv("LAKEFERRY_EXPECTATIONS", raising=False)


def version_of_bundle(folder: Path, version: str) -> Path:
    """The DAG file of one version, as a checkout of `GitDagBundle` holds it."""
    (folder / version / "pipelines").mkdir(parents=True)
    (folder / version / "pipelines" / "payments.yaml").write_text(PIPELINE.format(version=version))
    return folder / version / "lakeferry.py"


@pytest.mark.services
def test_each_version_of_a_bundle_has_its_own_yaml_in_the_parse_and_in_the_plan(tmp_path: Path) -> None:
    files = [version_of_bundle(tmp_path, version) for version in ("one", "two")]
    dags = [dags_to_register(str(file))["payments"] for file in files]
    assert [dag.description for dag in dags] == ["Payments in version one", "Payments in version two"]
    for file, dag in zip(files, dags, strict=True):
        # The child that plans says which file it reads: what is wrong in it stands in this version alone.
        fault = f"fault_{file.parent.name}"
        yaml = file.parent / "pipelines" / "payments.yaml"
        yaml.write_text(yaml.read_text() + f"{fault}: 1\n")
        for task in ("plan", "extract"):
            lines: list[str] = []
            planning = dag.get_task(task)._planning
            with pytest.raises(AirflowException, match=f"unknown key '{fault}'"):
                planning.plan("run", Request(), load_settings(), lines.append)


def test_the_folder_beside_the_dag_file_goes_before_that_beside_its_folder(tmp_path: Path) -> None:
    (tmp_path / "dags" / "pipelines").mkdir(parents=True)
    (tmp_path / "dags" / "generated").mkdir()
    (tmp_path / "expectations").mkdir()
    for file in ("lakeferry.py", "generated/payments.py"):
        settings = settings_beside(tmp_path / "dags" / file)
        assert settings.pipelines == tmp_path / "dags" / "pipelines"
        assert settings.expectations == tmp_path / "expectations"
    (tmp_path / "dags" / "generated" / "pipelines").mkdir()
    (tmp_path / "dags" / "expectations").mkdir()
    settings = settings_beside(tmp_path / "dags" / "generated" / "payments.py")
    assert settings.pipelines == tmp_path / "dags" / "generated" / "pipelines"
    assert settings_beside(tmp_path / "dags" / "lakeferry.py").expectations == tmp_path / "dags" / "expectations"


def test_without_such_a_folder_the_settings_stand(tmp_path: Path) -> None:
    settings = settings_beside(tmp_path / "a" / "dags" / "lakeferry.py")
    assert settings.pipelines == CHECKOUT / "dags" / "pipelines"
    assert settings.expectations == CHECKOUT / "expectations" / "suites"


def test_a_folder_that_the_environment_names_is_that_of_all_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = version_of_bundle(tmp_path, "one")
    monkeypatch.setenv("LAKEFERRY_PIPELINES", str(tmp_path / "shared"))
    monkeypatch.setenv("LAKEFERRY_EXPECTATIONS", str(tmp_path / "suites"))
    settings = settings_beside(file)
    assert settings.pipelines == tmp_path / "shared"
    assert settings.expectations == tmp_path / "suites"


@pytest.mark.parametrize("version", [None, "42989f4c73a93b219126aef9ca4b635869af4bf3"])
def test_a_failure_in_a_versioned_bundle_says_how_a_mended_yaml_is_read(
    world: World, new_run: NewRun, version: str | None
) -> None:
    """Airflow clears a run in the version it began with: the same YAML would fail the same way."""
    run = new_run("payments", bundle_version=version)
    run.planned(world.plan(payments="planned"))
    world.leave("payments", "extract")
    world.leave("payments", "check", verdict="failed", code=1)
    for task in ("check", "datasets.payments"):
        end = run.task(task)
        assert end.state == "failed"
        hint = "This run reads version 42989f4c73a9 of its bundle, also when it is cleared."
        assert (hint in end.message) == (version is not None)
        assert ("Run with latest bundle version" in end.message) == (version is not None)
