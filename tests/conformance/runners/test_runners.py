"""The duties of every runner, asked of each: the same questions to a local process and to EMR over HTTP."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.errors import ObjectNotFound, ServiceUnavailable, SettingError
from lakeferry_airflow.runners import emr_serverless, open_runner
from lakeferry_airflow.runners.emr_submissions import token
from tests.conformance.runners.kits import SECRET, EmrKit, Kit, LocalKit, ended


def is_running(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def command_of(process: Path) -> str:
    try:
        return (process / "cmdline").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


@pytest.mark.services
def test_a_job_that_ends_well_has_succeeded_and_its_output_is_told(kit: Kit) -> None:
    runner = kit.runner()
    end, output = ended(runner, runner.submit(kit.work("ends-well")))
    assert end.succeeded
    assert "plan ends-well, through check" in output


@pytest.mark.services
def test_a_job_that_fails_has_failed_and_its_errors_are_told(kit: Kit) -> None:
    runner = kit.runner()
    end, output = ended(runner, runner.submit(kit.work("fails")))
    assert not end.succeeded
    assert "it went wrong" in output


@pytest.mark.services
def test_a_job_that_ends_for_want_of_memory_says_so_and_what_to_raise(kit: Kit) -> None:
    runner = kit.runner()
    end, _ = ended(runner, runner.submit(kit.work("exhausts")))
    assert not end.succeeded
    for word in ("Spark ran out of memory", "Raise ", "LAKEFERRY_DATASETS_IN_PARALLEL (it is 4)"):
        assert word in end.details


@pytest.mark.services
def test_a_retried_submission_finds_the_running_job(kit: Kit) -> None:
    first = kit.runner().submit(kit.work("waits", attempt=1))
    kit.pids("waits", 1)
    again = kit.runner()
    second = again.submit(kit.work("waits", attempt=2))
    kit.let_go("waits")
    end, _ = ended(again, second)
    assert second == first
    assert end.succeeded
    assert len(kit.pids("waits", 1)) == 1


@pytest.mark.services
def test_a_retry_after_a_failure_runs_the_job_anew(kit: Kit) -> None:
    runner = kit.runner()
    first = runner.submit(kit.work("fails", attempt=1))
    ended(runner, first)
    second = runner.submit(kit.work("fails", attempt=2))
    end, output = ended(runner, second)
    assert not end.succeeded
    assert "it went wrong" in output
    if isinstance(kit, EmrKit):
        assert second != first
    assert len(set(kit.pids("fails", 2))) == 2


@pytest.mark.services
def test_a_stopped_job_leaves_no_process(kit: Kit) -> None:
    runner = kit.runner()
    job = runner.submit(kit.work("waits"))
    (pid,) = kit.pids("waits", 1)
    runner.stop(job)
    end, _ = ended(runner, job)
    assert not end.succeeded
    assert not is_running(pid)


@pytest.mark.services
def test_stopping_a_job_that_has_ended_does_nothing(kit: Kit) -> None:
    runner = kit.runner()
    job = runner.submit(kit.work("ends-well"))
    first, _ = ended(runner, job)
    runner.stop(job)
    second, _ = ended(runner, job)
    assert first.succeeded
    assert second.succeeded


@pytest.mark.services
def test_another_plan_of_the_same_stage_is_another_job(kit: Kit) -> None:
    runner = kit.runner()
    kit.let_go("waits-2")
    runner.submit(kit.work("waits-1"))
    (first,) = kit.pids("waits-1", 1)
    end, output = ended(runner, runner.submit(kit.work("waits-2")))
    kit.let_go("waits-1")
    assert end.succeeded
    assert "plan waits-2" in output
    assert kit.pids("waits-2", 1) != [first]


def test_the_local_runner_gives_connections_by_environment_only(local: LocalKit) -> None:
    runner = local.runner()
    job = runner.submit(local.work("waits-environment"))
    (pid,) = local.pids("waits-environment", 1)
    assert SECRET in Path(f"/proc/{pid}/environ").read_text()
    commands = [command_of(process) for process in Path("/proc").iterdir() if process.name.isdecimal()]
    assert any("waits-environment" in command for command in commands)
    assert not [command for command in commands if SECRET in command]
    local.let_go("waits-environment")
    ended(runner, job)
    assert not [path for path in (local.folder / "state").rglob("*") if path.is_file() and SECRET in path.read_text()]


def test_the_local_runner_stops_what_runs_for_a_plan_that_was_replaced(local: LocalKit) -> None:
    local.runner().submit(local.work("waits-old"))
    (old,) = local.pids("waits-old", 1)
    runner = local.runner()
    end, _ = ended(runner, runner.submit(local.work("ends-well")))
    assert end.succeeded
    assert not is_running(old)


def test_an_emr_job_sees_its_settings_and_nothing_of_the_submitter(
    emr: EmrKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AURORA_PAYMENTS", f"mysql://lakeferry:{SECRET}@db:3306/shop")
    runner = emr.runner()
    _, output = ended(runner, runner.submit(emr.work("environment")))
    seen = {line.removeprefix("variable ") for line in output.splitlines() if line.startswith("variable ")}
    assert {"LAKEFERRY_LAKE", "LAKEFERRY_CATALOG", "LAKEFERRY_SECRETS", "AWS_ENDPOINT_URL_S3"} <= seen
    assert not [key for key in seen if key.startswith("AIRFLOW") or key in ("LAKEFERRY_RUNNER", "LAKEFERRY_STATE_DIR")]


def test_an_emr_job_is_tagged_and_its_output_is_told_while_it_runs(
    emr: EmrKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emr_serverless, "_OUTPUT_SECONDS", 0.0)
    runner = emr.runner()
    job = runner.submit(emr.work("waits"))
    emr.pids("waits", 1)
    emr.put_output(job, "it is under way\n")
    lines: list[str] = []

    def pass_line(line: str) -> None:
        lines.append(line)
        if line == "it is under way":
            emr.let_go("waits")

    assert runner.wait(job, pass_line).succeeded
    assert lines.count("it is under way") == 1
    application, _, job_run = job.partition("/")
    command = f"get-dashboard-for-job-run --application-id {application} --job-run-id {job_run}"
    assert [command in line for line in lines].count(True) == 1
    assert emr.job(job)["tags"] == {
        "lakeferry:pipeline": "payments",
        "lakeferry:run": "manual__2026-11-23T00:00:00+00:00",
        "lakeferry:stage": "extract",
    }


def test_an_emr_job_finds_its_libraries_in_the_archive(emr: EmrKit) -> None:
    runner = emr.runner()
    end, output = ended(runner, runner.submit(emr.work("library")))
    assert end.succeeded
    assert "found the library" in output


def test_tokens_differ_by_stage_plan_and_try(emr: EmrKit) -> None:
    one, other = emr.work("one"), emr.work("other")
    tokens = {token(one, 1), token(one, 2), token(other, 1)}
    assert len(tokens) == 3
    assert token(emr.work("one"), 1) in tokens
    assert max(map(len, tokens)) <= 64


def test_missing_artifacts_are_said_with_the_command_that_makes_them(emr: EmrKit) -> None:
    nowhere = emr.settings.model_copy(update={"artifacts": "s3://artifacts/nowhere"})
    with pytest.raises(ObjectNotFound, match=r"no artifacts at s3://artifacts/nowhere.*make package"):
        open_runner(nowhere).submit(emr.work("ends-well"))


def test_a_missing_application_is_said(emr: EmrKit) -> None:
    with pytest.raises(SettingError, match="LAKEFERRY_EMR_APPLICATION_ID is not set"):
        open_runner(emr.settings.model_copy(update={"emr_application_id": None}))
    unknown = open_runner(emr.settings.model_copy(update={"emr_application_id": "00unknown"}))
    with pytest.raises(ObjectNotFound, match="application 00unknown does not exist"):
        unknown.submit(emr.work("ends-well"))


@pytest.mark.timeout(60)
def test_an_aws_that_does_not_answer_is_said(emr: EmrKit, monkeypatch: pytest.MonkeyPatch) -> None:
    for service in ("S3", "EMR_SERVERLESS"):
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", "http://127.0.0.1:9")
    with pytest.raises(ServiceUnavailable, match="does not answer"):
        open_runner(emr.settings).submit(emr.work("ends-well"))
