"""A scheduler for actors that run one at a time and stop at gates.

An actor is a thread. A turn lasts from the moment the scheduler resumes the actor until the actor reaches its next gate
or ends. All other actors wait at their gates meanwhile. A crash point (`jobs.runtime.fault_points`) therefore belongs
to the actor whose turn it is, whichever thread reaches it: stages use thread pools, and Spark calls back from its own
threads.
"""

from __future__ import annotations

import json
import sys
import threading
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

from connectors.errors import LakeferryError
from jobs.runtime.fault_points import listening

START = "start"
"""The gate of an actor before its first turn."""
END = "end"
"""The gate of an actor that has ended."""
TURN_SECONDS = 500
"""Limit of a turn. A turn takes seconds."""

Turn = tuple[str, str]
"""The name of an actor, and the gate at which its turn ended."""
Work = Callable[[], int]
"""The work of an actor; returns an exit code."""


class Abandoned(BaseException):
    """Raised at the gate of an actor that is not resumed any more."""


class Stuck(AssertionError):
    """An actor reached neither a gate nor its end within the limit."""


@dataclass
class Actor:
    """One actor.

    Args:
        gates: crash points at which it stops.
        at: the gate at which it waits.
        passed: the last crash point that it reached.
    """

    name: str
    work: Work
    gates: frozenset[str]
    at: str = START
    passed: str = START
    exit_code: int | None = None
    error: BaseException | None = None
    thread: threading.Thread | None = None

    @property
    def ended(self) -> bool:
        return self.at == END


@dataclass
class Line:
    """A line that was printed during an actor's turn. `record` is the parsed line where it is a progress event."""

    actor: str
    text: str
    record: Mapping[str, Any] | None = None


@dataclass
class Transcript:
    """The output of all actors."""

    lines: list[Line] = field(default_factory=list)

    def add(self, actor: str, text: str) -> None:
        record: Any = None
        if text.startswith("{"):
            try:
                record = json.loads(text)
            except ValueError:
                record = None
        self.lines.append(Line(actor, text, record if isinstance(record, dict) and "event" in record else None))

    def failures(self, actor: str) -> list[Mapping[str, Any]]:
        """Returns the `failed` events of an actor."""
        return [
            line.record
            for line in self.lines
            if line.actor == actor and line.record is not None and line.record["event"] == "failed"
        ]

    def text(self) -> str:
        return "\n".join(f"[{line.actor}] {line.text}" for line in self.lines)


class Scheduler:
    """Runs actors turn by turn. Leaving the context abandons actors that have not ended."""

    def __init__(self, actors: Sequence[Actor]) -> None:
        self.actors = {actor.name: actor for actor in actors}
        self.turns: list[Turn] = []
        self.transcript = Transcript()
        self._changed = threading.Condition()
        self._on_turn: Actor | None = None
        self._abandoned = False
        self._opened = ExitStack()

    def __enter__(self) -> Scheduler:
        self._opened.enter_context(listening(lambda point, _dataset: self.reached(point)))
        self._opened.enter_context(redirect_stdout(_Printed(self)))
        self._opened.enter_context(redirect_stderr(_Printed(self)))
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()
        for actor in self.actors.values():
            if actor.thread is not None:
                actor.thread.join(TURN_SECONDS)
        self._opened.close()

    @property
    def enabled(self) -> list[str]:
        """Names of the actors that have not ended."""
        return [name for name, actor in self.actors.items() if not actor.ended]

    @property
    def speaker(self) -> str:
        """The actor whose turn it is, as the transcript names it."""
        return self._on_turn.name if self._on_turn else "-"

    def go_on(self, name: str) -> str:
        """Run one turn of an actor; returns the gate at which the turn ended.

        Raises:
            Stuck: the turn exceeded `TURN_SECONDS`. The message has the stacks of all threads.
        """
        actor = self.actors[name]
        assert not actor.ended, f"{name} has ended"
        with self._changed:
            self._on_turn = actor
            if actor.thread is None:
                actor.thread = threading.Thread(target=self._run, args=(actor,), name=name, daemon=True)
                actor.thread.start()
            self._changed.notify_all()
            if not self._changed.wait_for(lambda: self._on_turn is None, TURN_SECONDS):
                raise Stuck(f"{name} reached no gate from {actor.at} in {TURN_SECONDS} s:\n{_stacks()}")
        self.turns.append((name, actor.at))
        return actor.at

    def go_on_to(self, name: str, gate: str) -> None:
        """Run turns of an actor until one ends at this gate, or the actor ends without reaching it."""
        while not self.actors[name].ended and self.go_on(name) != gate:
            pass

    def finish(self) -> None:
        """Run all actors to their ends, one after the other."""
        for name in self.enabled:
            self.go_on_to(name, END)

    def reached(self, point: str) -> None:
        """Record that the current actor reached a point; end its turn and wait where the point is one of its gates."""
        with self._changed:
            actor = self._on_turn
            if actor is None:
                return
            actor.passed = point
            if point not in actor.gates:
                return
            actor.at = point
            self._on_turn = None
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._on_turn is actor or self._abandoned)
            if self._abandoned:
                raise Abandoned(point)

    def passed_last(self, point: str) -> bool:
        """Whether the current actor reached this point last."""
        return self._on_turn is not None and self._on_turn.passed == point

    def _run(self, actor: Actor) -> None:
        try:
            actor.exit_code = actor.work()
        except LakeferryError as error:
            actor.exit_code, actor.error = error.exit_code, error
        except BaseException as error:  # noqa: BLE001 - it is reported as this actor's outcome
            actor.error = error
            self.transcript.add(actor.name, traceback.format_exc())
        with self._changed:
            actor.at = END
            if self._on_turn is actor:
                self._on_turn = None
            self._changed.notify_all()


def parse_turns(text: str) -> list[Turn]:
    """Parse turns such as `schedule@publish.commit backfill@end`."""
    return [(name, gate) for name, _, gate in (word.partition("@") for word in text.split())]


def turns_text(turns: Iterable[Turn]) -> str:
    """Write turns as `parse_turns` reads them."""
    return " ".join(f"{name}@{gate}" for name, gate in turns)


@contextmanager
def unprinted() -> Iterator[StringIO]:
    """Capture stdout and stderr."""
    captured = StringIO()
    with redirect_stdout(captured), redirect_stderr(captured):
        yield captured


class _Printed(StringIO):
    """A stream that adds whole lines to a scheduler's transcript."""

    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__()
        self._scheduler = scheduler
        self._lock = threading.Lock()
        self._rest = ""

    def write(self, text: str) -> int:
        with self._lock:
            *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            if line:
                self._scheduler.transcript.add(self._scheduler.speaker, line)
        return len(text)

    def isatty(self) -> bool:
        return False


def _stacks() -> str:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    frames: Collection[tuple[int, Any]] = sys._current_frames().items()
    return "\n".join(f"{names.get(ident)}:\n{''.join(traceback.format_stack(frame)[-8:])}" for ident, frame in frames)
