"""The world load tests play in."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.runtime.project import CODE_ROOT as CHECKOUT
from jobs.runtime.settings import Settings
from tests.support.load_world import World, make_world, remove
from tests.support.storage_stand_in import Storage, serving

MakeWorld = Callable[..., World]


@pytest.fixture
def world_of(settings: Settings, tmp_path: Path, unique_name: Callable[[str], str]) -> Iterator[MakeWorld]:
    made: list[World] = []

    def make(**options: Any) -> World:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(make_world(settings, folder, unique_name("t"), **options))
        return made[-1]

    yield make
    for world in made:
        remove(world)


@pytest.fixture
def world(world_of: MakeWorld) -> World:
    return world_of()


@pytest.fixture
def storage(unique_name: Callable[[str], str]) -> Iterator[Storage]:
    """A bucket whose objects the BigQuery emulator reads (BQEMU_GCS_LOCAL_ROOT of docker/native/bigquery.py)."""
    services = os.environ.get("LAKEFERRY_SETTINGS_FILE") or CHECKOUT / ".lakeferry" / "settings.env"
    with serving(Path(services).parent / "bigquery" / "gcs", unique_name("ferry")) as stand_in:
        yield stand_in
        shutil.rmtree(stand_in.folder)
