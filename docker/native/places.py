"""Where things lie: the checkout, its state directory, and the caches that all checkouts of a user share."""

from __future__ import annotations

import os
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
NATIVE = Path(__file__).resolve().parent
VENV = CHECKOUT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"


def state_dir() -> Path:
    """`.lakeferry` of the checkout, or LAKEFERRY_STATE_DIR; made, readable by its owner only."""
    path = Path(os.environ.get("LAKEFERRY_STATE_DIR") or CHECKOUT / ".lakeferry").absolute()
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def cache_dir() -> Path:
    """`lakeferry` under XDG_CACHE_HOME (XDG Base Directory Specification: ~/.cache where unset); made."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    path = Path(base) / "lakeferry"
    path.mkdir(parents=True, exist_ok=True)
    return path


def service_dir(name: str) -> Path:
    """The directory a service keeps its data and log in; made."""
    path = state_dir() / name
    path.mkdir(parents=True, exist_ok=True)
    return path


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step by one only its owner can read (mode 600)."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.touch(mode=0o600)
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
