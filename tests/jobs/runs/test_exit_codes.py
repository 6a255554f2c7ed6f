"""Exit codes of the entries by Lakeferry's decision and after a crash, and how `lakeferry` maps them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from connectors.errors import RunnerFailed
from jobs.cli import run
from jobs.runtime.project import CODE_ROOT as CHECKOUT
from jobs.runtime.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.services


def entry(name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(CHECKOUT / "jobs" / name), *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("name", ["plan.py", "load.py"])
def test_a_wrong_argument_is_64(name: str) -> None:
    ran = entry(name, "--no-such-option")
    assert ran.returncode == 64
    assert "usage:" in ran.stderr


def test_a_mistake_of_the_user_is_64(tmp_path: Path) -> None:
    ran = entry("plan.py", "--pipeline=nowhere", "--run-id=r", LAKEFERRY_PIPELINES=str(tmp_path))
    assert ran.returncode == 64
    assert "no pipeline 'nowhere'" in ran.stderr
    ran = entry("load.py", "--plan=s3://elsewhere/plans/x/1.json", LAKEFERRY_LAKE=f"file://{tmp_path}")
    assert ran.returncode == 64
    assert "is not in the lake" in ran.stderr


def test_a_broken_import_is_none_of_our_codes(tmp_path: Path) -> None:
    (tmp_path / "pydantic.py").write_text("raise ImportError('half an installation')")
    ran = entry("plan.py", "--pipeline=payments", "--run-id=r", PYTHONPATH=str(tmp_path))
    assert "half an installation" in ran.stderr
    assert ran.returncode not in (0, 64, 65, 75)


def submitted(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str, plan_again: bool = False) -> int:
    """Submit a child that runs this code in place of a stage."""
    monkeypatch.setattr(run, "local_command", lambda *_: [sys.executable, "-c", code])
    return run.submit_application("extract", "file:///plan", "load", Settings(state_dir=folder), plan_again=plan_again)


@pytest.mark.parametrize(("stage", "command"), [(0, 0), (64, 2), (65, 1), (75, 3)])
def test_the_command_keeps_its_own_codes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: int, command: int
) -> None:
    code = f'import sys; print(\'{{"event": "failed", "error": "it broke"}}\'); sys.exit({stage})'
    assert submitted(tmp_path, monkeypatch, code) == command


@pytest.mark.parametrize("crash", [1, 2, 3])
def test_a_stage_that_crashed_after_it_reported_a_failure_has_crashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crash: int
) -> None:
    code = f'import sys; print(\'{{"event": "failed", "error": "it broke"}}\'); sys.exit({crash})'
    with pytest.raises(RunnerFailed, match=f"the extract job ended with code {crash}"):
        submitted(tmp_path, monkeypatch, code)


def test_a_java_that_gets_no_memory_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = "Error occurred during initialization of VM\\nCould not reserve enough space for 2097152KB object heap"
    with pytest.raises(RunnerFailed, match="the machine has less memory than Java asks for"):
        submitted(tmp_path, monkeypatch, f"import sys; print({words!r}.replace('\\\\n', chr(10))); sys.exit(1)")


@pytest.mark.parametrize(("error_type", "what"), [("LakeMoved", "the lake"), ("SourceMoved", "the source")])
def test_what_is_planned_again_is_not_shown_as_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error_type: str, what: str
) -> None:
    record = {"event": "failed", "stage": "check", "dataset": "d", "error": "it moved", "error_type": error_type}
    record |= {"error_code": "LF-300", "recovery": "plan_again"}
    code = f"import json, sys; print(json.dumps({record})); sys.exit(75)"
    monkeypatch.setenv("LAKEFERRY_PROGRESS", "json")
    assert submitted(tmp_path, monkeypatch, code, plan_again=True) == 3
    assert submitted(tmp_path, monkeypatch, code) == 3
    moved, failed = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert moved == {
        "event": "moved",
        "stage": "check",
        "dataset": "d",
        "reason": "it moved",
        "next": f"{what} moved: it is planned again",
    }
    assert failed == record, "nothing follows"


def test_a_failure_that_is_not_planned_again_stays_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record = {"event": "failed", "stage": "check", "dataset": "d", "error": "a rule", "error_type": "CheckFailed"}
    record |= {"error_code": "LF-402", "recovery": "look_at_data"}
    monkeypatch.setenv("LAKEFERRY_PROGRESS", "json")
    code = f"import json, sys; print(json.dumps({record})); sys.exit(65)"
    assert submitted(tmp_path, monkeypatch, code, plan_again=True) == 1
    assert json.loads(capsys.readouterr().out) == record
