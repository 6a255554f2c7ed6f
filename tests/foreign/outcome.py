"""The outcome of each dataset of a run, by its events on stdout."""

from __future__ import annotations

import contextlib
import io
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

PLAN_AGAIN = ("LakeMoved", "SourceMoved")


@dataclass(frozen=True)
class Failure:
    """One failure of one dataset. `stopped_all`: the plan of every dataset of the pipeline ended with it."""

    stage: str
    error_type: str
    text: str
    stopped_all: bool = False

    def __str__(self) -> str:
        return f"{self.stage}: {self.error_type}: {self.text}"


@dataclass
class Outcome:
    """The failures by dataset, all that was written, and the highest exit code."""

    failures: dict[str, list[Failure]] = field(default_factory=lambda: defaultdict(list))
    errors: str = ""
    code: int = 0


@contextlib.contextmanager
def listening() -> Iterator[Outcome]:
    """Take in what is written to stdout and stderr, instead of showing it."""
    outcome = Outcome()
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            yield outcome
    finally:
        outcome.errors = err.getvalue()
        for line in out.getvalue().splitlines():
            event = _event(line)
            if event.get("event") == "failed":
                failure = Failure(
                    event.get("stage", "?"), event.get("error_type", "no error type"), event.get("error", "")
                )
                outcome.failures[event.get("dataset", "")].append(failure)


def _event(line: str) -> dict[str, str]:
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}
