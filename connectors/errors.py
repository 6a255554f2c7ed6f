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
│   ├── SourceMoved:          what the plan named is gone: snapshot collected, file replaced
│   ├── LakeMoved:            another run published first
│   ├── CopyDiffers:          an object in the bucket holds other bytes than were sent
│   └── RunnerFailed:         a submitted job failed or left no receipt
└── DataError (exit 1: look at the data)
    ├── ReconciliationFailed: read is not published + quarantined
    ├── CheckFailed:          a dataset rule says no
    ├── TooManyRejected:      a larger share of a batch's rows was rejected than the spec allows
    ├── DuplicateKey:         one snapshot holds a primary key twice
    ├── SchemaBroken:         the columns are not those of the plan
    ├── LoadRefused:          the warehouse refused a value or a count
    └── TargetDiffers:        a table in the warehouse is not what curated holds
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from connectors.credentials_in_text import without_credentials


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

    exit_code: ClassVar[int] = 3

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
    exit_code = 2


class SpecError(ConfigurationError):
    pass


class SettingError(ConfigurationError):
    pass


class UsageError(ConfigurationError):
    pass


class WindowUnfit(UsageError):
    pass


class PlanUnreadable(UsageError):
    pass


class ConnectionNotFound(ConfigurationError):
    pass


class PackageMissing(ConfigurationError):
    pass


class AccessDenied(ConfigurationError):
    pass


class ObjectNotFound(ConfigurationError):
    pass


class UnsupportedType(ConfigurationError):
    pass


class TransformFailed(ConfigurationError):
    pass


class LakeAltered(ConfigurationError):
    pass


class ServiceError(LakeferryError):
    exit_code = 3


class ServiceUnavailable(ServiceError):
    pass


class SourceMoved(ServiceError):
    pass


class LakeMoved(ServiceError):
    pass


class CuratedBehind(ServiceError):
    """A batch is published and not yet in curated: the next run brings it there."""


class CopyDiffers(ServiceError):
    pass


class RunnerFailed(ServiceError):
    pass


class DataError(LakeferryError):
    exit_code = 1


class ReconciliationFailed(DataError):
    pass


class CheckFailed(DataError):
    pass


class TooManyRejected(DataError):
    pass


class DuplicateKey(DataError):
    pass


class SchemaBroken(DataError):
    pass


class LoadRefused(DataError):
    pass


class TargetDiffers(DataError):
    pass
