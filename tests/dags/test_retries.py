"""Retries by the exit code of a job, and by that of an error: only Lakeferry's own decisions are final."""

from __future__ import annotations

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException, TaskDeferred

from connectors.errors import CheckFailed, LakeferryError, ServiceUnavailable, UsageError
from lakeferry_airflow.messages import as_airflow_errors, by_error_code, by_exit_code


@pytest.mark.parametrize("code", [64, 65])
def test_a_job_that_decided_is_not_run_again(code: int) -> None:
    assert isinstance(by_exit_code(code, "it broke"), AirflowFailException)


@pytest.mark.parametrize("code", [1, 2, 3, 50, 52, 75, 101, 120, 134, 137, 143, -9, -15])
def test_a_job_that_crashed_or_found_a_service_down_is_run_again(code: int) -> None:
    error = by_exit_code(code, "it broke")
    assert isinstance(error, AirflowException)
    assert not isinstance(error, AirflowFailException)


@pytest.mark.parametrize(("code", "final"), [(1, True), (2, True), (3, False)])
def test_an_error_keeps_its_own_code(code: int, final: bool) -> None:
    assert isinstance(by_error_code(code, "it broke"), AirflowFailException) is final


@pytest.mark.parametrize(
    ("error", "final"),
    [(CheckFailed("rule"), True), (UsageError("window"), True), (ServiceUnavailable("down"), False)],
)
def test_an_error_of_ours_says_whether_to_try_again(error: LakeferryError, final: bool) -> None:
    with pytest.raises(AirflowException, match=str(error)) as caught, as_airflow_errors():
        raise error
    assert isinstance(caught.value, AirflowFailException) is final
    # A reader of the log needs no traceback of it.
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    "other", [AirflowSkipException("nothing new"), TaskDeferred(trigger=None, method_name="resume")]
)
def test_what_airflow_itself_raises_stays_what_it_is(other: BaseException) -> None:
    with pytest.raises(type(other)) as caught, as_airflow_errors():
        raise other
    assert caught.value is other
