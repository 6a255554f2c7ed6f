"""The submissions of a stage, beside those of the run's other plans."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jobs.lake.documents import open_documents
from lakeferry_airflow.runners import Work
from lakeferry_airflow.runners.emr_submissions import Answer, SubmissionLog


def submitted(lake: Path, generation: int) -> SubmissionLog:
    """The log of a plan, with a job `00a/job-GENERATION`."""
    uri = f"{lake}/plans/payments/run/{generation}.json"
    log = SubmissionLog(open_documents(lake.as_uri()), Work("payments", "run", "extract", uri, None, 1))
    request: dict[str, Any] = {"jobDriver": {"sparkSubmit": {"entryPointArguments": ["--plan", uri]}}}
    submission = log.append(1, request)
    assert submission is not None
    log.write_answer(submission, Answer(f"00a/job-{generation}"))
    return log


def test_only_jobs_of_earlier_plans_are_to_be_stopped(tmp_path: Path) -> None:
    logs = {generation: submitted(tmp_path, generation) for generation in (2, 9, 10)}
    assert sorted(logs[10].jobs_of_earlier_plans()) == ["00a/job-2", "00a/job-9"]
    # A try of this plan was given up as lost, and its successor works for plan 10.
    assert logs[9].jobs_of_earlier_plans() == ["00a/job-2"]
    assert logs[2].jobs_of_earlier_plans() == []
