"""Stages, receipts and errors in Airflow's terms."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from connectors.credentials_in_text import without_credentials
from connectors.errors import LakeferryError
from jobs.launch.output_lines import event_in
from jobs.runs.exit_codes import FINAL, stage_code
from jobs.runs.receipts import VIEW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobs.runs.receipts import Receipt


class FailureLines:
    """Passes a job's lines on to a task's log, and keeps what its events say of failures.

    A library's trace may quote a signed request; no line shows its credentials.
    """

    def __init__(self, log: Any) -> None:
        self._log = log
        self.failures: list[str] = []

    def __call__(self, line: str) -> None:
        line = without_credentials(line)
        self._log.info("%s", line)
        record = event_in(line)
        if record is not None and record["event"] == "failed" and record.get("error"):
            self.failures.append(str(record["error"]).removesuffix("."))


def by_exit_code(code: int, message: str) -> AirflowException:
    """The exception for a job's exit code. Airflow tries again unless the job itself decided that it would fail again:
    any code but 64 and 65 is that of a service that was down or of a crash (`jobs.runs.exit_codes`)."""
    return AirflowFailException(message) if code in FINAL else AirflowException(message)


def by_error_code(code: int, message: str) -> AirflowException:
    """The exception for an error's own code, as receipts and plans hold it: 1 data, 2 configuration, 3 outside."""
    return by_exit_code(stage_code(code), message)


@contextmanager
def as_airflow_errors() -> Iterator[None]:
    """Turn an error of Lakeferry's into an exception of Airflow's that says whether the task is tried again."""
    try:
        yield
    except LakeferryError as error:
        raise by_error_code(error.exit_code, str(error)) from None


def failure(receipt: Receipt) -> str:
    """One line that names dataset, or view, and error."""
    reason = receipt.error or receipt.error_type or "no reason given"
    if receipt.stage == VIEW:
        return f"view {receipt.dataset} failed: {reason}"
    return f"{receipt.stage} of dataset {receipt.dataset} failed: {reason}"


def describe(receipt: Receipt) -> str:
    """One line for people: what a stage did to a dataset."""
    counts = {
        "read": receipt.read,
        "published": receipt.published,
        "quarantined": receipt.quarantined,
        "loaded": receipt.loaded,
    }
    said = ", ".join(f"{name} {count}" for name, count in counts.items() if count is not None)
    seconds = f" in {receipt.seconds:.1f} s" if receipt.seconds else ""
    return f"{receipt.dataset}: {receipt.stage} {receipt.verdict}" + (f" ({said})" if said else "") + seconds
