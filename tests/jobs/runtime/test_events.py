"""Every JSON line of a run names the run, whichever thread and process wrote it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import jobs.plan
from jobs.runs.plan_document import run_of
from jobs.runtime import events
from jobs.stages import loop

RUN = "manual__2026-12-01T10:15:00+00:00"


@pytest.fixture(autouse=True)
def of_no_run(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(events, "_run", {})
    monkeypatch.setenv(events.FORMAT_VARIABLE, "json")
    return


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]


def test_events_of_all_threads_name_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    with ThreadPoolExecutor(1) as before:
        before.submit(events.event, "note", dataset="early").result()
        events.concern_run("payments", RUN)
        before.submit(events.event, "done", dataset="payments").result()
    early, done = lines(capsys)
    assert "run_id" not in early
    assert (done["pipeline"], done["run_id"], done["dataset"]) == ("payments", RUN, "payments")


def test_a_person_is_not_shown_the_run_in_each_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(events.FORMAT_VARIABLE, "text")
    events.concern_run("payments", RUN)
    events.event("done", stage="load", dataset="merchants", loaded=2)
    events.pass_on({"event": "done", "dataset": "merchants", "pipeline": "payments", "run_id": RUN})
    shown = capsys.readouterr().out
    assert "loaded 2" in shown
    assert "manual" not in shown
    assert "payments" not in shown


@pytest.mark.parametrize("stage", ["extract", "load"])
def test_a_stage_without_its_plan_names_the_run_of_the_address(
    stage: loop.Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAKEFERRY_LAKE", f"file://{tmp_path}")
    uri = f"file://{tmp_path}/plans/payments/manual__2026-12-01T10=3A15=3A00=2B00=3A00/1.json"
    assert loop.main(stage, ["--plan", uri]) != 0
    [failed] = lines(capsys)
    assert (failed["event"], failed["pipeline"], failed["run_id"]) == ("failed", "payments", RUN)


def test_a_plan_that_fails_names_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAKEFERRY_PIPELINES", str(tmp_path))
    assert jobs.plan.main(["--pipeline", "payments", "--run-id", RUN]) != 0
    [failed] = lines(capsys)
    assert (failed["event"], failed["pipeline"], failed["run_id"]) == ("failed", "payments", RUN)


@pytest.mark.parametrize("uri", ["", "s3://lake/1.json", "s3://lake/plan/payments/run/1.json"])
def test_an_address_of_no_plan_names_no_run(uri: str) -> None:
    assert run_of(uri) is None
