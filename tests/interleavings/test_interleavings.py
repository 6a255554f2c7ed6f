"""Named orders of concurrent runs: those that once failed, and at least one of each scenario of `make soak`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from pyspark.sql import SparkSession

from tests.e2e.ferry import Ferry, OwnDatabase
from tests.interleavings.explorer import Explorer
from tests.interleavings.lake_scans import LakeScans
from tests.interleavings.parts import Scenario
from tests.interleavings.scenarios import SCENARIOS
from tests.interleavings.scheduler import turns_text

NAMED = [(scenario, name) for scenario in SCENARIOS for name in scenario.named]


@pytest.fixture(scope="module")
def explorer(ferry: Ferry, spark: SparkSession) -> Iterator[Callable[[Scenario], Explorer]]:
    """Returns the explorer of a scenario. Each scenario has one world."""
    scans, explorers = LakeScans(spark), {}
    with ExitStack() as opened:

        def of(scenario: Scenario) -> Explorer:
            if scenario.name not in explorers:
                database = OwnDatabase(scenario.recipe.connection)
                opened.callback(database.close)
                explorers[scenario.name] = Explorer(scenario, ferry, database, scans)
            return explorers[scenario.name]

        yield of


@pytest.mark.parametrize(("scenario", "name"), NAMED, ids=[f"{s.name}: {name}" for s, name in NAMED])
def test_concurrent_runs_deliver_every_row_once(
    explorer: Callable[[Scenario], Explorer], scenario: Scenario, name: str
) -> None:
    played = explorer(scenario).play(scenario.named[name])
    print(played.printed)
    assert not played.faults, f"{turns_text(played.turns)}\n" + "\n".join(played.faults)
