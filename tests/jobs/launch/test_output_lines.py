"""Lines of a process's output, and the events among them."""

from __future__ import annotations

import pytest

from jobs.launch.output_lines import event_in, output_lines

ODD = "a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg\x1dh\x1ei\rj"
"""Every character at which `str.splitlines` cuts."""


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", []),
        ("one", ["one"]),
        ("one\n", ["one"]),
        ("one\n\ntwo\n", ["one", "", "two"]),
        ("one\r\ntwo\r", ["one", "two"]),
        (ODD, [ODD]),
    ],
)
def test_a_line_ends_at_a_newline_alone(text: str, lines: list[str]) -> None:
    assert output_lines(text) == lines


@pytest.mark.parametrize(
    ("line", "event"),
    [
        ('{"event": "failed", "error": "no\u2028table"}', {"event": "failed", "error": "no\u2028table"}),
        ('{"level": "INFO"}', None),
        ('["event"]', None),
        ("26/11/23 INFO SparkContext", None),
        ("", None),
        ('{"event":' * 100_000, None),
        ("[" * 100_000 + "]" * 100_000, None),
        ('{"event": ' + "1" * 5000 + "}", None),
    ],
    ids=["event", "other object", "list", "text", "empty", "deep", "deep list", "long number"],
)
def test_other_lines_than_events_are_text(line: str, event: object) -> None:
    assert event_in(line) == event
