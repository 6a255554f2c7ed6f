"""The environment dlt runs in: its own, of pinned packages, made once in the cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.bench.progress import say
from tests.bench.watched import ContenderFailed

REQUIREMENTS = Path(__file__).with_name("peer-requirements.txt")
_WHOLE = ".whole"


def peer_python() -> Path:
    """The interpreter of dlt's environment, which is made where it is not there.

    Raises:
        ContenderFailed: it cannot be made.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    digest = hashlib.sha256(version.encode() + REQUIREMENTS.read_bytes()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lakeferry"
    folder = cache / f"bench-{digest}"
    python = folder / "bin" / "python"
    if (folder / _WHOLE).exists():
        return python
    say(f"Making dlt's environment in {folder}")
    shutil.rmtree(folder, ignore_errors=True)
    for command in _commands(folder, python):
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise ContenderFailed(f"no environment for dlt: {' '.join(done.stderr.split())[-400:]}")
    (folder / _WHOLE).touch()
    return python


def _commands(folder: Path, python: Path) -> list[list[str]]:
    uv = shutil.which("uv")
    if uv is not None:
        install = [uv, "pip", "sync", "--quiet", "--compile-bytecode", "--python", str(python), "--require-hashes"]
        return [[uv, "venv", "--quiet", "--python", sys.executable, str(folder)], [*install, str(REQUIREMENTS)]]
    install = [str(python), "-m", "pip", "install", "--quiet", "--require-hashes", "-r", str(REQUIREMENTS)]
    return [[sys.executable, "-m", "venv", str(folder)], install]
