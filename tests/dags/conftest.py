"""Fixtures for the tests of `dags/`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import tests.support.airflow_home  # noqa: F401 - before Airflow is imported; the oldest Airflow runs without tests/conftest.py
from tests.support.dags.documents import World, spec_of
from tests.support.dags.plan_double import Planner
from tests.support.dags.runner_double import Script
from tests.support.dags.task_double import RunDouble

NewRun = Callable[..., RunDouble]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    """The jobs of the runner; an empty script refuses every submission."""
    script = Script()
    script.install(monkeypatch)
    return script


@pytest.fixture
def planner(monkeypatch: pytest.MonkeyPatch) -> Planner:
    """What planning does; until the test says something, it is not expected."""
    planner = Planner()
    planner.install(monkeypatch)
    return planner


@pytest.fixture
def new_run(world: World, script: Script, planner: Planner, monkeypatch: pytest.MonkeyPatch) -> NewRun:
    """`new_run("payments", "merchants", conf={…})`: a run of the DAG with these datasets, in the world's lake.

    Airflow has no events of the run, unless the test gives it some.
    """
    from lakeferry_airflow import emissions
    from lakeferry_airflow.factory import build_dag

    world.into(monkeypatch)
    monkeypatch.setattr(emissions, "recorded_events", lambda *_: [])

    def make(*datasets: str, **fields: object) -> RunDouble:
        return RunDouble(build_dag(spec_of(*datasets), world.settings), **fields)  # type: ignore[arg-type]

    return make
