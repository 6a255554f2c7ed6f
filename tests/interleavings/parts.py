"""What scenarios are made of: actors, the gates they stop at, and what their turns read and write.

A run comes past many points (`jobs.crash`). A scenario names those at which it matters who goes on; what lies between
two of them is one turn, and reads and writes all that is read and written between. So a gate that is left out makes
turns longer, never what is said of them wrong.
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
    # Point, what is read from there to the next one, what is written. `mine` is what belongs to the run alone: its
    # plans and receipts, its branches, its rows in quarantine.
    (START, "source raw behind mine", "mine"),
    ("plan.writing", "raw behind mine", "mine"),
    ("extract.before", "source known mine", "mine"),
    ("extract.comparing", "source curated raw mine", "mine"),
    ("extract.compared", "source curated mine", "mine"),
    ("extract.quarantining", "mine", "mine"),
    ("extract.read", "raw mine", "mine"),
    ("check.proved", "raw mine", "mine"),
    ("publish.commit", "raw mine again", "raw mine"),
    ("check.published", "raw curated mine", "mine"),
    ("curated.read", "raw curated", ""),
    ("curated.scanned", "raw curated mine", "curated mine"),
    ("load.before", "raw warehouse mine", "warehouse mine"),
    ("load.committing", "warehouse raw mine", "warehouse mine"),
    ("load.committed", "warehouse mine", "warehouse mine"),
)
"""The points of a run in their order. `behind`, `known` and `again` are spelt out by `footprint`."""
DETOURS = {"publish.following": "publish.commit"}
"""Points a run comes to only where others were faster, and the one at which it is on its way again."""


@dataclass(frozen=True)
class Part:
    """One actor of a scenario.

    Args:
        work: makes its work from the world's copy.
        gates: where it stops.
        owner: whose plans, branches and quarantined rows it works on: runs of one id share them.
        does: where it is no run, what it reads and writes in its only turn, each as a text of names.
        finds_nothing: it has nothing to read; whether it has anything to do, curated says.
        likely: the gates it most likely stops at, where these are not all.
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
        kind: what its dataset is.
        parts: the actors.
        probe: statements that change the source once all is over: what they changed is brought then, and nothing else.
        knows_rows: rows are compared with those of earlier batches as they are read.
        reads_input: what runs read is another dataset of the lake.
        loads: load is one of the things that interleave; else BigQuery is loaded once, at the end.
        named: orders by name, in the notation of `scheduler.parse_turns`: those in which faults were found.
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

    def courses(self) -> list[Course]:
        """The actors as `orders.Orders` knows them."""
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
        """What the turn of a run that begins at a gate may read and write, up to the next gate it stops at."""
        reads: set[str] = set()
        writes: set[str] = set()
        for point, read, written in POINTS[_place(gate) :]:
            if (point in part.gates and point != gate) or (point.startswith("load.") and not self.loads):
                break
            reads |= set(read.split())
            writes |= set(written.split())
        if "again" in reads:
            # A run that came second is planned again within the same turn, and may find nothing left to read.
            reads |= {SOURCE, RAW, CURATED}
        if ("known" in reads and self.knows_rows) or ("behind" in reads and part.finds_nothing):
            reads |= {RAW, CURATED}
        if SOURCE in reads and self.reads_input:
            reads |= {INPUT}
        own = f"run {part.owner or part.name}"
        reads, writes = ({own if name == "mine" else name for name in names} for names in (reads, writes))
        return Footprint(frozenset(reads - {"again", "known", "behind"}), frozenset(writes))


def _place(gate: str) -> int:
    return next(number for number, (point, _, _) in enumerate(POINTS) if point == gate)
