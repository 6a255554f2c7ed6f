"""Which pipelines' DAGs were refused when `lakeferry.py` was parsed last, for `lakeferry_broken_specs.py`.

Airflow parses each file in a process of its own and shows an error under the file that raised it
(`_parse_file` in airflow/dag_processing/processor.py). So one process builds the DAGs and another one reports, and the
names pass between them in a file of the state folder. They only say which DAGs to build again: the report is about what
is refused now.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jobs.settings import Settings

_log = logging.getLogger(__name__)
_LONGEST_TRUST_SECONDS = 3600.0
"""Each parse of `lakeferry.py` writes the file. One that is older is of a parse that could not write, or of none."""


def keep_refused(pipelines: Iterable[str], settings: Settings, dag_file: str) -> None:
    """Write down the names for the next parse of the other file; a folder that cannot be written costs time only."""
    file = _file(settings, dag_file)
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(sorted(pipelines)), encoding="utf-8")
        draft.replace(file)
    except OSError as error:
        _log.info("lakeferry_broken_specs.py builds every DAG, as %s cannot be written: %s", file, error.strerror)


def last_refused(settings: Settings, dag_file: str) -> frozenset[str] | None:
    """The names; None where nothing says which were refused, so that each DAG has to be built."""
    file = _file(settings, dag_file)
    try:
        if time.time() - file.stat().st_mtime > _LONGEST_TRUST_SECONDS:
            return None
        return frozenset(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _file(settings: Settings, dag_file: str) -> Path:
    """The file of the folder that holds both DAG files, and of the pipelines that they read."""
    folders = f"{Path(dag_file).absolute().parent}\n{settings.pipelines.absolute()}"
    return settings.state_dir.absolute() / "refused" / f"{hashlib.sha256(folders.encode()).hexdigest()[:16]}.json"
