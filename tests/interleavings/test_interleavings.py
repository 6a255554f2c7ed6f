"""Orders of commits of runs that meet: a fixed sample of what `make soak` goes through, and those that once failed."""

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
    """An explorer of a scenario; its world is made once."""
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
def test_orders_in_which_runs_once_spoilt_each_other(
    explorer: Callable[[Scenario], Explorer], scenario: Scenario, name: str
) -> None:
    played = explorer(scenario).play(scenario.named[name])
    print(played.printed)
    assert not played.faults, f"{turns_text(played.turns)}\n" + "\n".join(played.faults)
