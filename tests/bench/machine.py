"""The subject and the machine of the measures: the first lines of the results."""

from __future__ import annotations

import os
import platform
import re
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from jobs.launch.commands import java_home
from jobs.runtime.settings import Settings
from tests.bench.peer_environment import REQUIREMENTS


def introduction(server_version: str, settings: Settings, times: int) -> str:
    """Date, machine, versions and how often each measure was taken."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    pinned = dict(re.findall(r"^([\w-]+)==([\w.]+)", REQUIREMENTS.read_text(encoding="utf-8"), re.MULTILINE))
    versions = [
        f"Python {platform.python_version()}",
        f"Java {_java()}",
        f"Spark {version('pyspark')}",
        f"MariaDB {server_version}",
        f"dlt {pinned['dlt']}",
        f"connectorx {pinned['connectorx']}",
    ]
    taken = "once" if times == 1 else f"{times} times, the median is shown"
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {len(os.sched_getaffinity(0))} cores ({_processor()}), {memory:.0f} GiB; "
        f"{', '.join(versions)}. Spark: `{settings.spark_master}`, {settings.spark_driver_memory} of heap. "
        f"Each measure was taken {taken}."
    )


def _java() -> str:
    release = (java_home() / "release").read_text(encoding="utf-8")
    found = re.search(r'JAVA_VERSION="([^"]+)"', release)
    return found[1] if found else "?"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
