"""Refuses the local runner where tasks may run on several machines and the lake's catalog is a file of one.

The local runner starts Spark where its task runs. Executors such as Celery's and Kubernetes' start each task wherever
there is room, so each machine or pod would have a SQLite catalog of its own: `plan` makes a table in one, `extract`
misses it in the next, and the lake has a different state on every worker. The names of executors are those of Airflow's
configuration reference, `[core] executor`, and of the providers' documentation.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from connectors.errors import SettingError

if TYPE_CHECKING:
    from jobs.runtime.settings import Settings

ELSEWHERE = (
    "CeleryExecutor",
    "KubernetesExecutor",
    "CeleryKubernetesExecutor",
    "LocalKubernetesExecutor",
    "EdgeExecutor",
    "AwsEcsExecutor",
    "AwsBatchExecutor",
    "AwsLambdaExecutor",
    "AstroExecutor",
)
"""Executors that start tasks on other machines, by the names of their classes. The agents of AstroExecutor are workers
(Astronomer's documentation, "Astro executor")."""
# Set in the pods of KubernetesExecutor (airflow/utils/log/logging_mixin.py), whose configuration may name another one.
_POD_VARIABLE = "AIRFLOW_IS_K8S_EXECUTOR_POD"


def require_one_machine(settings: Settings, task_executor: str | None = None, configured: str | None = None) -> None:
    """Refuse a SQLite catalog under an executor that starts tasks on other machines.

    Args:
        task_executor: the executor the task asks for: a name, an alias or the path of a class; None: the first one.
        configured: Airflow's `[core] executor`; None: as it is configured here.

    Raises:
        SettingError: the local runner cannot work so; says what can.
    """
    if settings.runner != "local" or not settings.catalog.startswith("sqlite:"):
        return
    executor = _class_name(_configured() if configured is None else configured, task_executor)
    if os.environ.get(_POD_VARIABLE):
        executor = "KubernetesExecutor"
    if executor not in ELSEWHERE:
        return
    raise SettingError(
        f"LAKEFERRY_RUNNER=local needs one machine: {executor} starts tasks on several, and the catalog "
        f"{settings.catalog} is a file of one of them",
        where="LAKEFERRY_CATALOG",
        fix="Run Airflow with LocalExecutor, or use a catalog that all machines reach (LAKEFERRY_CATALOG=glue), or run "
        "Spark elsewhere (LAKEFERRY_RUNNER=emr_serverless)",
    )


def _class_name(configured: str, task_executor: str | None) -> str:
    """The class behind the task's executor, by `[core] executor`: `NAME`, `a.path.NAME` or `ALIAS:a.path.NAME`, with
    commas between them; `TEAM=` may stand before the executors of a team, after a semicolon."""
    classes: dict[str, str] = {}
    for entry in configured.replace(";", ",").split(","):
        alias, _, path = entry.rpartition("=")[2].strip().rpartition(":")
        name = path.rsplit(".", 1)[-1]
        for known in filter(None, (alias, path, name)):
            classes.setdefault(known, name)
    if task_executor:
        return classes.get(task_executor, task_executor.rsplit(".", 1)[-1])
    return next(iter(classes.values()), "")


def _configured() -> str:
    # Imported here: parsing a DAG asks nothing of the configuration.
    from airflow.configuration import conf

    return str(conf.get("core", "executor", fallback="LocalExecutor"))
