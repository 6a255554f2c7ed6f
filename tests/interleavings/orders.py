"""The search through all orders of turns, with partial-order reduction.

Two adjacent turns of different actors commute where neither writes what the other reads or writes. Orders that differ
by swaps of such turns lead to the same state; they form a class (a Mazurkiewicz trace), of which the search plays one.
It uses sleep sets (Godefroid, "Partial-Order Methods for the Verification of Concurrent Systems", chapter 5): an actor
that was passed over for a later one stays asleep until a turn that its next turn depends on.

Reads and writes of turns are declared (`parts.Scenario`). An undeclared turn depends on every other.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from tests.interleavings.scheduler import END, START


@dataclass(frozen=True)
class Footprint:
    """Names of the state that a turn reads and writes. `anything`: unknown."""

    reads: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()
    anything: bool = False

    def commutes_with(self, other: Footprint) -> bool:
        if self.anything or other.anything:
            return False
        return not (self.writes & (other.reads | other.writes) or other.writes & self.reads)


@dataclass(frozen=True)
class Course:
    """One actor as the search sees it.

    Args:
        gates: gates at which it is expected to stop, from `START` on.
        footprints: of the turns that begin at a gate.
        detours: further gates, each with the gate at which the actor is back on its course.
    """

    name: str
    gates: tuple[str, ...]
    footprints: Mapping[str, Footprint]
    detours: Mapping[str, str] = field(default_factory=dict)

    def rest(self, at: str) -> tuple[str, ...]:
        """The gates at which further turns are expected to begin, this one included."""
        if at == END:
            return ()
        if at in self.detours:
            return (at, *self.rest(self.detours[at]))
        return self.gates[self.gates.index(at) :] if at in self.gates else (at,)

    def footprint(self, at: str) -> Footprint:
        return self.footprints.get(at, Footprint(anything=True))


@dataclass
class _Node:
    """A node of the search tree: a prefix of turns.

    Args:
        candidates: actors that may have the next turn; known after the first visit.
        played: number of complete orders with this prefix.
    """

    sleeping: frozenset[int]
    candidates: frozenset[int] | None = None
    children: dict[int, _Node] = field(default_factory=dict)
    played: int = 0
    exhausted: bool = False

    def is_open(self, number: int) -> bool:
        return number not in self.children or not self.children[number].exhausted


class Orders:
    """All orders of some actors, one of each class, in a random sequence that the seed determines.

    The gates of an actor depend on the turns of the others, so the search runs along with the actors: call `begin`,
    then `choose` for each turn, and `ended` once all actors have ended. Each random choice is weighted by the number
    of orders that are expected behind it, so the orders played so far are a fair sample of all.
    """

    def __init__(self, courses: Sequence[Course], seed: int) -> None:
        self._courses = tuple(courses)
        self._random = random.Random(seed)
        self._root = _Node(frozenset())
        self._path: list[_Node] = [self._root]
        self._count: Callable[[tuple[tuple[str, ...], ...], frozenset[int]], int] = lru_cache(None)(self._counted)

    @property
    def expected(self) -> int:
        """Number of orders where all actors stop at the expected gates."""
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
        """The actor that has the next turn.

        Args:
            at: the gate of each actor.

        Returns:
            None where every continuation belongs to a class that is played with another prefix.
        """
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
        """End the current order. `played`: all actors have ended; false after `choose` returned None."""
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
        # Detours change nothing here: the footprint of the turn before a detour includes those of the detour.
        stands = [rest[0] if rest else END for rest in rests]
        total = 0
        for number, rest in enumerate(rests):
            if rest and number not in sleeping:
                after = (*rests[:number], rest[1:], *rests[number + 1 :])
                total += self._count(after, self._sleeping(sleeping, number, stands))
        return total
