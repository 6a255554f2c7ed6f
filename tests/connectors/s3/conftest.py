"""The bucket of one test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.support.bucket_world import World

if TYPE_CHECKING:
    from tests.conftest import UniqueName


@pytest.fixture
def world(settings: object, unique_name: UniqueName) -> Iterator[World]:
    made = World(unique_name)
    yield made
    made.close()
