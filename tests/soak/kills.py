"""SIGKILL of real `lakeferry run` processes at random times, while a writer changes the source.

In a round a writer starts, one or two runs start and are killed after a random time, and the writer stops. Runs are
then repeated until they succeed, and the oracle compares every value with the source. A kill ends either all processes
of a run or the command alone, as when a task runner dies. In the second case Spark continues beside the repeated run.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.bench.proc import processes_of
from tests.e2e.ferry import Ferry
from tests.interleavings.oracle import Oracle
from tests.soak.live_sources import MAKERS, LiveSource, Writer

GREEN_AFTER = 6
"""Attempts within which a run must succeed that is not killed. A surviving Spark application may make some fail."""
ROUNDS_OF_A_TABLE = 10
"""Rounds after which a source and its dataset are replaced by new ones: the oracle reads whole histories."""
RUN_SECONDS = 900
REST_SECONDS = 300
"""Limit for processes that survive a kill."""


@dataclass
class Round:
    """The result of a round. `killed` describes each kill; `log` is the output of all its runs where there are
    faults."""

    number: int
    source: str
    killed: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0
    log: str = ""


class Kills:
    """Rounds over all kinds of sources in turn. Seed and number determine the random choices of a round."""

    def __init__(self, ferry: Ferry, seed: str, logs: Path) -> None:
        self._ferry, self._seed, self._logs = ferry, seed, logs
        self._ferried: dict[int, _Ferried] = {}
        self._opened = ExitStack()

    def __enter__(self) -> Kills:
        return self

    def __exit__(self, *_: object) -> None:
        for ferried in self._ferried.values():
            ferried.source.close()

    def play(self, number: int) -> Round:
        """Play the round of this number."""
        started = time.monotonic()
        turn, which = divmod(number, len(MAKERS))
        if which not in self._ferried or turn % ROUNDS_OF_A_TABLE == 0:
            self._make(which)
        ferried = self._ferried[which]
        random = Random(f"{self._seed} {number}")
        round_ = Round(number, ferried.source.name)
        log = self._logs / f"kill-{number}.log"
        with log.open("w", encoding="utf-8") as output:
            ferried.play(round_, random, output.fileno())
        round_.seconds = round(time.monotonic() - started, 1)
        if round_.faults:
            round_.log = str(log)
            # The next round would report the same faults.
            self._make(which)
        else:
            log.unlink()
        return round_

    def _make(self, which: int) -> None:
        old = self._ferried.pop(which, None)
        if old is not None:
            old.source.close()
        self._ferried[which] = _Ferried(self._ferry, MAKERS[which]())


class _Ferried:
    """A live source and its pipeline."""

    def __init__(self, ferry: Ferry, source: LiveSource) -> None:
        self._ferry, self.source = ferry, source
        dataset = ferry.warehouse_dataset()
        self._name = f"soak_{dataset}"
        self._target = f"{dataset}.t"
        suite = f"\n    expectations: {ferry.suite(self._name, source.suite)}" if source.suite else ""
        ferry.spec(
            f"pipeline: {self._name}\nsource: {source.head}\ndatasets:\n  - name: {self._name}\n"
            f"    {source.keys}{suite}\n    bigquery: {{table: {self._target}}}\n"
        )
        began = time.monotonic()
        code = self._run(subprocess.DEVNULL, "first").wait(RUN_SECONDS)
        assert code == 0, f"the first run of {source.name} failed with {code}"
        self._usual_seconds = time.monotonic() - began

    def play(self, round_: Round, random: Random, output: int) -> None:
        left: list[subprocess.Popen[bytes]] = []
        try:
            with Writer(self.source, random):
                for kill in range(random.randint(1, 2)):
                    # The second run continues the first one, or is another.
                    run_id = f"round-{round_.number}-{kill * random.randint(0, 1)}"
                    left.append(self._killed(round_, random, output, run_id))
            self.source.settle()
            if random.random() < 0.5:
                self._until_green(round_, output, f"round-{round_.number}-0")
            self._until_green(round_, output, f"round-{round_.number}-last")
        finally:
            for process in left:
                _rest(process)
        # Surviving processes may have published a batch.
        self._until_green(round_, output, f"round-{round_.number}-after")
        oracle = Oracle(self._name, self._target, self.source.kind, self.source.rows, self._ferry.warehouse)
        seen = oracle.look(loaded=True)
        oracle.check_log(seen)
        oracle.check_delivered(seen)
        round_.faults += oracle.faults

    def _killed(self, round_: Round, random: Random, output: int, run_id: str) -> subprocess.Popen[bytes]:
        after = random.uniform(0, self._usual_seconds)
        everything = random.random() < 0.5
        process = self._run(output, run_id)
        try:
            code = process.wait(after)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                (os.killpg if everything else os.kill)(process.pid, signal.SIGKILL)
            process.wait()
            round_.killed.append(f"{run_id} after {after:.1f} s, {'all of it' if everything else 'the command alone'}")
        else:
            round_.killed.append(f"{run_id} had ended with {code} before {after:.1f} s")
        return process

    def _until_green(self, round_: Round, output: int, run_id: str) -> None:
        codes = []
        for _ in range(GREEN_AFTER):
            process = self._run(output, run_id)
            try:
                codes.append(process.wait(RUN_SECONDS))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                round_.faults.append(f"run {run_id} did not end within {RUN_SECONDS} s")
                return
            if codes[-1] == 0:
                return
        round_.faults.append(f"run {run_id} failed {len(codes)} times, with {codes}")

    def _run(self, output: int, run_id: str) -> subprocess.Popen[bytes]:
        command = [str(Path(sys.executable).parent / "lakeferry"), "run", self._name, "--run-id", run_id]
        return subprocess.Popen(
            command,
            env=self._ferry.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _rest(process: subprocess.Popen[bytes]) -> None:
    """Wait for the processes of a killed command's session."""
    deadline = time.monotonic() + REST_SECONDS
    while processes_of(process.pid):
        if time.monotonic() > deadline:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            return
        time.sleep(0.2)
