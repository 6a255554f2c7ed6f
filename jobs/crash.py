"""Fault injection for the tests: the process dies, as if killed, at a named point."""

from __future__ import annotations

import os

CRASH_VARIABLE = "LAKEFERRY_CRASH_AT"
GENTLY_VARIABLE = "LAKEFERRY_CRASH_GENTLY"


class Crash(BaseException):
    """A crash that leaves the process standing: nothing in the product catches it."""


def crash_point(point: str, dataset: str) -> None:
    """Die without any clean-up when `LAKEFERRY_CRASH_AT` is this point, or `point:dataset`.

    Never set outside tests. The exit code is that of a SIGKILL, which nothing can catch. With
    `LAKEFERRY_CRASH_GENTLY` set, `Crash` is raised instead: starting Spark for every point takes long.
    """
    wanted = os.environ.get(CRASH_VARIABLE)
    if wanted and wanted in (point, f"{point}:{dataset}"):
        if os.environ.get(GENTLY_VARIABLE):
            raise Crash(point)
        os._exit(137)
