"""Every built-in source keeps the promises of `connectors.base.Source`, on a real server."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

import pytest

import connectors
from connectors.testing import SourceFactory, SourceSuite

MODULES = {"aurora": "mysql", "tidb": "mysql"}
"""Source type → the stem of its factory's module, where they differ."""


@pytest.fixture(scope="module", params=sorted(connectors.SOURCES))
def factory(request: pytest.FixtureRequest, settings: object) -> Iterator[SourceFactory]:
    module = import_module(f"tests.conformance.{MODULES.get(request.param, request.param)}_factory")
    factory: SourceFactory = module.open_factory(request.param)
    yield factory
    factory.close()


class TestBuiltInSources(SourceSuite):
    """The tests of `SourceSuite`, on each source."""
