"""Actors that run one at a time, and stop at gates: which goes on at each gate is somebody else's decision.

An actor is a thread. It has a turn from the moment it is sent on to the next of its gates that it reaches, or to its
end; all others stand at gates meanwhile. So what a point of the product says belongs to the actor whose turn it is,
whichever thread says it: stages work in pools of threads, and Spark calls back from threads of its own.
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
from jobs.crash import listening

START = "start"
"""Where an actor stands before its first turn."""
END = "end"
"""What a turn that leads to no further gate ends at."""
TURN_SECONDS = 500
"""How long a turn may take; one takes seconds."""

Turn = tuple[str, str]
"""An actor, and the gate at which its turn ended (or `END`)."""
Work = Callable[[], int]
"""What an actor does; returns its exit code."""


class Abandoned(BaseException):
    """Raised at the gates of actors that are not to go on."""


class Stuck(AssertionError):
    """An actor reached neither a gate nor its end."""


@dataclass
class Actor:
    """One driver. `gates` are the points it stops at; `at` is where it stands, `passed` the last point it came past."""

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
    """A line that was printed during an actor's turn; `record` is its JSON, where it is an event."""

    actor: str
    text: str
    record: Mapping[str, Any] | None = None


@dataclass
class Transcript:
    """What actors print, by actor."""

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
        """The `failed` events of an actor."""
        return [
            line.record
            for line in self.lines
            if line.actor == actor and line.record is not None and line.record["event"] == "failed"
        ]

    def text(self) -> str:
        return "\n".join(f"[{line.actor}] {line.text}" for line in self.lines)


class Scheduler:
    """Runs actors turn by turn. To be entered; actors that have not ended when it is left are abandoned."""

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
        """Actors that have not ended."""
        return [name for name, actor in self.actors.items() if not actor.ended]

    @property
    def speaker(self) -> str:
        """The actor whose turn it is, for what is printed."""
        return self._on_turn.name if self._on_turn else "-"

    def go_on(self, name: str) -> str:
        """Give an actor its turn; returns the gate at which it ended, or `END`.

        Raises:
            Stuck: it took longer than any turn may; what its threads were doing is in the message.
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
        """Give an actor turns until one ends at this gate or it has ended: code that has changed may not come there."""
        while not self.actors[name].ended and self.go_on(name) != gate:
            pass

    def finish(self) -> None:
        """Let all actors go on to their ends, one after the other."""
        for name in self.enabled:
            self.go_on_to(name, END)

    def reached(self, point: str) -> None:
        """The actor whose turn it is has come to a point: its turn ends here where that is one of its gates."""
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
        """Whether this is the last point that the actor whose turn it is came past."""
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
    """`"schedule@publish.commit backfill@end"` → the turns."""
    return [(name, gate) for name, _, gate in (word.partition("@") for word in text.split())]


def turns_text(turns: Iterable[Turn]) -> str:
    """The turns as `parse_turns` reads them."""
    return " ".join(f"{name}@{gate}" for name, gate in turns)


@contextmanager
def unprinted() -> Iterator[StringIO]:
    """Keep what is printed inside."""
    kept = StringIO()
    with redirect_stdout(kept), redirect_stderr(kept):
        yield kept


class _Printed(StringIO):
    """Gives whole lines to a scheduler's transcript."""

    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__()
        self._scheduler = scheduler
        self._lock = threading.Lock()
        self._begun = ""

    def write(self, text: str) -> int:
        with self._lock:
            *whole, self._begun = (self._begun + text).split("\n")
        for line in whole:
            if line:
                self._scheduler.transcript.add(self._scheduler.speaker, line)
        return len(text)

    def isatty(self) -> bool:
        return False


def _stacks() -> str:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    frames: Collection[tuple[int, Any]] = sys._current_frames().items()
    return "\n".join(f"{names.get(ident)}:\n{''.join(traceback.format_stack(frame)[-8:])}" for ident, frame in frames)
