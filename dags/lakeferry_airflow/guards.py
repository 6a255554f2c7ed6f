"""Small processes beside a child, which outlive the task and stop the child where the task cannot."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import IO

from jobs.launch import processes

START_ON_INPUT = 'read -r go && exec "$@" </dev/null'
"""A command of `sh -c` that begins with a line on its standard input, and never where its parent dies before."""
_ENTRIES = Path(processes.__file__).resolve().parent
_PYTHON_STARTS_BY = ("PATH", "LD_LIBRARY_PATH", "LIBPATH", "PYTHONHOME", "LANG", "LC_ALL")


def start_guard(
    entry: str, *arguments: str, stdin: int = subprocess.DEVNULL, output: IO[bytes] | int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    """Start a guard in a session of its own, with what Python may need to start and without connections.

    Args:
        entry: the guard's file in `jobs/launch/`.
        output: what takes its words.
    """
    return subprocess.Popen(
        [sys.executable, str(_ENTRIES / entry), *arguments],
        stdin=stdin,
        stdout=output,
        stderr=subprocess.STDOUT,
        env={key: os.environ[key] for key in _PYTHON_STARTS_BY if key in os.environ},
        start_new_session=True,
    )
