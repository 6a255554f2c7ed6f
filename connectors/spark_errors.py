"""Lakeferry's errors on their way from a Python worker of Spark's to the driver.

Spark hands the driver a worker's traceback as text. An error is raised there with all it holds at the end of its
message, from which the driver makes it again: class, words and fix. Errors never hold a secret, so nor does the text.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from connectors import errors
from connectors.errors import LakeferryError

_MARK = "lakeferry-error:"
_MARKED = re.compile(rf"{_MARK}([A-Za-z0-9+/=]+);")
_PARTS = ("problem", "pipeline", "dataset", "where", "choices", "fix", "key")


class WorkerFailure(Exception):
    """What a worker raises in place of an error of Lakeferry's: for people its words, for the driver all of it."""


@contextmanager
def errors_for_the_driver() -> Iterator[None]:
    """In a worker: let an error of Lakeferry's leave as one the driver can read back."""
    try:
        yield
    except LakeferryError as error:
        parts = {"class": type(error).__name__, **{name: getattr(error, name) for name in _PARTS}}
        marked = base64.b64encode(json.dumps(parts).encode()).decode()
        raise WorkerFailure(f"{type(error).__name__}: {error} ({_MARK}{marked};)") from None


@contextmanager
def errors_of_workers() -> Iterator[None]:
    """On the driver, around a Spark action: let what a worker raised leave as the error it was."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield
    except (Py4JError, PySparkException) as error:
        known = next((known for text in texts_of(error) if (known := read_back(text))), None)
        if known is None:
            raise
        raise known from error


def read_back(text: str) -> LakeferryError | None:
    """Returns the error that a text of Spark's contains, or None."""
    marked = _MARKED.findall(text)
    if not marked:
        return None
    parts: dict[str, Any] = json.loads(base64.b64decode(marked[-1]))
    error_class = getattr(errors, parts.pop("class"))
    assert issubclass(error_class, LakeferryError)
    error: LakeferryError = error_class(parts.pop("problem"), **parts)
    return error


def texts_of(error: Any) -> Iterator[str]:
    """The messages of an error of PySpark's and of the Java exceptions behind it."""
    yield str(error)
    exception = getattr(error, "java_exception", None) or getattr(error, "_origin", None)
    while exception is not None:
        yield str(exception.getMessage() or "")
        exception = exception.getCause()
