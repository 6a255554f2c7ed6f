"""Part five: a thousand pipelines in Airflow's DAG processor, which ends a file's process after 50 seconds."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

from jobs.runtime.project import CODE_ROOT as CHECKOUT
from tests.bench.generated_pipelines import generate_pipelines
from tests.bench.outcome import Outcome, median, of_process, tried
from tests.bench.watched import ContenderFailed, watch
from tests.bench.workplace import Workplace

PIPELINES = (100, 300, 1000)
DATASETS = 10
_PROGRAM = CHECKOUT / "tests" / "bench" / "dag_parsing.py"


@dataclass(frozen=True)
class ManyDags:
    """What it took to import and serialize so many pipelines, in a process of its own, Airflow's own start included."""

    pipelines: int
    outcome: Outcome


def measure_many_dags(work: Workplace) -> list[ManyDags]:
    """Import and serialize generated pipelines as the DAG processor does."""
    return [ManyDags(count, median([_parsed(work, count) for _ in range(work.times)])) for count in PIPELINES]


def _parsed(work: Workplace, count: int) -> Outcome:
    folder = work.folder / "dags" / f"{count}"
    if not folder.exists():
        generate_pipelines(folder, count, DATASETS)
    variables = {
        "AIRFLOW_HOME": str(work.folder / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "LAKEFERRY_PIPELINES": str(folder),
        "LAKEFERRY_STATE_DIR": str(work.folder / "state"),
        "PYTHONPATH": os.pathsep.join((str(CHECKOUT), str(CHECKOUT / "dags"))),
    }
    command: Sequence[str] = [sys.executable, str(_PROGRAM), str(CHECKOUT / "dags" / "lakeferry.py")]

    def run() -> Outcome:
        watched = watch(
            command,
            environment=os.environ | variables,
            log=work.logs / f"dags-{count}",
            limit_seconds=work.limits.seconds,
            server_cpu=lambda: None,
        )
        if watched.code != 0:
            raise ContenderFailed(watched.reason())
        found = json.loads(watched.output.read_text(encoding="utf-8").splitlines()[-1])
        if found["dags"] != count or found["errors"]:
            raise ContenderFailed(f"{found['dags']} of {count} DAGs; {found['errors']}")
        # The process says what it held at most; looks from outside may miss its end.
        return replace(of_process(f"{count:,} pipelines", count, watched), peak_bytes=found["peak_bytes"])

    return tried(f"{count:,} pipelines", count, run)
