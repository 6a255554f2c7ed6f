"""A Spark session inside a command's own process, where nothing of the command may stand on another command line."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.lake.spark_session import open_session
from jobs.launch.commands import local_command_of, local_environment
from jobs.runtime.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def open_own_session(settings: Settings, name: str) -> SparkSession:
    """Return the session of this process. Without a JVM it starts one, with the options of a stage on this machine.

    Args:
        name: what the cluster shows.

    Raises:
        SettingError: no Spark or Java in this environment, or no jars for it.
    """
    from pyspark import SparkContext

    if SparkContext._active_spark_context is None:
        os.environ.update(local_environment(settings))
        # PySpark's `launch_gateway` splits the variable as a shell would.
        command = local_command_of(Path("pyspark-shell"), [], settings)
        os.environ["PYSPARK_SUBMIT_ARGS"] = shlex.join(command[1:])
    return open_session(settings, name)
