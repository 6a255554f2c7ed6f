from __future__ import annotations

import os
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# last, so that nothing there hides a library
sys.path.append(str(Path(__file__).resolve().parent))
sys.path.append(str(Path(__file__).resolve().parents[2] / "docker" / "sample"))

from local_services import Place, new_place

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A state directory and free ports; nothing runs there."""
    return new_place(tmp_path / "state")


@pytest.fixture(scope="module")
def anothers_temporary_table() -> Iterator[Path]:
    """A file where MariaDB servers put temporary tables by default, like one that another server uses."""
    folder = Path(os.environ.get("TMPDIR", "/tmp"))
    file = folder / f"#sql-temptable-{uuid.uuid4().hex}.MAI"
    file.touch()
    yield file
    file.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, anothers_temporary_table: Path) -> Iterator[Place]:
    """All five services, started once for a file's tests and stopped after them: idle they take a fifth of a core."""
    place = new_place(tmp_path_factory.mktemp("services"))
    done = place.services("up")
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        yield place
    finally:
        place.services("down")
