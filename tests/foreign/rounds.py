"""Cases of foreign operations, played in rounds: each case of a round has a dataset of its own."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from tests.foreign.operations_on_content import KINDS
from tests.foreign.oracle import Before, Oracle, open_lake, refusal_faults
from tests.foreign.target import QUARANTINE, Kind, MovedOnError, Target, Undo
from tests.foreign.world import FEW_SLOTS, SLOTS, Cargo, Slot, World

log = logging.getLogger(__name__)
COMPOSITE, TOGETHER = "composite", "together"
_HARMLESS = [kind for kind in KINDS.by_name.values() if kind.harmless and not kind.extracted]
_PACKS = 8
"""In how many cases all harmless kinds are done together. Each takes every eighth in the order they are written: no
other comes out harmless together with an expiry, or is stopped by a property that was set before."""
_FEW_SLOTS = [slot for slot in SLOTS if slot.name in FEW_SLOTS]
_COMPOSITES = 4
"""How many seeds of composites count as one seed of a kind."""


@dataclass(frozen=True)
class Step:
    """One kind on one choice of tables of one dataset: `on_derived`, or the one that is read from the source."""

    kind: Kind
    namespaces: tuple[str, ...]
    on_derived: bool


@dataclass(frozen=True)
class Case:
    name: str
    seed: int
    slot: Slot
    steps: tuple[Step, ...]

    @property
    def id(self) -> str:
        return f"{self.name}-{self.seed}"

    def __str__(self) -> str:
        done = ", ".join(f"{s.kind.name} {'+'.join(s.namespaces)}{' (derived)' * s.on_derived}" for s in self.steps)
        return f"{self.id}: {done} while {self.slot.name}{' (load lags)' * self.slot.lagging}"


def case_of(name: str, seed: int, among: Sequence[Slot] = SLOTS) -> Case:
    """The case a name and a seed stand for, in one of some slots; the same in every process."""
    random = Random(f"{name} {seed}")
    if name == COMPOSITE:
        kinds = random.sample(list(KINDS.by_name.values()), random.choice([2, 3]))
    elif name == TOGETHER:
        kinds = _HARMLESS[seed % _PACKS :: _PACKS]
    else:
        kinds = [KINDS.by_name[name]]
    number = seed if len(kinds) > 1 else list(KINDS.by_name).index(name)
    extracted = any(kind.extracted for kind in kinds)
    slots = [slot for slot in among if slot.under_way == "extracted" or not extracted]
    # Neighbouring kinds have different slots; one seed after the other a kind meets all of them with all its tables.
    slot = slots[(number + 7 * seed) % len(slots)]
    steps = []
    for kind in kinds:
        turn = number + seed if len(kinds) == 1 else random.randrange(len(kind.tables))
        namespaces = kind.tables[turn % len(kind.tables)]
        on_derived = slot.variant == "derived" and (kind.extracted or random.random() < 0.5)
        # Nothing of what is derived here is ever set aside.
        steps.append(Step(kind, namespaces, on_derived and namespaces != (QUARANTINE,)))
    return Case(name, seed, slot, tuple(steps))


def few_cases() -> list[Case]:
    """Every kind once, in few slots: harmless ones together, some to a dataset, the others alone; and composites."""
    apart = [name for name, kind in KINDS.by_name.items() if kind not in _HARMLESS]
    together = [case_of(TOGETHER, seed, _FEW_SLOTS) for seed in range(1, _PACKS + 1)]
    composites = [case_of(COMPOSITE, seed, _FEW_SLOTS) for seed in range(1, _COMPOSITES + 1)]
    return [*together, *(case_of(name, 1, _FEW_SLOTS) for name in apart), *composites]


def many_cases(seeds: int, first: int = 1) -> list[Case]:
    """Every kind alone with so many seeds, and composites."""
    alone = [case_of(name, seed) for seed in range(first, first + seeds) for name in KINDS.by_name]
    many = range((first - 1) * _COMPOSITES + 1, (first + seeds - 1) * _COMPOSITES + 1)
    return alone + [case_of(COMPOSITE, seed) for seed in many]


def in_rounds(wanted: Sequence[Case]) -> list[list[Case]]:
    """The cases in rounds, in each of which no two have the same slot."""
    rounds: list[list[Case]] = []
    for case in wanted:
        free = next((one for one in rounds if all(other.slot != case.slot for other in one)), None)
        if free is None:
            rounds.append([case])
        else:
            free.append(case)
    return rounds


@dataclass
class Played:
    """A case under way: `faults` are what is wrong, `story` the failures of its runs."""

    case: Case
    cargo: Cargo
    before: Before
    random: Random
    faults: list[str] = field(default_factory=list)
    story: list[str] = field(default_factory=list)
    undos: list[Undo] = field(default_factory=list)
    refused: bool = False
    came_through: bool = False
    """Whether any run did since the operation: to undo it then would take back what that run has brought."""
    broken: bool = False

    @property
    def harmless(self) -> bool:
        return self.case.name != COMPOSITE and all(step.kind.harmless for step in self.case.steps)

    @property
    def tables(self) -> list[str]:
        """Names of the tables that were touched."""
        names = []
        for step in self.case.steps:
            dataset = self.cargo.derived if step.on_derived else self.cargo.name
            names += [f"{namespace}.{dataset}" for namespace in step.namespaces]
        return names

    @property
    def words(self) -> list[str]:
        several = [step.kind.words for step in self.case.steps]
        return [word for words in several for word in words] if all(several) else []


def play(world: World, round_: Sequence[Case]) -> dict[str, Played]:
    """Play one round; the cases by id."""
    world.restore()
    oracle = Oracle(open_lake(world.catalog_file, world.ferry.settings.lake), world.ferry.warehouse)
    played = []
    for case in round_:
        cargo = world.cargo[case.slot.name]
        one = Played(case, cargo, oracle.before(cargo), Random(f"{case.id} is done"))
        cargo.random = Random(f"{case.id} goes on")
        _operate(world, one)
        one.before = Before(one.before.warehouse, oracle.curated(cargo), one.before.bad_keys)
        played.append(one)
    going = [one for one in played if not one.broken]
    begun = [one for one in going if one.case.slot.under_way != "nothing"]
    world.resume(one.cargo for one in begun)
    _judge(oracle, begun, "resumed")
    for number, words in enumerate(("first run", "second run")):
        world.change([one.cargo for one in going], bad_row=number == 0)
        world.run(one.cargo for one in going)
        _judge(oracle, going, words)
    undone = [one for one in going if one.refused and not one.came_through and _undo(one)]
    if undone:
        world.run(one.cargo for one in undone)
        _judge(oracle, undone, "after the undo", must_be_whole=True)
    return {one.case.id: one for one in played}


def _operate(world: World, one: Played) -> None:
    alone = one.case.name != COMPOSITE
    for step in one.case.steps:
        dataset = (one.cargo.derived if step.on_derived else None) or one.cargo.name
        for namespace in step.namespaces:
            catalog = open_lake(world.catalog_file, world.ferry.settings.lake)
            target = Target(
                world.spark,
                catalog,
                world.catalog_file,
                world.yesterday,
                world.objects,
                namespace,
                dataset,
                one.random,
            )
            try:
                undo = step.kind.act(target)
            except Exception as error:  # noqa: BLE001 - an operation that cannot be done is a fault
                what = f"{step.kind.name} of {target.path}: {type(error).__name__}: {str(error)[:300]}"
                if alone:
                    one.broken = True
                    one.faults.append(f"the operation itself failed: {what}")
                    return
                one.story.append(f"not possible any more: {what}")
                continue
            if undo is not None:
                one.undos.append(undo)


def _undo(one: Played) -> bool:
    if len(one.undos) < len(one.tables):
        return False
    try:
        for undo in reversed(one.undos):
            undo()
    except MovedOnError:
        return False
    except Exception as error:  # noqa: BLE001 - reported as the case's fault
        if one.case.name != COMPOSITE:
            one.faults.append(f"cannot be undone: {type(error).__name__}: {str(error)[:300]}")
        return False
    return True


def _judge(oracle: Oracle, played: Sequence[Played], when: str, *, must_be_whole: bool = False) -> None:
    for one in played:
        failures = [failure for several in one.cargo.failures.values() for failure in several]
        one.story += [f"{when}: {failure}" for failure in failures]
        faults = []
        for failure in failures:
            wrong = refusal_faults(failure.text, failure.error_type, one.tables, one.words)
            wrong += ["stops the other datasets, too"] if failure.stopped_all else []
            faults += [f"the refusal {fault}" for fault in wrong]
        if failures and (one.harmless or must_be_whole):
            faults.append("refused")
        one.refused = bool(failures)
        one.came_through |= not failures
        moved = one.cargo.name in one.cargo.failures
        if not failures and moved:
            faults += [f"green, and {fault}" for fault in oracle.whole(one.cargo, one.before)]
        else:
            verdict = "refused" if failures else "green"
            faults += [f"{verdict}, and {fault}" for fault in oracle.intact(one.cargo, one.before)]
            if moved and not one.cargo.failures[one.cargo.name]:
                faults += [f"green, and {f}" for f in oracle.whole(one.cargo, one.before, derived=False)]
        one.faults += [f"{when}: {fault}" for fault in dict.fromkeys(faults)]
        verdict = "refused" if failures else "whole"
        log.info("%s | %s | %s | %s", one.case, when, "; ".join(faults) or verdict, "; ".join(map(str, failures)))
