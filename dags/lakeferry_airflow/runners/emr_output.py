"""The output of a job's driver, which EMR Serverless puts into S3.

The path of the files is documented ("Storing logs" in the user guide of EMR Serverless); when a file is put there is
not. Where it is put while the job runs, the lines that are new are passed on as it grows; where it is put at the end,
all of them are passed on then. Spark's own lines, on stderr, are passed on at the end in any case.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from connectors.errors import LakeferryError
from jobs.launch.output_lines import event_in, output_lines

if TYPE_CHECKING:
    from lakeferry_airflow.runners import PassLine

_LINES = 400
_GZIP = 16 + zlib.MAX_WBITS
_CHUNK_BYTES = 4096
Read = Callable[[str], bytes | None]
"""Returns the object at an s3:// address; None if it is missing."""


class DriverOutput:
    """The output of one job.

    Args:
        job: the job as GetJobRun describes it.
    """

    def __init__(self, job: dict[str, Any], read: Read) -> None:
        monitoring = job["configurationOverrides"]["monitoringConfiguration"]
        logs = monitoring["s3MonitoringConfiguration"]["logUri"].rstrip("/")
        self._folder = f"{logs}/applications/{job['applicationId']}/jobs/{job['jobRunId']}/SPARK_DRIVER"
        self._read = read
        self._passed = 0
        self._unreadable = False

    def pass_new(self, pass_line: PassLine) -> None:
        """Pass on the complete lines that stdout has more than at the last look. What cannot be read fails nothing
        while the job runs: it is said once, and read again at the end."""
        if self._unreadable:
            return
        try:
            text = self._text("stdout")
        except LakeferryError as error:
            self._unreadable = True
            pass_line(f"The output of the running job cannot be read; it follows at the end: {error}")
            return
        self._pass(output_lines(text[: text.rfind("\n") + 1]), pass_line)

    def pass_rest(self, pass_line: PassLine) -> list[str]:
        """Pass on what is left of both files; the end of them, as far as it says how the job ended.

        A file that cannot be read is named and left out: receipts say what the job has done. S3 answers 403 for an
        object that is not there, too, where the role may not list the bucket ("GetObject" in the S3 API Reference).
        """
        stdout, stderr = (self._lines(name, pass_line) for name in ("stdout", "stderr"))
        self._pass(stdout, pass_line)
        self._pass_end(stderr, "stderr", pass_line)
        return [*stdout[-_LINES:], *stderr[-_LINES:]]

    def _lines(self, name: str, pass_line: PassLine) -> list[str]:
        try:
            return output_lines(self._text(name))
        except LakeferryError as error:
            pass_line(f"{self._address(name)} cannot be read, or is not there: {error}")
            return []

    def _pass(self, lines: list[str], pass_line: PassLine) -> None:
        if len(lines) < self._passed:
            self._passed = 0  # EMR Serverless rotates logs ("Rotating logs"): this is another file.
        self._pass_end(lines[self._passed :], "stdout", pass_line)
        self._passed = len(lines)

    def _pass_end(self, lines: list[str], name: str, pass_line: PassLine) -> None:
        """Pass on the last lines, and before them what earlier ones say of failures."""
        early, late = lines[:-_LINES], lines[-_LINES:]
        if early:
            pass_line(f"{len(early)} earlier lines are only in {self._address(name)}; failures among them follow")
        for line in (*filter(_is_failure, early), *late):
            pass_line(line)

    def _text(self, name: str) -> str:
        body = self._read(self._address(name))
        return _unpacked(body).decode(errors="replace") if body else ""

    def _address(self, name: str) -> str:
        return f"{self._folder}/{name}.gz"


def _is_failure(line: str) -> bool:
    """Whether the line is a stage's event of a failure (`jobs.runtime.events`)."""
    if '"failed"' not in line:
        return False
    record = event_in(line)
    return record is not None and record["event"] == "failed"


def _unpacked(body: bytes) -> bytes:
    """As much as can be unpacked: a file that grows may hold several of gzip's members, the last without its end."""
    # A decompressor copies what it has not used, so each gets little more than a small member needs.
    parts: list[bytes] = []
    member = zlib.decompressobj(_GZIP)
    for start in range(0, len(body), _CHUNK_BYTES):
        chunk = body[start : start + _CHUNK_BYTES]
        while chunk:
            if member.eof:
                member = zlib.decompressobj(_GZIP)
            try:
                parts.append(member.decompress(chunk))
            except zlib.error:
                return b"".join(parts)
            chunk = member.unused_data
    return b"".join(parts)
