"""The environment of a process that Airflow's tasks start: an allow list of their own.

The environment of a task holds what is not a stage's business, and what a stage's code or a crash dump may show: the
key with which Airflow signs requests, that of its stored passwords, the address of its database with the password, the
connections of other pipelines. So a child gets the names below, and the connections of its own pipeline.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobs.runtime.settings import Settings

ALLOWED = (
    # The machine and its language.
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "LC_*", "TZ", "TZDIR", "TMPDIR", "TMP", "TEMP"),
    *("XDG_*", "LD_LIBRARY_PATH", "LD_PRELOAD", "MALLOC_*"),
    # Java, Spark and Python.
    *("JAVA_HOME", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "SPARK_*", "PYSPARK_*", "HADOOP_*"),
    *("PYTHON*", "VIRTUAL_ENV", "ARROW_*", "OMP_NUM_THREADS"),
    # The clouds: where credentials are found, and which endpoints are asked.
    *("AWS_*", "GOOGLE_*", "GCE_METADATA_*", "CLOUDSDK_*", "BIGQUERY_*", "STORAGE_EMULATOR_HOST"),
    # The way out: proxies, and the authorities that are trusted.
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"),
    "LAKEFERRY_*",
)
"""Names of variables; a * stands for any rest."""


def inherited(settings: Settings, environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a child gets of this process's environment: the allowed names and those of `LAKEFERRY_PASS_ENVIRONMENT`.

    Args:
        environment: in place of this process's.
    """
    names = (*ALLOWED, *settings.passed_names)
    variables = os.environ if environment is None else environment
    return {name: value for name, value in variables.items() if any(fnmatchcase(name, allowed) for allowed in names)}
