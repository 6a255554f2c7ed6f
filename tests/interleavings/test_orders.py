"""The search plays exactly one order of each class. All permutations give the expected classes."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations

import pytest

from tests.interleavings.orders import Course, Footprint, Orders
from tests.interleavings.scheduler import END, START

Word = tuple[tuple[str, str], ...]


def _footprint(reads: str, writes: str = "") -> Footprint:
    return Footprint(frozenset(reads), frozenset(writes))


def _run(name: str) -> Course:
    """An actor that reads a log, publishes into it, and merges it."""
    steps = {START: _footprint("l"), "publish": _footprint("l", "l"), "merge": _footprint("lc", "c")}
    return Course(name, tuple(steps), steps)


LOADER = Course("loader", (START, "commit"), {START: _footprint("lw"), "commit": _footprint("", "w")})
WRITER = Course("writer", (START,), {START: _footprint("", "s")})
COMPACTION = Course("compaction", (START,), {START: _footprint("l", "l")})
UNKNOWN = Course("unknown", (START, "x"), {})


@pytest.mark.parametrize(
    "courses",
    [
        [_run("one"), _run("other")],
        [_run("one"), _run("other"), COMPACTION],
        [COMPACTION, _run("one"), LOADER],
        [_run("one"), LOADER, WRITER],
        [LOADER, UNKNOWN, WRITER],
    ],
    ids=lambda courses: " ".join(course.name for course in courses),
)
@pytest.mark.parametrize("seed", [1, 2])
def test_each_class_is_played_once(courses: list[Course], seed: int) -> None:
    by_name = {course.name: course for course in courses}
    orders = Orders(courses, seed)
    words = _all_played(orders, by_name)
    classes = [_class_of(word, by_name) for word in words]
    assert len(set(classes)) == len(classes) == orders.expected == orders.played
    assert set(classes) == {_class_of(word, by_name) for word in _permuted(courses)}


def test_a_seed_determines_the_sequence() -> None:
    courses = [_run("one"), _run("other"), COMPACTION]
    by_name = {course.name: course for course in courses}
    one, same, other = (_all_played(Orders(courses, seed), by_name) for seed in (5, 5, 6))
    assert one == same
    assert one != other
    assert sorted(one) == sorted(other)


def test_a_detour_is_searched() -> None:
    """A run that was overtaken stops at a further gate."""
    steps = {START: _footprint("l"), "publish": _footprint("l", "l"), "follow": _footprint("l", "l")}
    courses = [Course(name, (START, "publish"), steps, {"follow": "publish"}) for name in ("one", "other")]
    orders = Orders(courses, 1)
    words = set()
    while not orders.exhausted:
        at = {course.name: START for course in courses}
        log, seen = 0, dict.fromkeys(at, 0)
        word = []
        orders.begin()
        while any(gate != END for gate in at.values()):
            name = orders.choose(at)
            assert name is not None
            word.append((name, at[name]))
            if at[name] != "publish":
                seen[name], at[name] = log, "publish"
            elif seen[name] == log:
                log, at[name] = log + 1, END
            else:
                at[name] = "follow"
        orders.ended()
        words.add(tuple(word))
    one, other = ("one", START), ("other", START)
    assert words == {
        (one, ("one", "publish"), other, ("other", "publish")),
        (other, ("other", "publish"), one, ("one", "publish")),
        (one, other, ("one", "publish"), ("other", "publish"), ("other", "follow"), ("other", "publish")),
        (one, other, ("other", "publish"), ("one", "publish"), ("one", "follow"), ("one", "publish")),
    }


def _all_played(orders: Orders, by_name: Mapping[str, Course]) -> list[Word]:
    words = []
    while not orders.exhausted:
        at = dict.fromkeys(by_name, START)
        word = []
        orders.begin()
        while any(gate != END for gate in at.values()):
            name = orders.choose(at)
            assert name is not None, "no order turned out to be played elsewhere"
            word.append((name, at[name]))
            gates = by_name[name].gates
            at[name] = gates[gates.index(at[name]) + 1] if at[name] != gates[-1] else END
        orders.ended()
        words.append(tuple(word))
    return words


def _permuted(courses: list[Course]) -> set[Word]:
    names = [course.name for course in courses for _ in course.gates]
    words = set()
    for names_in_order in set(permutations(names)):
        left = {course.name: list(course.gates) for course in courses}
        words.add(tuple((name, left[name].pop(0)) for name in names_in_order))
    return words


def _class_of(word: Word, by_name: Mapping[str, Course]) -> frozenset[tuple[tuple[str, str], tuple[str, str]]]:
    """The pairs of turns that do not commute, in their order. They identify the class of a word."""
    return frozenset(
        (one, other)
        for number, one in enumerate(word)
        for other in word[number + 1 :]
        if one[0] == other[0]
        or not by_name[one[0]].footprint(one[1]).commutes_with(by_name[other[0]].footprint(other[1]))
    )
