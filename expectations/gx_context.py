"""Great Expectations started quietly: no telemetry, no progress bars, no talk in the log."""

from __future__ import annotations

import logging
import os
import threading
from functools import cache
from typing import Any

CONTEXT_LOCK = threading.Lock()
"""Held while the context's data sources change: datasets are checked side by side, in threads."""


def shared_context() -> Any:
    """The process's context, in memory. The first call takes seconds: it imports Great Expectations.

    There is one, because Great Expectations finds data sources through the context made last: of two,
    one thread would look into the other's.
    """
    with CONTEXT_LOCK:
        return _context()


@cache
def _context() -> Any:
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    import great_expectations as gx

    # This module sets a level of its own when it is imported.
    logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.ERROR)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    return context
