"""What an exit code that is not ours says of a driver: that its memory ran out, or that it was killed.

Spark's driver exits with 52 where an OutOfMemoryError reached it (`SparkExitCode.OOM` in Spark's sources). A process
that SIGKILL ends has the code -9, or 137 where a shell or Spark passes it on; the kernel sends SIGKILL where memory
runs out, as do containers ("Out of Memory Management" in the kernel's documentation).
"""

from __future__ import annotations

import re
import signal
from typing import NamedTuple

_OUT_OF_MEMORY = 52
_KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)
_ERROR = "java.lang.OutOfMemoryError"
_NO_JAVA = ("insufficient memory for the Java Runtime", "Could not reserve enough space")
"""What HotSpot says before it ends with 1, where the system gives it less than it asks for (os.cpp, virtualspace.cpp
in OpenJDK's sources)."""


class DriverEnd(NamedTuple):
    """How a driver ended, in words, and what to do."""

    problem: str
    fix: str


def driver_end(code: int | None, output: str, memory: str, at_once: int, emr: bool = False) -> DriverEnd | None:
    """Why the driver ended; None where neither its code nor its output names memory.

    Args:
        code: its exit code; None where it is not known.
        output: the end of its output, or what EMR says of the job.
        memory: `LAKEFERRY_SPARK_DRIVER_MEMORY`, for the message.
        at_once: `LAKEFERRY_DATASETS_IN_PARALLEL`, for the message.
        emr: the driver's memory is that of the EMR Serverless application.
    """
    said = re.search(r"ExitCode: (\d+)", output) if code is None else None
    code = int(said[1]) if said else code
    setting = "LAKEFERRY_SPARK_DRIVER_MEMORY"
    more = f"{setting} (it is {memory})"
    if emr:
        more = "spark.driver.memory and spark.executor.memory of the EMR Serverless application"
    fewer = f"lower LAKEFERRY_DATASETS_IN_PARALLEL (it is {at_once})"
    if code == _OUT_OF_MEMORY or _ERROR in output:
        return DriverEnd("Spark ran out of memory", f"Raise {more}, or {fewer}, then run again")
    if any(words in output for words in _NO_JAVA):
        return DriverEnd(
            "Java did not start, as the machine has less memory than Java asks for",
            f"Give the machine more memory, or lower {setting if not emr else 'spark.driver.memory'}, then run again",
        )
    if code in _KILLED:
        return DriverEnd(
            "the Spark driver was killed (SIGKILL), as a machine or container does that runs out of memory",
            f"Give the machine more memory than {setting if not emr else 'spark.driver.memory'} and Python take, or "
            f"{fewer}, then run again",
        )
    return None
