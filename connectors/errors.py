"""Everything that can go wrong, grouped by what the caller should do about it.

LakeferryError
├── ConfigurationError (exit 2: fix the configuration, then run again)
│   ├── SpecError:            a pipeline's YAML, with file and line
│   ├── SettingError:         a LAKEFERRY_* setting
│   ├── UsageError:           an argument of a command or a trigger's conf
│   │   ├── WindowUnfit:      a dataset that cannot be read by the window that was asked for
│   │   └── PlanUnreadable:   a plan that an earlier version wrote
│   ├── ConnectionNotFound:   no AIRFLOW_CONN_<ID>, nothing in Secrets Manager
│   ├── PackageMissing:       a Python package of an extra is not installed
│   ├── AccessDenied:         the service answered, and refused the login or the right
│   ├── ObjectNotFound:       a table, column, topic, bucket or view that is not there
│   ├── UnsupportedType:      a column whose values could not survive
│   ├── TransformFailed:      a transform raised an exception
│   └── LakeAltered:          a table of the lake was changed or replaced from outside
├── ServiceError (exit 3: something outside failed; a retry may help)
│   ├── ServiceUnavailable:   nothing answers at the address, or not in time
│   │   └── CredentialsMissing: neither the configuration nor the machine gives credentials
│   ├── CuratedBehind:        a batch is published and not yet in curated
│   ├── CopyDiffers:          an object in the bucket holds other bytes than were sent
│   └── RunnerFailed:         a submitted job failed or left no receipt
├── ReplanNeeded (exit 3: the plan no longer holds; plan again)
│   ├── SourceMoved:          what the plan named is gone: snapshot collected, file replaced
│   └── LakeMoved:            another run published first
└── DataError (exit 1: look at the data)
    ├── ReconciliationFailed: read is not published + quarantined
    ├── CheckFailed:          a dataset rule says no
    ├── TooManyRejected:      a larger share of a batch's rows was rejected than the spec allows
    ├── DuplicateKey:         one snapshot holds a primary key twice
    ├── SchemaBroken:         the columns are not those of the plan
    ├── LoadRefused:          the warehouse refused a value or a count
    └── TargetDiffers:        a table in the warehouse is not what curated holds

The group of an error is its `recovery`: exit codes, receipts, planning again and Airflow's retries ask for it. The
`code` is in events and receipts, and stays the same if the class is renamed: LF-1xx to LF-4xx by group. A code is never
given to another error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from connectors.credentials_in_text import without_credentials

Recovery = Literal["fix_configuration", "retry", "plan_again", "look_at_data"]
"""What to do about an error."""
EXIT_CODES: dict[Recovery, int] = {"look_at_data": 1, "fix_configuration": 2, "retry": 3, "plan_again": 3}
"""The `lakeferry` command's exit code for each recovery."""


def recovery_of(exit_code: int, outside: Recovery = "retry") -> Recovery:
    """Return the recovery of an error of which only the exit code is known; `outside` is that of exit code 3."""
    return {1: "look_at_data", 2: "fix_configuration"}.get(exit_code, outside)  # type: ignore[return-value]


class LakeferryError(Exception):
    """A failure reported to a person: where, what, what would do, and the fix.

    Args:
        problem: what is wrong, one sentence without a full stop at its end. Credentials of AWS are removed from it: a
            service may quote them (`credentials_in_text`).
        pipeline: name of the pipeline, if there is one.
        dataset: name of the dataset, if there is one.
        where: file and line (``payments.yaml:12``), setting or address.
        choices: values that would have been accepted.
        fix: what to do, as an imperative sentence.
        key: where in the dataset's YAML the mistake is (``("bigquery", "table")``), for callers that know the file.

    No argument may hold a secret: the text goes to logs, receipts and terminals.
    """

    code: ClassVar[str] = "LF-000"
    recovery: ClassVar[Recovery] = "retry"
    exit_code: ClassVar[int] = EXIT_CODES["retry"]
    is_of_all_datasets: bool = False
    """Whether every dataset of a pipeline has the error, so that it stops a whole plan."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.exit_code = EXIT_CODES[cls.recovery]

    def __init__(
        self,
        problem: str,
        *,
        pipeline: str | None = None,
        dataset: str | None = None,
        where: str | None = None,
        choices: Sequence[str] = (),
        fix: str | None = None,
        key: Sequence[str] = (),
    ) -> None:
        self.problem = without_credentials(problem)
        super().__init__(self.problem)
        self.pipeline = pipeline
        self.dataset = dataset
        self.where = where
        self.choices = tuple(choices)
        self.fix = fix
        self.key = tuple(key)

    def located(self, *, pipeline: str | None = None, dataset: str | None = None) -> LakeferryError:
        """Fill in the pipeline and dataset where the place that raised did not know them."""
        self.pipeline = self.pipeline or pipeline
        self.dataset = self.dataset or dataset
        return self

    def fields(self) -> dict[str, Any]:
        """Return what an event or a document says of the error."""
        kind = type(self).__name__
        return {"error": str(self), "error_type": kind, "error_code": self.code, "recovery": self.recovery}

    @property
    def comes_back(self) -> bool:
        """Whether the same plan fails again in the same way, so that a stage leaves a receipt that says so. A service
        or a setting may be well when the plan is repeated."""
        return self.recovery in ("plan_again", "look_at_data")

    def __str__(self) -> str:
        place = " ".join(
            part
            for part in (
                self.where,
                f"pipeline {self.pipeline}" if self.pipeline else None,
                f"dataset {self.dataset}" if self.dataset else None,
            )
            if part
        )
        text = f"{place}: {self.problem}" if place else self.problem
        if self.choices:
            text += f". Valid: {', '.join(self.choices)}"
        if self.fix:
            text += f". {self.fix}"
        return text if text.endswith((".", "?")) else text + "."


class ConfigurationError(LakeferryError):
    """The configuration, an argument or a right is wrong."""

    code = "LF-100"
    recovery = "fix_configuration"


class SpecError(ConfigurationError):
    """A pipeline's YAML, its rules or its SQL is wrong; with file and line."""

    code = "LF-101"


class SettingError(ConfigurationError):
    """A `LAKEFERRY_*` setting is wrong or missing."""

    code = "LF-102"
    is_of_all_datasets = True


class UsageError(ConfigurationError):
    """An argument of a command, or the conf of a run, is wrong."""

    code = "LF-103"


class WindowUnfit(UsageError):
    """A dataset cannot be read by the window that was asked for."""

    code = "LF-104"


class PlanUnreadable(UsageError):
    """An earlier version of Lakeferry wrote the plan."""

    code = "LF-105"


class ConnectionNotFound(ConfigurationError):
    """No connection of this id is defined."""

    code = "LF-106"
    is_of_all_datasets = True


class PackageMissing(ConfigurationError):
    """A Python package of an extra is not installed."""

    code = "LF-112"


class AccessDenied(ConfigurationError):
    """The service answered, and refused the login or the right."""

    code = "LF-107"


class ObjectNotFound(ConfigurationError):
    """A table, column, topic, bucket, view or function is missing."""

    code = "LF-108"


class UnsupportedType(ConfigurationError):
    """The values of a column could not survive."""

    code = "LF-109"


class TransformFailed(ConfigurationError):
    """A transform raised an exception."""

    code = "LF-110"


class LakeAltered(ConfigurationError):
    """A table of the lake was changed or replaced from outside."""

    code = "LF-111"


class ServiceError(LakeferryError):
    """Something outside failed."""

    code = "LF-200"
    recovery = "retry"


class ServiceUnavailable(ServiceError):
    """Nothing answers at the address, or not in time."""

    code = "LF-201"


class CredentialsMissing(ServiceUnavailable):
    """Neither the configuration nor this machine gives credentials. A metadata service may have been late."""

    code = "LF-205"


class CuratedBehind(ServiceError):
    """A batch is published and not yet in curated: the next run brings it there."""

    code = "LF-202"


class CopyDiffers(ServiceError):
    """An object in the bucket holds other bytes than were sent."""

    code = "LF-203"


class RunnerFailed(ServiceError):
    """A submitted job failed or left no receipt."""

    code = "LF-204"


class ReplanNeeded(LakeferryError):
    """The plan no longer holds."""

    code = "LF-300"
    recovery = "plan_again"


class SourceMoved(ReplanNeeded):
    """What the plan names is gone at the source: a snapshot was collected, a file replaced."""

    code = "LF-301"


class LakeMoved(ReplanNeeded):
    """Another run published first, or a snapshot of the lake was expired."""

    code = "LF-302"


class DataError(LakeferryError):
    """The data failed a check."""

    code = "LF-400"
    recovery = "look_at_data"


class ReconciliationFailed(DataError):
    """Read is not published + quarantined."""

    code = "LF-401"


class CheckFailed(DataError):
    """A rule of the dataset is broken."""

    code = "LF-402"


class TooManyRejected(DataError):
    """A larger share of a batch's rows was rejected than the spec allows."""

    code = "LF-403"


class DuplicateKey(DataError):
    """One snapshot holds a primary key twice."""

    code = "LF-404"


class SchemaBroken(DataError):
    """The columns are not those of the plan."""

    code = "LF-405"


class LoadRefused(DataError):
    """BigQuery refused a value, a count or a cost."""

    code = "LF-406"


class TargetDiffers(DataError):
    """A table in BigQuery is not what curated holds."""

    code = "LF-407"
