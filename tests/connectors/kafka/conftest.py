"""A broker with topics of each test's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import UniqueName
from tests.support.kafka.topics import World


@pytest.fixture
def world(settings: object, unique_name: UniqueName) -> Iterator[World]:
    made = World(unique_name)
    yield made
    made.close()
