"""Progress of long work: a line a person can read on a terminal, one JSON line an event elsewhere."""

from __future__ import annotations

import json
import os
import sys
import threading
from datetime import UTC, datetime

from rich.console import Console
from rich.markup import escape

FORMAT_VARIABLE = "LAKEFERRY_PROGRESS"
LOG_VARIABLE = "LAKEFERRY_OUTPUT_FILE"
"""Names the file that the standard error of a process goes to, for its messages."""
_lock = threading.Lock()


def event(name: str, **fields: object) -> None:
    """Tell that something happened. Fields are plain values; none may be a secret or a row's value."""
    record = {"event": name, **{key: value for key, value in fields.items() if value is not None}}
    if as_json():
        line = json.dumps(
            {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **record}, ensure_ascii=False, default=str
        )
        with _lock:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
    else:
        show(record)


def as_json() -> bool:
    """`LAKEFERRY_PROGRESS=json|text` decides, else whether stdout is a terminal."""
    chosen = os.environ.get(FORMAT_VARIABLE)
    return chosen == "json" if chosen else not sys.stdout.isatty()


def show(record: dict[str, object]) -> None:
    """One event for a person."""
    fields = dict(record)
    fields.pop("time", None)
    name = str(fields.pop("event", ""))
    stage = str(fields.pop("stage", ""))
    dataset = str(fields.pop("dataset", ""))
    colour = {"failed": "red", "done": "green", "warning": "yellow"}.get(name, "cyan")
    rest = "  ".join(
        f"{key} {value:,}" if isinstance(value, int) else f"{key} {value}" for key, value in fields.items()
    )
    with _lock:
        Console(highlight=False, soft_wrap=True).print(
            f"[{colour}]{name:<10}[/] {stage:<9} {escape(dataset):<22} {escape(rest)}"
        )
