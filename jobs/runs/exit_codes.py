"""Exit codes of the stage entries, `jobs/plan.py` and the others: codes that no crash ends with.

Python ends with 1 where an exception reaches it, with 2 where it cannot open its script and with 120 where it cannot
flush its output; Spark ends with 1, 50 to 57, 101 and 124 (`SparkExitCode` in Spark's sources), a JVM that does not
start with 1, a signal with 128 and more. The codes here are those of sysexits.h (FreeBSD manual, sysexits(3)), which
none of these uses. So an entry that ends with one of them decided it, and any other code is a crash, after which the
same work may succeed. The `lakeferry` command has codes of its own, 1, 2 and 3, which are those of the errors.
"""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn

USAGE = 64
"""The configuration or an argument is wrong (EX_USAGE); the same call is refused again."""
DATA = 65
"""The data failed a check (EX_DATAERR)."""
FOR_NOW = 75
"""Something outside failed (EX_TEMPFAIL); a later call may succeed."""

_BY_ERROR = {0: 0, 1: DATA, 2: USAGE, 3: FOR_NOW}
_BY_STAGE = {stage: error for error, stage in _BY_ERROR.items()}
OURS = tuple(_BY_STAGE)
"""Codes with which an entry ends by its own decision; 0 among them."""
FINAL = (USAGE, DATA)
"""Codes after which the same call ends the same way."""


def stage_code(error_code: int) -> int:
    """Return the code with which an entry ends, from that of the error (`LakeferryError.exit_code`), or 0."""
    return _BY_ERROR[error_code]


def error_code(code: int) -> int | None:
    """Return the code of the error for an entry's code: 0 if it succeeded, None if it crashed."""
    return _BY_STAGE.get(code)


class StageParser(argparse.ArgumentParser):
    """An entry's command line. argparse itself ends with 2."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: error: {message}\n")
