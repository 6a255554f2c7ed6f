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

if TYPE_CHECKING:
    from lakeferry_airflow.runners import Tell

_LINES = 400
_GZIP = 16 + zlib.MAX_WBITS
Read = Callable[[str], bytes | None]
"""The object of an s3:// address, None where there is none."""


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

    def pass_new(self, tell: Tell) -> None:
        """Pass on the complete lines that stdout has more than at the last look. What cannot be read fails nothing
        while the job runs: it is said once, and read again at the end."""
        if self._unreadable:
            return
        try:
            text = self._text("stdout")
        except LakeferryError as error:
            self._unreadable = True
            tell(f"The output of the running job cannot be read; it follows at the end: {error}")
            return
        self._pass(text[: text.rfind("\n") + 1].splitlines(), tell)

    def pass_rest(self, tell: Tell) -> list[str]:
        """Pass on what is left of both files; the end of them, as far as it says how the job ended.

        Raises:
            LakeferryError: S3 does not answer, or refuses.
        """
        stdout, stderr = (self._text(name).splitlines() for name in ("stdout", "stderr"))
        self._pass(stdout, tell)
        for line in stderr[-_LINES:]:
            tell(line)
        return [*stdout[-_LINES:], *stderr[-_LINES:]]

    def _pass(self, lines: list[str], tell: Tell) -> None:
        if len(lines) < self._passed:
            self._passed = 0  # EMR Serverless rotates logs ("Rotating logs"): this is another file.
        for line in lines[self._passed :][-_LINES:]:
            tell(line)
        self._passed = len(lines)

    def _text(self, name: str) -> str:
        body = self._read(f"{self._folder}/{name}.gz")
        return _unpacked(body).decode(errors="replace") if body else ""


def _unpacked(body: bytes) -> bytes:
    """As much as can be unpacked: a file that grows may hold several of gzip's members, the last without its end."""
    unpacked = b""
    while body:
        member = zlib.decompressobj(_GZIP)
        try:
            unpacked += member.decompress(body)
        except zlib.error:
            break
        body = member.unused_data
    return unpacked
