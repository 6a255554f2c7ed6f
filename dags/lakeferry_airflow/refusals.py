"""Which pipelines' DAGs were refused when each file was parsed last, for `lakeferry_broken_specs.py`.

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

    from jobs.runtime.settings import Settings

_log = logging.getLogger(__name__)
_LONGEST_TRUST_SECONDS = 3600.0
"""Each parse of a file that registers DAGs writes one. An older one is of a parse that could not write, or of none."""
_CLOCKS_SECONDS = 60.0
"""How far the clock of the state folder's file server may be ahead. A file of a later time would not age."""


def keep_refused(pipelines: Iterable[str], settings: Settings, dag_file: str) -> None:
    """Write down the names for the next parse of `lakeferry_broken_specs.py`.

    A folder that cannot be written costs time only.
    """
    file = _file(settings, dag_file)
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(sorted(pipelines)), encoding="utf-8")
        draft.replace(file)
    except OSError as error:
        _log.info("lakeferry_broken_specs.py builds every DAG, as %s cannot be written: %s", file, error.strerror)


def last_refused(settings: Settings, dag_files: Iterable[Path]) -> frozenset[str] | None:
    """The names, of all the files that register DAGs; None where nothing says which were refused of one, so that each
    DAG has to be built."""
    names: set[str] = set()
    try:
        for file in (_file(settings, dag_file) for dag_file in dag_files):
            age_seconds = time.time() - file.stat().st_mtime
            if not -_CLOCKS_SECONDS <= age_seconds <= _LONGEST_TRUST_SECONDS:
                return None
            names |= frozenset(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    return frozenset(names)


def _file(settings: Settings, dag_file: str | Path) -> Path:
    """Where the names of a DAG file stand, by its path and the pipelines that it reads."""
    folders = f"{Path(dag_file).absolute()}\n{settings.pipelines.absolute()}"
    return settings.state_dir.absolute() / "refused" / f"{hashlib.sha256(folders.encode()).hexdigest()[:16]}.json"
