"""Great Expectations started quietly: no telemetry, no progress bars, no log output."""

from __future__ import annotations

import logging
import os
import threading
from functools import cache
from typing import Any

CONTEXT_LOCK = threading.Lock()
"""Held while the context's data sources change: datasets are checked in parallel, in threads."""


def shared_context() -> Any:
    """Returns the process's context, in memory. The first call takes seconds: it imports Great Expectations.

    There is only one, because Great Expectations finds data sources through the context that was made last: with two,
    one thread would use the other's.
    """
    with CONTEXT_LOCK:
        return _context()


@cache
def _context() -> Any:
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    import great_expectations as gx

    # This module sets its own level when it is imported.
    logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.ERROR)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    return context
