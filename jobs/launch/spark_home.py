"""The folder Spark's scripts call SPARK_HOME: that of the Spark installed beside this interpreter, without its zip.

Spark puts `python/lib/pyspark.zip` of its home before everything else on the path of the driver's Python and of each
worker's. Each process compiles again what it imports from there, a second each time. Each task reads the zip's
directory again, an eighth of a second (Python's `importlib.invalidate_caches`). Without the zip they import the
installed PySpark, which is the same.
"""

from __future__ import annotations

import sys
import uuid
from importlib.util import find_spec
from pathlib import Path

from connectors.errors import SettingError

_LINKED = ("bin", "jars", "conf")
"""What of Spark's home is asked for where it runs on one machine."""


def spark_home() -> Path:
    """A folder in this interpreter's environment with links to Spark's; Spark's own where nothing can be written.

    Raises:
        SettingError: PySpark is not installed here.
    """
    spark = installed_spark()
    home = Path(sys.prefix) / "spark-home"
    try:
        home.mkdir(exist_ok=True)
        for name in _LINKED:
            if (spark / name).exists():
                _link(home / name, spark / name)
    except OSError:
        return spark
    return home


def installed_spark() -> Path:
    """The folder of the installed PySpark. For errors see `spark_home`."""
    module_spec = find_spec("pyspark")
    if module_spec is None or module_spec.origin is None:
        raise SettingError("PySpark is not installed here", fix="Run Spark stages in the environment of make setup")
    return Path(module_spec.origin).parent


def _link(link: Path, target: Path) -> None:
    if link.is_symlink() and link.readlink() == target:
        return
    # Put in place at once, as others may do the same.
    draft = link.with_name(f".{link.name}-{uuid.uuid4().hex}")
    draft.symlink_to(target)
    draft.replace(link)
