"""A class-data archive for local Spark: classes already parsed, which takes seconds off every start.

`python -m jobs.launch.class_archive` makes it once for this Java, this environment and these jars. It is a
convenience: without it everything works, only slower. See "Class Data Sharing" in Java's manual.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from connectors.errors import LakeferryError
from jobs.launch.archive_path import archive_path
from jobs.launch.commands import java_home, local_command_of, local_environment, spark_jars
from jobs.runtime.settings import Settings, load_settings

WARM_UP = Path(__file__).with_name("class_archive_warm_up.py")
KEPT = 3
"""Archives that stay: other checkouts of this user may have other packages."""
_SECONDS = 300


def build(settings: Settings) -> Path:
    """Make the archive where it is not there yet, by running a small lake job once.

    Raises:
        subprocess.SubprocessError: the job failed.
    """
    target = archive_path(settings, spark_jars(settings), java_home())
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".archive-") as folder:
        draft = Path(folder) / target.name
        own = {
            "LAKEFERRY_LAKE": f"file://{folder}/lake",
            "LAKEFERRY_CATALOG": f"sqlite:///{folder}/catalog.db",
        }
        command = local_command_of(WARM_UP, [], settings, java_options=f"-XX:ArchiveClassesAtExit={draft}")
        environment = {**os.environ, **local_environment(settings), **own}
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=_SECONDS)
        draft.replace(target)
    _forget_old(target.parent)
    return target


def _forget_old(folder: Path) -> None:
    # Every change of packages or jars leaves one of 190 MB. A JVM that has one open keeps it.
    archives = sorted(folder.glob("spark-*.jsa"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in archives[KEPT:]:
        path.unlink(missing_ok=True)


def main() -> int:
    """Build it and print where it is; a failure is said and is no error, as nothing depends on the archive."""
    try:
        print(build(load_settings()))  # noqa: T201
    except (LakeferryError, subprocess.SubprocessError, OSError) as error:
        print(f"no class archive, Spark will start slower: {error}", file=sys.stderr)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
