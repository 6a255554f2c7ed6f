"""Errors quote classes and places from a job's output, and never a value of a row."""

from __future__ import annotations

import pytest

from jobs.launch.quoted_output import last_lines, without_messages

SECRET = "4111111111111111"


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        (
            f'Caused by: java.lang.NumberFormatException: For input string: "{SECRET}"',
            "Caused by: java.lang.NumberFormatException",
        ),
        (
            f"26/11/30 12:00:00 ERROR Executor: Exception in task 0.0 in stage 1.0 (TID 1): "
            f'java.lang.NumberFormatException: For input string: "{SECRET}"',
            "26/11/30 12:00:00 ERROR Executor: Exception in task 0.0 in stage 1.0 (TID 1): "
            "java.lang.NumberFormatException",
        ),
        (
            f'Exception in thread "main" org.apache.spark.SparkException: Job {SECRET}: a.B$CException: {SECRET}',
            'Exception in thread "main" org.apache.spark.SparkException: a.B$CException',
        ),
        (
            f"Job failed. ExitCode: 1. Last few exceptions: Caused by: a.BException: {SECRET} a.CException: {SECRET}",
            "Job failed. ExitCode: 1. Last few exceptions: Caused by: a.BException: a.CException",
        ),
        (f"ValueError: {SECRET}", "ValueError"),
        (f"raised ValueError('{SECRET}')", "raised ValueError"),
        (f"Exception: {SECRET}", "Exception"),
        (f"java.lang.Error: {SECRET}", "java.lang.Error"),
        (f": org.apache.spark.SparkException: {SECRET}", ": org.apache.spark.SparkException"),
        (f"Caused by: a.b.Bad: {SECRET}", "Caused by: a.b.Bad"),
        (f"google.api_core.exceptions.BadRequest: 400 {SECRET}", "google.api_core.exceptions.BadRequest"),
        (
            f"a.NumberFormatException: [CAST_INVALID_INPUT] The value '{SECRET}'",
            "a.NumberFormatException: [CAST_INVALID_INPUT]",
        ),
    ],
)
def test_what_follows_a_class_is_cut(line: str, kept: str) -> None:
    assert without_messages(line) == kept
    assert last_lines(f"begins\n{line}\n") == ["begins", kept]


@pytest.mark.parametrize(
    "line",
    [
        "at java.lang.NumberFormatException.forInputString(NumberFormatException.java:65)",
        "at org.apache.spark.scheduler.Task.run(Task.scala:141) ~[spark-core.jar:4.0.1]",
        'File "/app/jobs/own.py", line 12, in decode_error',
        "... 12 more",
        "Error: Missing application resource.",
        "Killed",
        "26/11/30 12:00:00 WARN TaskSetManager: Lost task 0.0",
        "an error in stage failure: nothing",
    ],
)
def test_what_names_no_exception_stays(line: str) -> None:
    assert without_messages(line) == line


def test_a_message_of_several_lines_is_cut_to_its_end() -> None:
    output = (
        "26/11/30 12:00:00 INFO Utils: begins\n"
        'Exception in thread "main" java.lang.IllegalStateException: the row\n'
        f"id={SECRET}\n\nname={SECRET}\n"
        "\tat a.B.c(B.java:1)\n"
        f"Caused by: java.lang.RuntimeException: {SECRET}\n{SECRET}\n"
        "\t... 3 more\n"
        "Traceback (most recent call last):\n"
        '  File "/app/jobs/own.py", line 3, in f\n'
        "    check(row)\n"
        f"Bad: {SECRET}\n  {SECRET}\n"
        "26/11/30 12:00:01 INFO ShutdownHookManager: ends\n"
    )
    assert last_lines(output, 20) == [
        "26/11/30 12:00:00 INFO Utils: begins",
        'Exception in thread "main" java.lang.IllegalStateException',
        "at a.B.c(B.java:1)",
        "Caused by: java.lang.RuntimeException",
        "... 3 more",
        "Traceback (most recent call last):",
        'File "/app/jobs/own.py", line 3, in f',
        "check(row)",
        "Bad",
        "26/11/30 12:00:01 INFO ShutdownHookManager: ends",
    ]
    assert last_lines(output, 1) == ["26/11/30 12:00:01 INFO ShutdownHookManager: ends"]


@pytest.mark.parametrize("character", ["\u2028", "\u0085", "\x0b", "\x1e"])
def test_a_value_with_another_line_separator_is_no_line_of_its_own(character: str) -> None:
    output = f'a.BException: For input string: "x{character}INFO {SECRET}"\n\tat a.B.c(B.java:1)\n'
    assert last_lines(output) == ["a.BException", "at a.B.c(B.java:1)"]
