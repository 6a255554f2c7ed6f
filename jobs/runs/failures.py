"""What failed, in words for receipts and logs: cause, place in the code, no value of a row.

Messages of Spark, Java and Python may hold a value of the row they failed at. Names of classes, Spark's error
conditions, and modules and lines of code never do.
"""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

from connectors.errors import LakeferryError, RunnerFailed, ServiceError
from connectors.spark_errors import texts_of
from jobs.lake.missing_parts import missing_part
from jobs.runtime.events import LOG_VARIABLE
from jobs.runtime.project import CODE_ROOT

_NO_ANSWER = ("Connection refused", "Unable to connect", "Communications link failure", "timed out")
_JAVA_CLASS = re.compile(r"(?m)^(?:Caused by: |: )?((?:\w+\.)+\w*(?:Exception|Error))\b")
_IN_A_WORKER = "in a worker"
_WORKER_TRACE = re.compile(r"Traceback \(most recent call last\):\n((?: +.*\n|\n)+)([A-Za-z_][\w.]*)(?=:|\n|$)")
_WORKER_FRAME = re.compile(r'File "([^"\n]+)", line (\d+)')
_CODE = re.compile(r"An error occurred \((\w{1,60})\) when calling the (\w{1,60}) operation")


def reported(error: BaseException, dataset: str) -> LakeferryError:
    """Return the error itself if it is one of Lakeferry's, else one that names its cause. Frames go to stderr."""
    if isinstance(error, LakeferryError):
        return error
    missing = missing_part(error, dataset)
    if missing is not None:
        return missing
    cause = cause_of(error)
    # The frames, not the message: Spark's may hold a value of the row at which it failed.
    traceback.print_tb(error.__traceback__, file=sys.stderr)
    if is_unanswered(error):
        return ServiceError(f"something outside did not answer: {cause}", fix="lakeferry doctor says what is up")
    name = type(error).__name__
    return RunnerFailed(f"unexpected {cause if cause.startswith(name) else f'{name}: {cause}'}", fix=trace_place())


def is_unanswered(error: BaseException) -> bool:
    """Whether the error's text says that a service did not answer."""
    return any(word in str(error) for word in _NO_ANSWER)


def trace_place() -> str:
    """Return a sentence that says where the trace of this process is."""
    log = os.environ.get(LOG_VARIABLE)
    return f"The trace is in {log}" if log else "The trace is on stderr"


def cause_of(error: BaseException) -> str:
    """Return the kind of an error (see `condition_of`), and the line of Lakeferry's or a transform's code it passed
    through."""
    place = _place(error)
    return condition_of(error) + (f" at {place}" if place else "")


def condition_of(error: BaseException) -> str:
    """Return Spark's error condition, else the classes of the exceptions behind the error, else its own; and what a
    worker of Spark raised, and where."""
    condition, behind = _condition(error), list(_behind(error))
    workers = [part for part in behind if _IN_A_WORKER in part]
    parts = [condition, *workers] if condition else [*behind, *_words(error)]
    return ", ".join(dict.fromkeys(parts)) or type(error).__name__


def _condition(error: BaseException) -> str | None:
    asked = getattr(error, "getCondition", None)
    try:
        condition = asked() if asked else None
    except Exception:  # noqa: BLE001 - Spark asks its JVM, which may be gone
        return None
    return str(condition) if condition else None


def _behind(error: BaseException) -> Iterator[str]:
    """Return classes of Java's and of workers' exceptions in the error's texts, and of Python exceptions that caused
    it.
    """
    for text in _texts(error):
        yield from _JAVA_CLASS.findall(text)
        for frames, name in _WORKER_TRACE.findall(text):
            files = _WORKER_FRAME.findall(frames)
            yield f"{name} {_IN_A_WORKER}" + (f" at {_short(files[-1][0])}:{files[-1][1]}" if files else "")
        for code, operation in _CODE.findall(text):
            yield f"{code} at {operation}"
    seen = {id(error)}
    cause = error.__cause__ or error.__context__
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield type(cause).__name__
        yield from _words(cause)
        cause = cause.__cause__ or cause.__context__


def _texts(error: BaseException) -> list[str]:
    try:
        return list(texts_of(error))
    except Exception:  # noqa: BLE001 - as above
        return [str(error)]


def _words(error: BaseException) -> Iterator[str]:
    """What a message holds besides values: a module's or attribute's name, the system's word for an error."""
    if isinstance(error, UnicodeError):
        yield f"{getattr(error, 'encoding', 'text')}: {getattr(error, 'reason', 'not readable')}"
    elif isinstance(error, SyntaxError):
        yield f"line {error.lineno} of {_short(error.filename or '')}"
    elif isinstance(error, OSError) and error.strerror:
        yield error.strerror
    elif isinstance(error, ImportError | AttributeError | NameError) and error.name:
        yield f"no {error.name}"


def _place(error: BaseException) -> str | None:
    """Return the last line of code outside installed packages, as `jobs/stages/check/check.py:80`."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "site-packages" not in frame.filename and "/python3" not in frame.filename]
    return f"{_short(own[-1].filename)}:{own[-1].lineno}" if own else None


def _short(file: str) -> str:
    path = Path(file)
    return str(path.relative_to(CODE_ROOT)) if path.is_relative_to(CODE_ROOT) else path.name
