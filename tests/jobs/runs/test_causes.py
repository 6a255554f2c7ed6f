"""A failure is named by its cause and place, and never by a value of a row."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from connectors.errors import CheckFailed, RunnerFailed, ServiceError
from jobs.cli import run
from jobs.lake.documents import open_documents
from jobs.runs.failures import cause_of, reported
from jobs.runtime.settings import Settings
from jobs.stages import loop as stages

SECRET = "4111111111111111"


def _raised(work: Callable[[], object]) -> Exception:
    with pytest.raises(Exception) as caught:
        work()
    return caught.value


def _missing_key() -> None:
    raise KeyError(SECRET)


def _chained() -> None:
    try:
        int(SECRET + "x")
    except ValueError as error:
        raise LookupError(SECRET) from error


@pytest.mark.parametrize(
    ("work", "cause"),
    [
        (_missing_key, "KeyError at tests/jobs/runs/test_causes.py:"),
        (_chained, "LookupError: ValueError at tests/jobs/runs/test_causes.py:"),
        (
            lambda: "売上".encode("cp932").decode("utf-8"),
            "UnicodeDecodeError: utf-8: invalid start byte at tests/jobs/runs/test_causes.py",
        ),
        (
            lambda: Path("/no/such/file").read_text(),
            "FileNotFoundError: No such file or directory at tests/jobs/runs/test_causes.py",
        ),
        (
            lambda: __import__("no_such_module"),
            "ModuleNotFoundError: no no_such_module at tests/jobs/runs/test_causes.py",
        ),
        (lambda: Path.no_such_function, "AttributeError: no no_such_function at tests/jobs/runs/test_causes.py"),
    ],
)
def test_a_python_error_is_named_with_its_line(work: Callable[[], object], cause: str) -> None:
    error = _raised(work)
    named = reported(error, "payments")
    assert isinstance(named, RunnerFailed)
    assert str(named).startswith(f"unexpected {cause}")
    assert SECRET not in str(named)


def test_an_error_of_lakeferry_stays_what_it_is() -> None:
    error = CheckFailed("a rule is broken")
    assert reported(error, "payments") is error


def test_what_did_not_answer_is_outside() -> None:
    named = reported(_raised(lambda: _raise(OSError(111, "Connection refused"))), "payments")
    assert type(named) is ServiceError
    assert "did not answer: Connection refused" in str(named)


def test_a_stage_that_cannot_begin_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(lake=f"file://{tmp_path}/lake")
    documents = open_documents(settings.lake)
    documents.create("plans/p/r/1.json", "{}")
    monkeypatch.setattr(stages, "load_settings", lambda: settings)

    def fails(*_: object) -> None:
        raise KeyError(SECRET)

    # An error that nobody foresaw, before there is a plan to leave a receipt for.
    monkeypatch.setattr(stages, "load_plan", fails)
    assert stages.main("extract", ["--plan", documents.uri("plans/p/r/1.json")]) == 75
    shown = capsys.readouterr()
    [event] = [json.loads(line) for line in shown.out.splitlines() if line.startswith("{")]
    assert event["event"] == "failed"
    assert event["error"].startswith("unexpected KeyError")
    assert event["error"] in shown.err
    assert SECRET not in event["error"]


@pytest.mark.services
def test_a_job_that_dies_is_reported_with_what_it_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As spark-submit does, which joins the standard error of the Python process to its standard output.
    code = f"import sys; sys.stderr = sys.stdout; print('begins'); raise ValueError({SECRET!r})"
    monkeypatch.setattr(run, "local_command", lambda *_: [sys.executable, "-c", code])
    with pytest.raises(RunnerFailed) as caught:
        run.submit_application("extract", "file:///plan", "load", Settings(state_dir=tmp_path))
    assert "the extract job ended with code 1: begins | Traceback" in str(caught.value)
    assert "| ValueError. Its log is" in str(caught.value)
    assert SECRET not in str(caught.value)
    [log] = (tmp_path / "logs").iterdir()
    assert "begins" in log.read_text()


@pytest.mark.services
def test_a_job_that_dies_in_java_is_reported_without_the_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    caused = f'Caused by: java.lang.NumberFormatException: For input string: "{SECRET}"'
    code = f"import sys; print('26/11/30 12:00:00 ERROR Executor: ' + {caused!r}); print({caused!r}); sys.exit(1)"
    monkeypatch.setattr(run, "local_command", lambda *_: [sys.executable, "-c", code])
    with pytest.raises(
        RunnerFailed, match=r"Executor: Caused by: java\.lang\.NumberFormatException \| Caused"
    ) as caught:
        run.submit_application("extract", "file:///plan", "load", Settings(state_dir=tmp_path))
    assert SECRET not in str(caught.value)


def _raise(error: Exception) -> None:
    raise error


def test_an_error_of_spark_is_named_by_condition_and_classes(spark: SparkSession) -> None:
    frame = spark.range(1)
    column = cause_of(_raised(lambda: frame.select("no_such_column").collect()))
    assert column.startswith("UNRESOLVED_COLUMN.WITH_SUGGESTION")
    number = cause_of(_raised(lambda: frame.select(F.lit(SECRET + "x").cast("int")).collect()))
    assert number.startswith("CAST_INVALID_INPUT")
    raised = frame.select(F.raise_error(F.lit(SECRET)))
    own = cause_of(_raised(raised.collect))
    assert own.startswith("USER_RAISED_EXCEPTION")
    assert SECRET not in column + number + own


def test_an_error_in_a_worker_is_named_with_its_line(spark: SparkSession) -> None:
    def decode(batches: Iterator[Any]) -> Iterator[Any]:
        for batch in batches:
            if batch.num_rows:
                raise KeyError(SECRET)
            yield batch

    cause = cause_of(_raised(lambda: spark.range(1).mapInArrow(decode, "id bigint").collect()))
    assert "KeyError in a worker at " in cause
    assert "test_causes.py:" in cause
    assert SECRET not in cause
