"""Points at which a test can end a stage, as if it were killed, or have it wait while others go on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

CRASH_VARIABLE = "LAKEFERRY_CRASH_AT"
GENTLY_VARIABLE = "LAKEFERRY_CRASH_GENTLY"

Listener = Callable[[str, str], None]
"""Gets a point and its dataset (`plan.writing`: its pipeline), in the thread that reached it."""

_listeners: list[Listener] = []


class Crash(BaseException):
    """A crash that leaves the process standing: nothing in the product catches it."""


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Call the listener at every point that any thread of this process reaches; what it raises is raised there."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def crash_point(point: str, dataset: str) -> None:
    """Tell the listeners; die without any clean-up when `LAKEFERRY_CRASH_AT` is this point, or `point:dataset`.

    Never set outside tests. The exit code is that of a SIGKILL, which nothing can catch. With
    `LAKEFERRY_CRASH_GENTLY` set, `Crash` is raised instead: starting Spark for every point takes long.
    """
    for listener in tuple(_listeners):
        listener(point, dataset)
    wanted = os.environ.get(CRASH_VARIABLE)
    if wanted and wanted in (point, f"{point}:{dataset}"):
        if os.environ.get(GENTLY_VARIABLE):
            raise Crash(point)
        os._exit(137)
