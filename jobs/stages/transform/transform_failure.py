"""Distinguishes a mistake in a transform from failures around it.

A transform is the user's own code: its error comes back at the next try, and is corrected in its file. A service that
does not answer, a driver without memory and a lost executor are not its mistakes, even if the transform met them.

Spark gives its errors an SQLSTATE ("Error conditions" in Spark's documentation): classes 21, 22 and 42 stand for
cardinality, data and syntax, 38 and 39 for the user's functions, P0 for `raise_error`.
"""

from __future__ import annotations

import builtins
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from connectors.errors import LakeferryError, TransformFailed
from jobs.lake.missing_parts import missing_part
from jobs.runs.failures import cause_of, is_unanswered, trace_place
from jobs.runtime.project import CODE_ROOT

_OWN_STATES = ("21", "22", "38", "39", "42", "P0")
_OURS = tuple(CODE_ROOT / folder for folder in ("connectors", "jobs/stages", "jobs/lake", "jobs/masking"))
_NAMED_FILES = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError)
"""Errors of a path that the function names: they come back at the next try."""
_CLIENTS = frozenset(
    (
        "aiohttp",
        "boto3",
        "botocore",
        "google",
        "grpc",
        "http",
        "httpx",
        "pymysql",
        "requests",
        "socket",
        "ssl",
        "urllib3",
    )
)
"""Libraries that talk to services: their errors do not always say whether the next try would succeed, so it is made."""
_WORKER = "Traceback (most recent call last)"
_FRAME = re.compile(r'File "([^"\n]+)", line \d+')
_RAISED = re.compile(r"^([A-Za-z_][\w.]*)(?::|$)", re.MULTILINE)
"""The line of a Python trace that names the exception: frames and source lines are indented."""


@contextmanager
def mistakes_of(transform: str, dataset: str) -> Iterator[None]:
    """Raise a mistake of the transform as `TransformFailed`, and any other error as it is.

    Args:
        transform: `module:function`.

    Raises:
        TransformFailed: the transform raised an exception, or Spark raised one for what it built.
    """
    try:
        yield
    except LakeferryError:
        raise
    except (Exception, SystemExit) as error:
        # The code may call sys.exit, which would end the process.
        if missing_part(error, dataset) is not None or not _is_own(error):
            raise
        # The frames, not the message, which may hold a value of the row at which it failed.
        traceback.print_tb(error.__traceback__, file=sys.stderr)
        cause, name = cause_of(error), type(error).__name__
        raised = cause if cause.startswith(name) else f"{name}: {cause}"
        raise TransformFailed(
            f"transform {transform} raised {raised}",
            fix=f"Correct the function, then run again (in Airflow, clear plan with downstream). {trace_place()}",
        ) from None


def _is_own(error: BaseException) -> bool:
    """Whether the error is a mistake of the transform's code."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    if is_unanswered(error) or _may_pass(type(error), type(error).__module__):
        return False
    if isinstance(error, Py4JError):
        return False
    if not isinstance(error, PySparkException):
        return True
    text = str(error)
    if _WORKER in text:
        if _may_pass_in_worker(text):
            return False
        files = (Path(file) for file in _FRAME.findall(text))
        return not any(file.is_relative_to(folder) for file in files for folder in _OURS)
    try:
        state = error.getSqlState()
    except Exception:  # noqa: BLE001 - Spark asks its JVM, which may be gone
        return False
    return str(state or "").startswith(_OWN_STATES)


def _may_pass(kind: type[BaseException] | None, module: str) -> bool:
    """Whether an exception may not come back at the next try.

    Args:
        kind: the exception's class; None if only its name is known.
        module: the name of the class's module.
    """
    if module.partition(".")[0] in _CLIENTS:
        return True
    # A full disk, a name that does not resolve or a connection that breaks may be well at the next try.
    return kind is not None and issubclass(kind, OSError | MemoryError) and not issubclass(kind, _NAMED_FILES)


def _may_pass_in_worker(text: str) -> bool:
    """The same for what a worker of Spark raised: its trace arrives as text."""
    raised = _RAISED.search(text.rpartition(_WORKER)[2])
    if raised is None:
        return False
    module, _, name = raised[1].rpartition(".")
    kind = getattr(builtins, name, None) if not module else None
    return _may_pass(kind if isinstance(kind, type) and issubclass(kind, BaseException) else None, module)
