"""The cost of a contender for a number of rows, as a row of the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from connectors.errors import LakeferryError
from tests.bench.progress import say
from tests.bench.watched import ContenderFailed, Watched


@dataclass(frozen=True)
class Phases:
    """Where Lakeferry's seconds went, one after the other.

    `start` is from the process's start until Spark is ready; `append` is the part of `read_write` after the
    tables are made, until the last slice is in. `proof` compares rows and values with what was read,
    `publish` is the rest of check: keys, and the commit that everybody sees. If several datasets go
    side by side, `proof` and `curated` are the sum of their seconds over how many go at once.
    """

    plan: float
    start: float
    read_write: float
    append: float
    proof: float
    publish: float
    curated: float
    end: float

    @property
    def extract_and_check(self) -> float:
        return self.read_write + self.proof + self.publish


@dataclass(frozen=True)
class Outcome:
    """One measure; Lakeferry's is without the curated merge, which `phases` reports. A failure has no numbers."""

    contender: str
    rows: int
    wall_seconds: float = 0.0
    peak_bytes: int = 0
    cpu_seconds: float = 0.0
    server_cpu_seconds: float | None = None
    others_cpu_seconds: float = 0.0
    phases: Phases | None = None
    failure: str | None = None

    @property
    def whole_seconds(self) -> float:
        """With the curated merge."""
        return self.wall_seconds + (self.phases.curated if self.phases else 0.0)


def of_process(contender: str, rows: int, watched: Watched) -> Outcome:
    """The measure of a contender that is one process with its children."""
    return Outcome(
        contender=contender,
        rows=rows,
        wall_seconds=watched.wall_seconds,
        peak_bytes=watched.peak_bytes(),
        cpu_seconds=watched.cpu_seconds,
        server_cpu_seconds=watched.server_cpu_seconds,
        others_cpu_seconds=watched.others_cpu_seconds,
    )


def tried(contender: str, rows: int, run: Callable[[], Outcome]) -> Outcome:
    """Run a contender; a failure becomes its outcome, and the others go on."""
    say(f"  {contender}, {rows:,} rows")
    try:
        outcome = run()
    except (ContenderFailed, LakeferryError, OSError) as error:
        outcome = Outcome(contender, rows, failure=str(error))
        say(f"    failed: {error}")
        return outcome
    say(f"    {outcome.wall_seconds:.1f} s, {outcome.peak_bytes / 1e6:,.0f} MB")
    return outcome


def median(outcomes: Sequence[Outcome]) -> Outcome:
    """The one whose wall time is in the middle (of two the faster); a failure only where all failed."""
    good = sorted((o for o in outcomes if o.failure is None), key=lambda o: o.wall_seconds)
    return good[(len(good) - 1) // 2] if good else outcomes[0]
