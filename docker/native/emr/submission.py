"""A submission: the entry point, its arguments and Spark's options, read as EMR Serverless reads them."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import Any

_DRIVER_ENVIRONMENT = "spark.emr-serverless.driverEnv."


@dataclass(frozen=True)
class Submission:
    """`confs` are Spark's; `environment` is the driver's own; addresses are as submitted, `s3://…`."""

    entry: str
    arguments: tuple[str, ...]
    confs: dict[str, str]
    environment: dict[str, str]
    jars: tuple[str, ...] = ()
    py_files: tuple[str, ...] = ()
    archives: dict[str, str] = field(default_factory=dict)
    log_uri: str | None = None

    @classmethod
    def read(cls, job_driver: dict[str, Any] | None, overrides: dict[str, Any] | None) -> Submission:
        """Read a job's driver and configuration overrides.

        Raises:
            ValueError: it is no Spark job, or an option is not one that is understood here.
        """
        spark = (job_driver or {}).get("sparkSubmit")
        if not spark:
            raise ValueError("only sparkSubmit jobs are run here")
        confs = _defaults(overrides or {})
        jars, py_files, archives = "", "", ""
        words = iter(shlex.split(spark.get("sparkSubmitParameters") or ""))
        for word in words:
            option, separator, value = word.partition("=")
            if not separator or option == "--conf":
                value = value or next(words, "")
            if option == "--conf":
                key, _, setting = value.partition("=")
                confs[key] = setting
            elif option == "--jars":
                jars = value
            elif option == "--py-files":
                py_files = value
            elif option == "--archives":
                archives = value
            else:
                raise ValueError(f"spark-submit option {option} is not understood here")
        return cls(
            entry=spark["entryPoint"],
            arguments=tuple(spark.get("entryPointArguments") or ()),
            jars=_listed(jars or confs.pop("spark.jars", "")),
            py_files=_listed(py_files or confs.pop("spark.submit.pyFiles", "")),
            archives=_named(archives or confs.pop("spark.archives", "")),
            environment={
                key.removeprefix(_DRIVER_ENVIRONMENT): confs.pop(key)
                for key in list(confs)
                if key.startswith(_DRIVER_ENVIRONMENT)
            },
            confs=confs,
            log_uri=_log_uri(overrides or {}),
        )


def _defaults(overrides: dict[str, Any]) -> dict[str, str]:
    properties: dict[str, str] = {}
    for configuration in overrides.get("applicationConfiguration") or []:
        if configuration.get("classification") == "spark-defaults":
            properties |= configuration.get("properties") or {}
    return properties


def _log_uri(overrides: dict[str, Any]) -> str | None:
    monitoring = overrides.get("monitoringConfiguration") or {}
    uri = (monitoring.get("s3MonitoringConfiguration") or {}).get("logUri")
    return str(uri) if uri else None


def _listed(value: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in value.split(",") if item.strip())


def _named(value: str) -> dict[str, str]:
    """`address#name` → {name: address}; without a name it is that of the file, as Spark has it."""
    addresses = {}
    for item in _listed(value):
        address, _, name = item.partition("#")
        addresses[name or address.rsplit("/", 1)[-1]] = address
    return addresses
