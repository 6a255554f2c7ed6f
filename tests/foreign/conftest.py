"""The world of foreign operations, built once, and the rounds in which the chosen cases are played."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.e2e.ferry import Ferry, OwnDatabase
from tests.foreign.rounds import Case, Played, few_cases, in_rounds, many_cases, play
from tests.foreign.world import SLOTS, World

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


log = logging.getLogger(__name__)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        seeds, first = (metafunc.config.getoption(name) for name in ("foreign_seeds", "foreign_first_seed"))
        cases = few_cases() if seeds is None else many_cases(seeds, first)
        metafunc.parametrize("case", cases, ids=lambda case: case.id)


@pytest.fixture(scope="session")
def rounds(request: pytest.FixtureRequest, ferry: Ferry, spark: SparkSession) -> Iterator[Rounds]:
    """Rounds of the cases that were chosen, in a world of the datasets they need."""
    named = [item.callspec.params.get("case") for item in request.session.items if hasattr(item, "callspec")]
    chosen = [case for case in named if isinstance(case, Case)]
    needed = {case.slot for case in chosen}
    database = OwnDatabase("aurora_payments")
    yield Rounds(World(ferry, database, spark, [slot for slot in SLOTS if slot in needed]), chosen)
    database.close()


class Rounds:
    """Plays a round when its first case is asked for."""

    def __init__(self, world: World, chosen: list[Case]) -> None:
        self._world = world
        self._rounds = in_rounds(chosen)
        self._played: dict[str, Played] = {}

    def played(self, case: Case) -> Played:
        if case.id not in self._played:
            try:
                self._played |= play(self._world, next(one for one in self._rounds if case in one))
            except Exception:
                log.exception("a round broke off")
                raise
        return self._played[case.id]
