"""Where Lakeferry's own code lies, and the folder of the project it works for."""

from __future__ import annotations

import os
from pathlib import Path

CODE_ROOT = Path(__file__).resolve().parents[2]
"""The folder of the packages `connectors`, `jobs` and `expectations`: a checkout, site-packages, or a zip on EMR."""


def project_root() -> Path:
    """Return the folder in which pipelines, suites and `.lakeferry` are looked for, unless settings name them.

    It is `LAKEFERRY_HOME` if that is set, else the checkout from which Lakeferry runs. An installed Lakeferry has no
    checkout: its project is the working directory.
    """
    home = os.environ.get("LAKEFERRY_HOME")
    if home:
        return Path(home).absolute()
    return CODE_ROOT if (CODE_ROOT / "pyproject.toml").is_file() else Path.cwd()


PROJECT = project_root()
