"""Planning that reads no source: the child process says what the test says, and the plan is the test's."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lakeferry_airflow import planning

if TYPE_CHECKING:
    import pytest


@dataclass
class Planner:
    """What planning does, and what was asked of it.

    Attributes:
        plans: writes the plan and returns its address; called each time planning is asked for.
        requests: the options of each time: `start`, `end`, `datasets` and what else planning is given.
        run_id: the run that was planned last.
    """

    plans: Callable[[], str] | None = None
    run_id: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    _program: str = ""

    def says(self, *lines: str, code: int = 0) -> None:
        """Have the child write these lines and end with this code."""
        self.plans = None
        self._program = f"for line in {lines!r}: print(line)\nraise SystemExit({code})"

    def fails(self, error: str, code: int) -> None:
        """Have the child end with this code after an error."""
        self.says(error, code=code)

    def dies(self, signal: int) -> None:
        """Have the child be ended by a signal."""
        self.plans = None
        self._program = f"import os; os.kill(os.getpid(), {signal})"

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make this what `Planning` starts."""
        monkeypatch.setattr(planning, "plan_command", self._command)

    def _command(self, pipeline: str, run_id: str, **request: Any) -> list[str]:
        self.run_id = run_id
        self.requests.append(request)
        program = f"print({self.plans()!r})" if self.plans else self._program
        assert program, "the test expects no planning"
        return [sys.executable, "-c", program]
