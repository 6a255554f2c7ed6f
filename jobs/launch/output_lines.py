"""Lines of a process's output, and the events among them (`jobs.runtime.events`).

A line ends at a newline alone. `str.splitlines` also cuts at U+2028, U+2029, U+0085 and others, which JSON leaves as
they are (RFC 8259, section 7), so that one event would become two lines without an event.
"""

from __future__ import annotations

import json
from typing import Any


def output_lines(text: str) -> list[str]:
    """The lines of a text, without their newlines and the carriage return before one."""
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def event_in(line: str) -> dict[str, Any] | None:
    """The event that a line holds; None for any other line, also for JSON that is too deep for Python's parser."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and "event" in record else None
