"""Which files of a folder may concern a pipeline: those whose text holds one of its names.

A run reads one pipeline of perhaps a thousand, and still refuses a name that another file has too. To look for names in
the text of the files costs 20 microseconds per file, to read them as pipelines two milliseconds.
"""

from __future__ import annotations

import stat
from collections.abc import Collection, Iterable
from pathlib import Path

from connectors.yaml.text_files import LARGEST_BYTES
from jobs.spec.models import After, PipelineSpec


def names_of(spec: PipelineSpec) -> set[str]:
    """The names that a pipeline shares with no other, and those of the datasets it follows."""
    followed = spec.schedule.datasets if isinstance(spec.schedule, After) else []
    own = (name for dataset in spec.datasets for name in (dataset.name, dataset.bigquery.table))
    return {*own, *followed, *(view.name for view in spec.views)}


def files_that_mention(files: Iterable[Path], names: Collection[str]) -> list[Path]:
    """The files in which one of the names may stand as a value: no other file can declare it.

    A file that cannot be looked into is one of them. So is a file with a backslash, by which YAML can spell a name
    (`"\\x61"`), or break it over two lines.
    """
    words = [name.encode() for name in names]
    return [path for path in files if _may_mention(path, words)]


def _may_mention(path: Path, words: Collection[bytes]) -> bool:
    try:
        # To open a named pipe is to wait for its writer, so the kind is asked for first.
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST_BYTES:
            return True
        text = path.read_bytes()
    except OSError:
        return True
    return b"\\" in text or any(word in text for word in words)
