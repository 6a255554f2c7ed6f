"""A class-data archive for local Spark: classes already parsed, which takes seconds off every start.

`python -m jobs.class_archive` makes it once for this Java, this environment and these jars. It is a
convenience: without it everything works, only slower. See "Class Data Sharing" in Java's manual.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from connectors.errors import LakeferryError
from jobs.settings import Settings, load_settings
from jobs.spark_home import spark_home

WARM_UP = Path(__file__).with_name("warm_up.py")
KEPT = 3
"""Archives that stay: other checkouts of this user may have other packages."""
_SECONDS = 300


def archive_path(settings: Settings, class_path: list[Path], java: Path) -> Path:
    """Where the archive of this Java and class path is, or would be: the JVM refuses any other."""
    files = [
        java / "release",
        *sorted((spark_home() / "jars").glob("*.jar")),
        *class_path,
    ]
    told = "\n".join(f"{path} {path.stat().st_mtime_ns} {path.stat().st_size}" for path in files if path.exists())
    digest = hashlib.sha256(told.encode()).hexdigest()[:12]
    return settings.spark_packages_dir.parent / f"spark-{digest}.jsa"


def archive_in_use(settings: Settings, class_path: list[Path], java: Path) -> Path | None:
    """The archive where it is there; from then on it is one that was used last."""
    archive = archive_path(settings, class_path, java)
    if not archive.exists():
        return None
    # Where it is another user's, they see to it.
    with suppress(OSError):
        os.utime(archive)
    return archive


def build(settings: Settings) -> Path:
    """Make the archive where it is not there yet, by running a small lake job once.

    Raises:
        subprocess.SubprocessError: the job failed.
    """
    from jobs.submit import java_home, local_command_of, local_environment, spark_jars

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
