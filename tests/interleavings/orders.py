"""Orders of turns: which are the same, how many there are, and which comes next.

Two neighbouring turns of different actors commute where neither writes what the other reads or writes: in either order
each computes the same, so of orders that differ by such swaps one is enough. Of each such class (a Mazurkiewicz trace)
the one is taken that is first in the order of the actors: whoever could have gone before a later actor's turn, and did
not, may go on only once something has happened that his turn depends on. These are sleep sets (Godefroid,
"Partial-Order Methods for the Verification of Concurrent Systems", chapter 5).

What a turn reads and writes is declared (`scenarios.footprint`). What declares nothing depends on everything.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from tests.interleavings.scheduler import END, START


@dataclass(frozen=True)
class Footprint:
    """What a turn reads and writes, by name."""

    reads: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()
    anything: bool = False

    def commutes_with(self, other: Footprint) -> bool:
        if self.anything or other.anything:
            return False
        return not (self.writes & (other.reads | other.writes) or other.writes & self.reads)


@dataclass(frozen=True)
class Course:
    """One actor as the search knows it. `gates` are those it will most likely stop at, from `START` on; `detours` are
    further ones, each with the gate at which the actor is on its course again. `footprints` are of the turns that begin
    there."""

    name: str
    gates: tuple[str, ...]
    footprints: Mapping[str, Footprint]
    detours: Mapping[str, str] = field(default_factory=dict)

    def rest(self, at: str) -> tuple[str, ...]:
        """The gates that turns are likely to begin at, from this one on."""
        if at == END:
            return ()
        if at in self.detours:
            return (at, *self.rest(self.detours[at]))
        return self.gates[self.gates.index(at) :] if at in self.gates else (at,)

    def footprint(self, at: str) -> Footprint:
        return self.footprints.get(at, Footprint(anything=True))


@dataclass
class _Node:
    """A state of the search: what comes after a beginning of turns. `candidates` are the actors that may go on, known
    from the first visit on; `played` are the orders that went through here."""

    sleeping: frozenset[int]
    candidates: frozenset[int] | None = None
    children: dict[int, _Node] = field(default_factory=dict)
    played: int = 0
    exhausted: bool = False

    def is_open(self, number: int) -> bool:
        return number not in self.children or not self.children[number].exhausted


class Orders:
    """All orders of some actors, each class once, in a random sequence that its seed determines.

    Which gates an actor comes to depends on what the others did, so the orders are found by playing them: begin with
    `begin`, ask `choose` at each turn, and say `ended` when all actors have. What is chosen at random is weighted by
    how many orders are expected behind it, so that those played by any time are a fair sample.
    """

    def __init__(self, courses: Sequence[Course], seed: int) -> None:
        self._courses = tuple(courses)
        self._random = random.Random(seed)
        self._root = _Node(frozenset())
        self._path: list[_Node] = [self._root]
        self._count: Callable[[tuple[tuple[str, ...], ...], frozenset[int]], int] = lru_cache(None)(self._counted)

    @property
    def expected(self) -> int:
        """How many orders there are if actors come to the gates they are likely to."""
        return self._count(tuple(course.rest(START) for course in self._courses), frozenset())

    @property
    def played(self) -> int:
        return self._root.played

    @property
    def exhausted(self) -> bool:
        return self._root.exhausted

    def begin(self) -> None:
        self._path = [self._root]

    def choose(self, at: Mapping[str, str]) -> str | None:
        """Who goes on, given where everybody stands; None where nobody may: what follows is played elsewhere."""
        node = self._path[-1]
        stands = [at[course.name] for course in self._courses]
        weights = {
            number: self._weight(node, number, stands)
            for number, gate in enumerate(stands)
            if gate != END and number not in node.sleeping
        }
        if node.candidates is None:
            node.candidates = frozenset(number for number, weight in weights.items() if weight)
        going = [number for number in node.candidates if weights.get(number) and node.is_open(number)]
        if not going:
            return None
        [chosen] = self._random.choices(going, [weights[number] for number in going])
        if chosen not in node.children:
            node.children[chosen] = _Node(self._sleeping(node.sleeping, chosen, stands))
        self._path.append(node.children[chosen])
        return self._courses[chosen].name

    def ended(self, *, played: bool = True) -> None:
        """The order that was begun has come to its end; `played` is false where nobody might go on any more."""
        self._path[-1].exhausted = True
        for node in reversed(self._path):
            node.played += played
            if node.candidates is not None:
                node.exhausted = node.exhausted or not any(map(node.is_open, node.candidates))
        self._path = [self._root]

    def _weight(self, node: _Node, number: int, stands: Sequence[str]) -> int:
        child = node.children.get(number)
        rests = [course.rest(gate) for course, gate in zip(self._courses, stands, strict=True)]
        sleeping = self._sleeping(node.sleeping, number, stands)
        rests[number] = rests[number][1:]
        count = self._count(tuple(rests), sleeping)
        return count if child is None else max(count - child.played, 1)

    def _sleeping(self, sleeping: frozenset[int], chosen: int, stands: Sequence[str]) -> frozenset[int]:
        step = self._courses[chosen].footprint(stands[chosen])
        return frozenset(
            number
            for number, gate in enumerate(stands)
            if number != chosen
            and gate != END
            and (number in sleeping or number < chosen)
            and self._courses[number].footprint(gate).commutes_with(step)
        )

    def _counted(self, rests: tuple[tuple[str, ...], ...], sleeping: frozenset[int]) -> int:
        if not any(rests):
            return 1
        # What turns of a detour read and write, the turn that led to it is declared to read and write, too.
        stands = [rest[0] if rest else END for rest in rests]
        total = 0
        for number, rest in enumerate(rests):
            if rest and number not in sleeping:
                after = (*rests[:number], rest[1:], *rests[number + 1 :])
                total += self._count(after, self._sleeping(sleeping, number, stands))
        return total
