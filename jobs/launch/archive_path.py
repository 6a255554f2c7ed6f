"""Where the class-data archive of local Spark lies; `jobs.launch.class_archive` makes it."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from jobs.launch.spark_home import spark_home
from jobs.runtime.settings import Settings


def archive_path(settings: Settings, class_path: list[Path], java: Path) -> Path:
    """Where the archive of this Java and class path is, or would be: the JVM refuses any other."""
    files = [
        java / "release",
        *sorted((spark_home() / "jars").glob("*.jar")),
        *class_path,
    ]
    listed = "\n".join(f"{path} {path.stat().st_mtime_ns} {path.stat().st_size}" for path in files if path.exists())
    digest = hashlib.sha256(listed.encode()).hexdigest()[:12]
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
