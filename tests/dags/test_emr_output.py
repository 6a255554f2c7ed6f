"""The output of a running job, as S3 has it from look to look."""

from __future__ import annotations

import gzip
import json
import time
from typing import Any

import pytest

from connectors.errors import AccessDenied
from lakeferry_airflow.runners.emr_output import DriverOutput
from lakeferry_airflow.runners.emr_serverless import _tag

FOLDER = "s3://bucket/lakeferry/logs/applications/00a/jobs/00j/SPARK_DRIVER"
JOB: dict[str, Any] = {
    "applicationId": "00a",
    "jobRunId": "00j",
    "configurationOverrides": {
        "monitoringConfiguration": {"s3MonitoringConfiguration": {"logUri": "s3://bucket/lakeferry/logs/"}}
    },
}


class Logs:
    """The output in S3, and the lines of it that were passed on."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.lines: list[str] = []
        self.output = DriverOutput(JOB, self.files.get)

    def put(self, stdout: str, stderr: str = "") -> None:
        self.files[f"{FOLDER}/stdout.gz"] = gzip.compress(stdout.encode())
        self.files[f"{FOLDER}/stderr.gz"] = gzip.compress(stderr.encode())

    def look(self) -> list[str]:
        self.lines.clear()
        self.output.pass_new(self.lines.append)
        return list(self.lines)

    def rest(self) -> list[str]:
        self.lines.clear()
        self.end = self.output.pass_rest(self.lines.append)
        return list(self.lines)


def test_lines_are_passed_on_once_as_the_file_grows() -> None:
    logs = Logs()
    assert logs.look() == []
    logs.put("one\ntw")
    assert logs.look() == ["one"]
    assert logs.look() == []
    logs.put("one\ntwo\nthree\n", "a trace\n")
    assert logs.look() == ["two", "three"]
    logs.put("one\ntwo\nthree\nfour", "a trace\n")
    assert logs.rest() == ["four", "a trace"]
    assert logs.end == ["one", "two", "three", "four", "a trace"]


def test_a_file_that_comes_at_the_end_is_passed_on_whole() -> None:
    logs = Logs()
    assert logs.look() == []
    logs.put("one\ntwo\n", "a trace\n")
    assert logs.rest() == ["one", "two", "a trace"]


def test_a_job_without_files_has_no_output() -> None:
    logs = Logs()
    assert (logs.rest(), logs.end) == ([], [])


def test_a_rotated_file_is_another() -> None:
    logs = Logs()
    logs.put("one\ntwo\nthree\n")
    logs.look()
    logs.put("four\n")
    assert logs.look() == ["four"]


def test_members_of_gzip_are_read_one_after_the_other_and_half_a_one_as_far_as_it_goes() -> None:
    logs = Logs()
    whole = gzip.compress(b"one\n") + gzip.compress(b"two\n")
    logs.files[f"{FOLDER}/stdout.gz"] = whole
    assert logs.look() == ["one", "two"]
    logs.files[f"{FOLDER}/stdout.gz"] = whole + gzip.compress(b"three\n")[:-6]
    assert logs.look() == ["three"]


def test_output_of_many_small_members_is_unpacked_in_a_time_of_its_size() -> None:
    # EMR may flush each line as a member of its own: 4 MB, of which each member once copied the rest.
    logs = Logs()
    logs.files[f"{FOLDER}/stdout.gz"] = gzip.compress(b"a line\n") * 150_000
    began = time.process_time()
    assert len(logs.look()) == 401
    assert time.process_time() - began < 6


def test_a_damaged_member_hides_none_before_it() -> None:
    logs = Logs()
    logs.files[f"{FOLDER}/stdout.gz"] = gzip.compress(b"one\n") + b"no gzip" + gzip.compress(b"two\n")
    assert logs.look() == ["one"]


def test_a_line_ends_at_a_newline_alone() -> None:
    """JSON leaves U+2028 and U+0085 as they are, and other text any of them."""
    logs, odd = Logs(), "a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg\x1dh\x1ei"
    failed = json.dumps({"event": "failed", "error": odd}, ensure_ascii=False)
    logs.put("".join(f"{line}\n" for line in [failed, "a\r", *map(str, range(400))]))
    assert logs.look()[1:3] == [failed, "0"]
    logs.put("", f"{odd}\r\nnext\n")
    assert logs.rest() == [odd, "next"]


def test_a_line_of_deep_json_is_text() -> None:
    logs, deep = Logs(), '{"failed":' * 100_000
    logs.put("".join(f"{line}\n" for line in [deep, *map(str, range(400))]))
    assert len(logs.look()) == 401


def test_what_cannot_be_read_fails_nothing_while_the_job_runs() -> None:
    def refuse(_: str) -> bytes:
        raise AccessDenied("no right to read logs")

    output, lines = DriverOutput(JOB, refuse), list[str]()
    output.pass_new(lines.append)
    output.pass_new(lines.append)
    assert lines == ["The output of the running job cannot be read; it follows at the end: no right to read logs."]
    lines.clear()
    assert output.pass_rest(lines.append) == []
    assert lines == [
        f"{FOLDER}/{name}.gz cannot be read, or is not there: no right to read logs." for name in ("stdout", "stderr")
    ]


def test_lines_that_are_too_many_are_counted_and_their_failures_passed_on() -> None:
    logs = Logs()
    failed, told = '{"event": "failed", "error": "no table"}', '{"event": "note", "note": "\\"failed\\""}'
    logs.put("".join(f"{line}\n" for line in [told, failed, *map(str, range(1000))]))
    lines = logs.look()
    assert lines[:2] == [f"602 earlier lines are only in {FOLDER}/stdout.gz; failures among them follow", failed]
    assert lines[2:] == [str(number) for number in range(600, 1000)]
    logs.put("".join(f"{line}\n" for line in [told, failed, *map(str, range(1001))]), "a\n" * 401)
    assert logs.rest()[:2] == ["1000", f"1 earlier lines are only in {FOLDER}/stderr.gz; failures among them follow"]


def test_400_lines_are_passed_on_without_a_word() -> None:
    logs = Logs()
    logs.put("".join(f"{number}\n" for number in range(400)))
    assert logs.look() == [str(number) for number in range(400)]


@pytest.mark.parametrize(
    ("value", "tag"),
    [
        ("payments", "payments"),
        ("scheduled__2026-11-23T00:00:00+00:00", "scheduled__2026-11-23T00:00:00+00:00"),
        ("手動, run #1\n", "___ run _1_"),
        ("x" * 300, "x" * 256),
    ],
)
def test_tags_have_characters_and_length_that_aws_takes(value: str, tag: str) -> None:
    assert _tag(value) == tag
