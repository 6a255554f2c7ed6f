"""One dataset's failure is its own, however the code of its transform ends."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from jobs.stages import loop as stages
from tests.support.dags.documents import World

if TYPE_CHECKING:
    from pathlib import Path

    from jobs.runs.dataset_run import DatasetRun
    from jobs.runs.receipts import Receipt, Stage


def _exits() -> None:
    sys.exit(0)


def _exits_with_words() -> None:
    sys.exit(f"row {4700 + 11} is broken")


def _is_interrupted() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("ends", "name"),
    [
        (_exits, "SystemExit"),
        (_exits_with_words, "SystemExit"),
        (_is_interrupted, "KeyboardInterrupt"),
    ],
)
def test_code_that_ends_python_ends_its_dataset_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ends: object, name: str
) -> None:
    world = World(tmp_path)
    uri = world.plan(broken="planned", healthy="planned")

    def work_of(stage: Stage) -> stages.Work:
        def work(run: DatasetRun) -> Receipt | None:
            if run.name == "broken":
                ends()  # type: ignore[operator]
            return run.new_receipt(stage, "done")

        return work

    monkeypatch.setattr(stages, "work_of", work_of)
    monkeypatch.setattr(stages, "load_settings", lambda: world.settings)
    monkeypatch.setenv("LAKEFERRY_PROGRESS", "json")
    assert stages.main("extract", ["--plan", uri, "--through", "load"]) == 75
    left = sorted(key.rpartition("/")[2] for key in world.documents.list("receipts/"))
    assert left == [f"healthy.{stage}.json" for stage in ("check", "extract", "load", "transform")]
    output = capsys.readouterr()
    (failed,) = [json.loads(line) for line in output.out.splitlines() if '"failed"' in line]
    assert (failed["dataset"], failed["error_type"]) == ("broken", "RunnerFailed")
    assert f"unexpected {name} at tests/jobs/stages/test_own_failures.py:" in failed["error"]
    assert "4711" not in output.out + output.err
