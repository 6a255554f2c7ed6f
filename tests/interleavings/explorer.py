"""Plays orders of a scenario and checks the result with the oracle."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from connectors.errors import LakeferryError
from tests.e2e.ferry import Ferry, OwnDatabase
from tests.interleavings.lake_scans import LakeScans
from tests.interleavings.oracle import Oracle, Row
from tests.interleavings.orders import Orders
from tests.interleavings.parts import Scenario
from tests.interleavings.scheduler import Abandoned, Actor, Scheduler, Turn, parse_turns, unprinted
from tests.interleavings.worlds import Place, World, settle

UNEXPECTED = "RunnerFailed"
"""The error type that a stage reports for an exception that is no LakeferryError."""


@dataclass
class Played:
    """The result of an order. `printed` is the output of all runs where there are faults."""

    scenario: str
    turns: list[Turn]
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0
    printed: str = ""


class Explorer:
    """One scenario and its world."""

    def __init__(self, scenario: Scenario, ferry: Ferry, database: OwnDatabase, scans: LakeScans) -> None:
        self.scenario = scenario
        self._ferry = ferry
        self._scans = scans
        self._world = World(ferry, database, scenario.recipe)

    def play(self, turns: str | Iterable[Turn]) -> Played:
        """Play a given order. An actor that does not reach the gate of a turn runs to its end. After the last turn all
        remaining actors run to their ends, one after the other."""

        def decide(scheduler: Scheduler) -> bool:
            for name, gate in parse_turns(turns) if isinstance(turns, str) else turns:
                scheduler.go_on_to(name, gate)
            scheduler.finish()
            return True

        played = self._played(decide)
        assert played is not None, "it was played to its end"
        return played

    def play_next(self, orders: Orders) -> Played | None:
        """Play the next order of a search; None where `Orders.choose` returned None."""

        def decide(scheduler: Scheduler) -> bool:
            orders.begin()
            while scheduler.enabled:
                name = orders.choose({actor.name: actor.at for actor in scheduler.actors.values()})
                if name is None:
                    orders.ended(played=False)
                    return False
                scheduler.go_on(name)
            orders.ended()
            return True

        return self._played(decide)

    def _played(self, decide: Callable[[Scheduler], bool]) -> Played | None:
        started = time.monotonic()
        place = self._world.place(loaded=self.scenario.loads)
        work = {part.name: part.work(place) for part in self.scenario.parts}
        actors = [Actor(part.name, work[part.name], frozenset(part.gates)) for part in self.scenario.parts]
        with Scheduler(actors) as scheduler, self._scans.listening(_merges(scheduler, place)):
            if not decide(scheduler):
                place.remove()
                return None
        played = Played(self.scenario.name, scheduler.turns)
        with unprinted() as printed:
            played.faults += _unexpected(scheduler)
            played.faults += self._again(scheduler, work)
            played.faults += self._verdict(place)
        played.seconds = round(time.monotonic() - started, 1)
        if played.faults:
            played.printed = f"{scheduler.transcript.text()}\n{printed.getvalue()}"
        place.remove()
        return played

    def _again(self, scheduler: Scheduler, work: Mapping[str, Callable[[], int]]) -> Iterable[str]:
        """Repeat failed runs with no other actor; they must succeed."""
        for name, actor in scheduler.actors.items():
            if not actor.exit_code:
                continue
            try:
                code = work[name]()
            except LakeferryError as error:
                code = error.exit_code
            if code:
                yield f"{name} failed with exit code {actor.exit_code}, and repeated alone with {code}"

    def _verdict(self, place: Place) -> list[str]:
        scenario = self.scenario
        last = place.last
        oracle = Oracle(last.dataset, last.target, scenario.kind, place.source_rows, self._ferry.warehouse)
        before = oracle.look(loaded=False)
        if code := place.bring("final", through="load" if scenario.loads else "check"):
            oracle.faults.append(f"the final run failed with exit code {code}")
        after = oracle.look(loaded=scenario.loads)
        oracle.check_log(after)
        oracle.check_windows(after)
        oracle.check_brought(before, after)
        oracle.check_delivered(after)
        old = set(place.source_rows())
        for statement in scenario.probe:
            place.execute(statement)
        if scenario.kind.stamped:
            settle(self._world.database)
        if code := place.bring("probe", through="load"):
            oracle.faults.append(f"the run after the probe failed with exit code {code}")
        probed = oracle.look(loaded=True)
        new: list[Row] = [tuple(row) for row in place.source_rows(scenario.kind.good) if row not in old]
        oracle.check_log(probed)
        oracle.check_nothing_else_moved(after, probed, new)
        oracle.check_delivered(probed)
        return oracle.faults


def _merges(scheduler: Scheduler, place: Place) -> Callable[[str], None]:
    """A gate inside the MERGE into curated, between its scan of curated and its commit."""

    def scanned(table: str) -> None:
        if table == f"curated.{place.last.dataset}" and scheduler.passed_last("curated.read"):
            scheduler.reached("curated.scanned")

    return scanned


def _unexpected(scheduler: Scheduler) -> Iterable[str]:
    for name, actor in scheduler.actors.items():
        if actor.error is not None and not isinstance(actor.error, LakeferryError | Abandoned):
            yield f"{name} ended with {type(actor.error).__name__}: {actor.error}"
        for failure in scheduler.transcript.failures(name):
            if failure.get("error_type") == UNEXPECTED:
                yield f"{name}, stage {failure.get('stage')}: {failure.get('error')}"
