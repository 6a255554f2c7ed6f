"""The parts of a scenario: actors, their gates, and the reads and writes of their turns.

A run reaches many crash points (`jobs.runtime.fault_points`). A scenario selects the points that serve as gates. A turn
comprises everything between two gates and reads and writes all that the points between them declare. So a scenario may
leave out any gate: the turns become longer, and the declared reads and writes stay right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.interleavings.oracle import Kind
from tests.interleavings.orders import Course, Footprint
from tests.interleavings.scheduler import END, START, Work
from tests.interleavings.worlds import Place, Recipe

SOURCE, RAW, CURATED, INPUT = "source", "raw", "curated", "input"

POINTS: tuple[tuple[str, str, str], ...] = (
    # A point, and what the code reads and writes from there to the next point. `mine` is what belongs to one run: its
    # plans, receipts and quarantined rows. `branch` is its branches, `branches` those of all runs.
    (START, "source raw behind mine", "mine"),
    ("plan.writing", "raw behind mine", "mine"),
    ("extract.before", "source known mine branch", "mine branch"),
    ("extract.comparing", "source curated raw mine branch", "mine branch"),
    ("extract.compared", "source curated mine branch", "mine branch"),
    ("extract.quarantining", "mine branch", "mine branch"),
    ("extract.read", "raw mine branch", "mine branch"),
    ("check.proved", "raw mine branch", "mine"),
    # The commit was prepared with metadata of the whole table: any other reference that moves makes it conflict.
    ("publish.commit", "raw mine branches again", "raw mine branch"),
    ("check.published", "raw curated mine", "mine"),
    ("curated.read", "raw curated", ""),
    ("curated.scanned", "raw curated mine", "curated mine"),
    ("load.before", "raw warehouse mine", "warehouse mine"),
    ("load.committing", "warehouse raw mine", "warehouse mine"),
    ("load.committed", "warehouse mine", "warehouse mine"),
)
"""The points of a run in order. `Scenario` expands `behind`, `known`, `again` and `branches`."""
DETOURS = {"publish.following": "publish.commit"}
"""Points that a run reaches only after another run was faster, and the point that follows on each."""


@dataclass(frozen=True)
class Part:
    """One actor of a scenario.

    Args:
        work: returns the actor's work in a copy of the world.
        gates: points at which it stops.
        owner: the run id whose plans, branches and quarantined rows it uses; default: its own name.
        does: for an actor that is no run: the names that its turn reads, and those that it writes.
        finds_nothing: the source has nothing new for it; curated decides whether it has work.
        likely: the gates at which it is expected to stop, where these are not all.
    """

    name: str
    work: Callable[[Place], Work]
    gates: Sequence[str] = ()
    owner: str = ""
    does: tuple[str, str] | None = None
    finds_nothing: bool = False
    likely: Sequence[str] | None = None


@dataclass(frozen=True)
class Scenario:
    """A world and its actors.

    Args:
        recipe: the world.
        kind: the oracle's view of its dataset.
        parts: the actors.
        probe: statements that change the source at the end; the next run must deliver these changes and nothing else.
        knows_rows: extract compares rows with those of earlier batches.
        reads_input: runs read another dataset of the lake.
        loads: load takes part in the interleaving. Otherwise BigQuery is loaded once, at the end.
        named: the orders that CI plays, in the notation of `scheduler.parse_turns`.
        only_named: the soak does not play all orders.
    """

    name: str
    recipe: Recipe
    kind: Kind
    parts: Sequence[Part]
    probe: Sequence[str]
    knows_rows: bool = False
    reads_input: bool = False
    loads: bool = False
    named: Mapping[str, str] = field(default_factory=dict)
    only_named: bool = False

    def courses(self) -> list[Course]:
        """The actors as `orders.Orders` sees them."""
        return [self._course(part) for part in self.parts]

    def _course(self, part: Part) -> Course:
        if part.does is not None:
            reads, writes = (frozenset(text.split()) for text in part.does)
            return Course(part.name, (START,), {START: Footprint(reads, writes)})
        gates = (START, *(point for point, _, _ in POINTS if point in part.gates))
        likely = gates if part.likely is None else (START, *part.likely)
        footprints = {gate: self._footprint(gate, part) for gate in gates}
        detours = {}
        for gate, back in DETOURS.items():
            if gate in part.gates:
                detours[gate] = next((g for g in likely if _place(g) >= _place(back)), END)
                footprints[gate] = self._footprint("publish.commit", part)
        return Course(part.name, likely, footprints, detours)

    def _footprint(self, gate: str, part: Part) -> Footprint:
        """The footprint of a run's turn that begins at a gate."""
        reads: set[str] = set()
        writes: set[str] = set()
        for point, read, written in POINTS[_place(gate) :]:
            if (point in part.gates and point != gate) or (point.startswith("load.") and not self.loads):
                break
            reads |= set(read.split())
            writes |= set(written.split())
        if "again" in reads:
            # A run that was overtaken is planned again within the same turn, and may find nothing to read.
            reads |= {SOURCE, RAW, CURATED}
        if ("known" in reads and self.knows_rows) or ("behind" in reads and part.finds_nothing):
            reads |= {RAW, CURATED}
        if SOURCE in reads and self.reads_input:
            reads |= {INPUT}
        if "branches" in reads:
            reads |= {f"branch of {other.owner or other.name}" for other in self.parts}
        owner = part.owner or part.name
        own = {"mine": f"run {owner}", "branch": f"branch of {owner}"}
        reads, writes = ({own.get(name, name) for name in names} for names in (reads, writes))
        return Footprint(frozenset(reads - {"again", "known", "behind", "branches"}), frozenset(writes))


def _place(gate: str) -> int:
    return next(number for number, (point, _, _) in enumerate(POINTS) if point == gate)
