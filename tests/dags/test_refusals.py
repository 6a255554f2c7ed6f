"""`lakeferry_broken_specs.py` builds no DAG that `lakeferry.py`, in another process, could register."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from connectors.errors import SpecError
from lakeferry_airflow import admission
from lakeferry_airflow.registration import dags_to_register, refuse_broken_specs

PIPELINE = """pipeline: {name}
source: {{type: aurora, connection: c}}
datasets:
  - {{name: {name}, table: shop.{name}, primary_key: [id], write_disposition: append, cursor: id,
     bigquery: {{table: shop.{name}}}}}
"""
REFUSED = "airflow: {notify: {failure: [{notifier: nowhere.Pager}]}}\n"
"""A notifier that cannot be imported: the YAML is sound, and its DAG cannot be built."""


class Bundle:
    """A folder of DAG files with three healthy pipelines. `built` are those whose DAG was built."""

    def __init__(self, folder: Path) -> None:
        self.pipelines = folder / "pipelines"
        self.pipelines.mkdir(parents=True)
        self.folder = folder
        self.built: list[str] = []
        for name in ("one", "two", "three"):
            self.write(name)

    def write(self, name: str, more: str = "") -> None:
        (self.pipelines / f"{name}.yaml").write_text(PIPELINE.format(name=name) + more)

    def registered(self) -> list[str]:
        self.built.clear()
        return sorted(dags_to_register(str(self.folder / "lakeferry.py")))

    def report(self) -> str:
        self.built.clear()
        try:
            refuse_broken_specs(str(self.folder / "lakeferry_broken_specs.py"))
        except SpecError as error:
            return str(error)
        return ""


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    monkeypatch.delenv("LAKEFERRY_PIPELINES", raising=False)
    monkeypatch.setenv("LAKEFERRY_STATE_DIR", str(tmp_path / "state"))
    bundle = Bundle(tmp_path / "bundle")
    build = admission.build_dag

    def noted(spec, settings):  # type: ignore[no-untyped-def]
        bundle.built.append(spec.pipeline)
        return build(spec, settings)

    monkeypatch.setattr(admission, "build_dag", noted)
    return bundle


def test_the_report_builds_no_dag_of_a_healthy_pipeline(bundle: Bundle) -> None:
    (bundle.pipelines / "broken.yaml").write_text("pipeline: broken\n")
    assert bundle.registered() == ["one", "three", "two"]
    assert "1 broken in" in (said := bundle.report())
    assert "broken.yaml:1" in said
    assert bundle.built == []


def test_the_report_builds_what_was_refused_and_says_why(bundle: Bundle) -> None:
    bundle.write("two", REFUSED)
    assert bundle.registered() == ["one", "three"]
    assert "two.yaml: Airflow refuses the DAG of pipeline two: SpecError: " in bundle.report()
    assert bundle.built == ["two"]
    # It is mended, and `lakeferry.py` has not been parsed since.
    bundle.write("two")
    assert bundle.report() == ""
    assert bundle.registered() == ["one", "three", "two"]
    assert bundle.report() == ""
    assert bundle.built == []


def test_the_report_knows_what_either_file_refused(bundle: Bundle) -> None:
    apart = bundle.folder / "lakeferry_access_control.py"
    apart.touch()
    bundle.write("two", "airflow: {access_control: {Viewer: [can_read]}, notify: {failure: [{notifier: nowhere.P}]}}\n")
    bundle.write("three", REFUSED)
    assert bundle.registered() == ["one"]
    assert list(dags_to_register(str(apart))) == []
    bundle.built.clear()
    said = bundle.report()
    assert "two.yaml: Airflow refuses" in said
    assert "three.yaml: Airflow refuses" in said
    assert sorted(bundle.built) == ["three", "two"]


@pytest.mark.parametrize("state", ["never parsed", "old", "of tomorrow", "unreadable", "too deep", "cannot be written"])
def test_the_report_builds_all_where_nothing_says_what_was_refused(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, state: str
) -> None:
    bundle.write("two", REFUSED)
    if state == "cannot be written":
        (tmp_path / "file").touch()
        monkeypatch.setenv("LAKEFERRY_STATE_DIR", str(tmp_path / "file"))
    if state != "never parsed":
        assert bundle.registered() == ["one", "three"]
    for file in (tmp_path / "state" / "refused").glob("*.json"):
        if state == "old":
            os.utime(file, (time.time() - 7200, time.time() - 7200))
        if state == "of tomorrow":
            os.utime(file, (time.time() + 86400, time.time() + 86400))
        if state == "too deep":
            file.write_text("[" * 100_000)
        if state == "unreadable":
            file.write_text("[[")
    assert "Airflow refuses the DAG of pipeline two" in bundle.report()
    assert sorted(bundle.built) == ["one", "three", "two"]


def test_a_file_server_whose_clock_is_a_little_ahead_costs_nothing(bundle: Bundle, tmp_path: Path) -> None:
    bundle.registered()
    for file in (tmp_path / "state" / "refused").glob("*.json"):
        os.utime(file, (time.time() + 20, time.time() + 20))
    bundle.report()
    assert bundle.built == []


def test_two_folders_of_pipelines_do_not_share_what_was_refused(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert bundle.registered() == ["one", "three", "two"]
    elsewhere = Bundle(tmp_path / "elsewhere")
    elsewhere.write("two", REFUSED)
    monkeypatch.setenv("LAKEFERRY_PIPELINES", str(elsewhere.pipelines))
    assert "Airflow refuses the DAG of pipeline two" in bundle.report()
