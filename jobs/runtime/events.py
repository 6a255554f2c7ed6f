"""Progress of long work: a line a person can read on a terminal, one JSON line an event elsewhere."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime

from rich.console import Console
from rich.markup import escape

FORMAT_VARIABLE = "LAKEFERRY_PROGRESS"
LOG_VARIABLE = "LAKEFERRY_OUTPUT_FILE"
"""Names the file that the standard error of a process goes to, for its messages."""
_lock = threading.Lock()
_run: dict[str, str] = {}
"""The run that this process works for. Replaced as a whole, so that any thread reads all of it or nothing."""


def concern_run(pipeline: str, run_id: str) -> None:
    """Have every later event of this process, of any thread, name this run.

    A process works for one run. A variable of the thread's context would be lost in the threads of a pool.
    """
    global _run
    _run = {"pipeline": pipeline, "run_id": run_id}


def event(name: str, **fields: object) -> None:
    """Tell that something happened. Fields are plain values; none may be a secret or a row's value."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    pass_on({"time": at, "event": name, **_run, **{key: value for key, value in fields.items() if value is not None}})


def pass_on(record: Mapping[str, object]) -> None:
    """Print an event, of this process or of one that it started, in the form that is asked for."""
    if as_json():
        line = json.dumps(record, ensure_ascii=False, default=str)
        with _lock:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
    else:
        show(record)


def as_json() -> bool:
    """`LAKEFERRY_PROGRESS=json|text` decides, else whether stdout is a terminal."""
    chosen = os.environ.get(FORMAT_VARIABLE)
    return chosen == "json" if chosen else not sys.stdout.isatty()


def show(record: Mapping[str, object]) -> None:
    """One event for a person, who knows which run it is."""
    fields = {key: value for key, value in record.items() if key not in ("time", "pipeline", "run_id")}
    name = str(fields.pop("event", ""))
    stage = str(fields.pop("stage", ""))
    dataset = str(fields.pop("dataset", ""))
    colour = {"failed": "red", "done": "green", "warning": "yellow", "moved": "yellow"}.get(name, "cyan")
    rest = "  ".join(
        f"{key} {value:,}" if isinstance(value, int) else f"{key} {value}" for key, value in fields.items()
    )
    with _lock:
        Console(highlight=False, soft_wrap=True).print(
            f"[{colour}]{name:<10}[/] {stage:<9} {escape(dataset):<22} {escape(rest)}"
        )
