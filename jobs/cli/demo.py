"""`lakeferry demo` works in a checkout only: the sample and the local services are not in the package."""

from __future__ import annotations

import subprocess
import sys

from connectors.errors import UsageError
from jobs.runtime.project import CODE_ROOT


def run_demo(rows: int | None) -> int:
    """Run the checkout's demo; returns its exit code.

    Raises:
        UsageError: this is not a checkout.
    """
    script = CODE_ROOT / "docker" / "demo.py"
    if not script.is_file():
        raise UsageError("lakeferry demo needs a checkout of the repository", fix="Clone it, then type make demo there")
    return subprocess.run(
        [sys.executable, str(script), *(["--rows", str(rows)] if rows is not None else [])], check=False
    ).returncode
