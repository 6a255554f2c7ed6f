"""The soak: `make soak`, or python tests/soak/soak.py [--minutes …] [--scenario …] [--kills …] [--seed …] [--replay …].

Plays all orders of all scenarios of `tests/interleavings` in a random sequence that the seed determines, and kills real
runs at random times. Each failure is one JSON line on stdout. `--replay` takes such a line, or a file of them.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

if __package__ in (None, ""):
    # A script's own folder comes first on the path; the packages lie two above it.
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from connectors.errors import LakeferryError
from jobs.runtime.settings import Settings, load_settings
from tests.bench.progress import say
from tests.e2e.ferry import Ferry, OwnDatabase
from tests.interleavings.explorer import Explorer, Played
from tests.interleavings.lake_scans import LakeScans
from tests.interleavings.orders import Orders
from tests.interleavings.parts import Scenario
from tests.interleavings.scenarios import SCENARIOS
from tests.interleavings.scheduler import Stuck, turns_text
from tests.soak.kills import Kills
from tests.support.local_lake import SMALL_BATCHES, local_spark, own_ferry

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
KILLS = 20


@dataclass
class Tally:
    """Numbers of one scenario, or of the kills."""

    name: str
    expected: int
    played: int = 0
    failed: int = 0
    seconds: float = 0.0


@dataclass
class Soak:
    """One soak. `until` is its end on the monotonic clock."""

    options: argparse.Namespace
    ferry: Ferry
    logs: Path
    until: float
    tallies: list[Tally] = field(default_factory=list)

    @property
    def failed(self) -> int:
        return sum(tally.failed for tally in self.tallies)

    def kill(self, count: int) -> None:
        """Play rounds of kills, for half of a bounded time at most."""
        tally = Tally("kills", count)
        self.tallies.append(tally)
        until = (time.monotonic() + self.until) / 2
        with Kills(self.ferry, self.options.seed, self.logs) as kills:
            for number in range(count):
                if time.monotonic() > until:
                    say(f"Half of the time is over after {tally.played} of {count} kills")
                    return
                round_ = kills.play(number)
                tally.played += 1
                tally.seconds += round_.seconds
                say(
                    f"kill {number + 1}/{count}, {round_.source}: {'; '.join(round_.killed)}; {_verdict(round_.faults)}"
                )
                if round_.faults:
                    self._fail(tally, kill=number, source=round_.source, faults=round_.faults, log=round_.log)

    def explore(self, scenarios: list[Scenario], explorers: Explorers) -> None:
        """Play all orders. The choice of the next scenario is weighted by its remaining orders."""
        random = Random(self.options.seed)
        left = [(scenario, Orders(scenario.courses(), random.randrange(2**32))) for scenario in scenarios]
        tallies = {scenario.name: Tally(scenario.name, orders.expected) for scenario, orders in left}
        self.tallies += tallies.values()
        say(f"{sum(tally.expected for tally in tallies.values())} orders of {len(left)} scenarios are expected")
        while left and time.monotonic() < self.until:
            weights = [max(1, orders.expected - orders.played) for _, orders in left]
            [(scenario, orders)] = random.choices(left, weights)
            tally = tallies[scenario.name]
            try:
                played = explorers.of(scenario).play_next(orders)
            except Stuck as stuck:
                self._fail(tally, scenario=scenario.name, faults=[str(stuck)])
                raise
            if played is not None:
                self._note(tally, played)
            if orders.exhausted:
                left.remove((scenario, orders))
                say(f"{scenario.name}: all {tally.played} orders were played")

    def replay(self, failures: list[dict[str, Any]], explorers: Explorers) -> None:
        """Play failures once more."""
        for failure in failures:
            if "scenario" in failure:
                tally = Tally(failure["scenario"], 1)
                self.tallies.append(tally)
                self._note(tally, explorers.of(BY_NAME[failure["scenario"]]).play(failure["order"]))
            else:
                tally = Tally(f"kill {failure['kill']}", 1)
                self.tallies.append(tally)
                with Kills(self.ferry, failure["seed"], self.logs) as kills:
                    round_ = kills.play(failure["kill"])
                tally.played += 1
                if round_.faults:
                    self._fail(tally, kill=round_.number, source=round_.source, faults=round_.faults, log=round_.log)

    def summary(self) -> str:
        lines = [f"{'':24} {'orders':>8} {'of about':>8} {'failed':>8} {'seconds':>8}"]
        lines += [
            f"{tally.name:24} {tally.played:8} {tally.expected:8} {tally.failed:8} {tally.seconds:8.0f}"
            for tally in self.tallies
        ]
        return "\n".join(lines)

    def _note(self, tally: Tally, played: Played) -> None:
        tally.played += 1
        tally.seconds += played.seconds
        order = turns_text(played.turns)
        say(f"{tally.name} {tally.played}/{tally.expected}, {played.seconds} s: {order}: {_verdict(played.faults)}")
        if played.faults:
            log = self.logs / f"order-{played.scenario}-{tally.played}.log"
            log.write_text(played.printed, encoding="utf-8")
            self._fail(tally, scenario=played.scenario, order=order, faults=played.faults, log=str(log))

    def _fail(self, tally: Tally, **failure: Any) -> None:
        tally.failed += 1
        print(json.dumps({**failure, "seed": self.options.seed}, ensure_ascii=False, default=str), flush=True)


class Explorers:
    """Explorers of scenarios, created at their first use."""

    def __init__(self, ferry: Ferry, scans: LakeScans, opened: ExitStack) -> None:
        self._ferry, self._scans, self._opened = ferry, scans, opened
        self._made: dict[str, Explorer] = {}

    def of(self, scenario: Scenario) -> Explorer:
        if scenario.name not in self._made:
            database = OwnDatabase(scenario.recipe.connection)
            self._opened.callback(database.close)
            self._made[scenario.name] = Explorer(scenario, self._ferry, database, self._scans)
        return self._made[scenario.name]


def main() -> int:
    """Returns 0 where nothing failed, 1 where something failed, 3 where no service answers."""
    options = _options()
    # SIGTERM must remove databases and topics, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.environ.setdefault("LAKEFERRY_SPARK_JAVA_OPTIONS", SMALL_BATCHES)
    try:
        settings = load_settings()
    except LakeferryError as error:
        print(error, file=sys.stderr)
        return 3
    logs = settings.state_dir / "soak"
    logs.mkdir(parents=True, exist_ok=True)
    say(f"Seed {options.seed}; logs of failing runs are in {logs}")
    until = time.monotonic() + options.minutes * 60
    folder = tempfile.TemporaryDirectory(prefix="lakeferry-soak-")
    with folder as name, own_ferry(settings, Path(name)) as ferry:
        soak = Soak(options, ferry, logs, until)
        if options.kills and not options.replay:
            soak.kill(options.kills)
        if options.replay or not options.only_kills:
            with _explorers(settings, ferry) as explorers:
                if options.replay:
                    soak.replay(options.replay, explorers)
                else:
                    soak.explore(options.scenario or [s for s in SCENARIOS if not s.only_named], explorers)
    print(soak.summary())
    print(f"{soak.failed} failed" if soak.failed else "Nothing failed")
    return 1 if soak.failed else 0


@contextmanager
def _explorers(settings: Settings, ferry: Ferry) -> Iterator[Explorers]:
    with local_spark(settings) as spark, ExitStack() as opened:
        yield Explorers(ferry, LakeScans(spark), opened)


def _verdict(faults: list[str]) -> str:
    return f"{len(faults)} faults" if faults else "ok"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make soak", description="Play all orders of concurrent runs, and random kills."
    )
    parser.add_argument("--minutes", type=float, default=float("inf"), help="when to stop; default: once all is played")
    parser.add_argument(
        "--scenario",
        type=_scenario,
        action="append",
        help=f"play this scenario only (repeatable): {', '.join(BY_NAME)}",
    )
    parser.add_argument("--kills", type=int, help=f"number of kills; default: {KILLS}, with --scenario 0")
    parser.add_argument("--only-kills", action="store_true", help="play no orders")
    parser.add_argument("--seed", default="1", help="determines the sequence; default: 1")
    parser.add_argument(
        "--replay", type=_failures, help="play only this failure: its JSON line, or a file of such lines"
    )
    options = parser.parse_args()
    if options.kills is None:
        options.kills = 0 if options.scenario else KILLS
    return options


def _scenario(name: str) -> Scenario:
    if name not in BY_NAME:
        raise argparse.ArgumentTypeError(f"{name}: valid are {', '.join(BY_NAME)}")
    return BY_NAME[name]


def _failures(text: str) -> list[dict[str, Any]]:
    lines = text if text.lstrip().startswith("{") else Path(text).read_text(encoding="utf-8")
    return [json.loads(line) for line in lines.splitlines() if line.startswith("{")]


if __name__ == "__main__":
    sys.exit(main())
