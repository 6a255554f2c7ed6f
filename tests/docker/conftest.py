from __future__ import annotations

import sys
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


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """All five services, started once for these tests and stopped after them."""
    place = new_place(tmp_path_factory.mktemp("services"))
    done = place.services("up")
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        yield place
    finally:
        place.services("down")
