"""The oldest Airflow that is supported, in an environment of its own: tests of `dags/` run in it as in the newest.

PySpark, Great Expectations and the providers are not in it: parsing and the tests with doubles need none of them.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from places import NATIVE, cache_dir
from steps import run

REQUIREMENTS = NATIVE / "oldest-airflow-requirements.txt"


def cache_name() -> str:
    return f"oldest-airflow-{hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]}"


def python() -> Path:
    """The environment's interpreter."""
    return cache_dir() / cache_name() / "bin" / "python"


def build(draft: Path, uv: str) -> None:
    """Make the environment exactly what the requirements pin."""
    run([uv, "venv", "--allow-existing", "--relocatable", "--python", sys.executable, draft], log="python")
    options: list[str | Path] = ["--python", draft / "bin" / "python", "--require-hashes", "--compile-bytecode"]
    run([uv, "pip", "sync", *options, REQUIREMENTS], log="python")
