"""An attempt that fails: its own error is raised, unless another driver of the plan has published."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.errors import SourceMoved
from jobs.stages.check.publish import step_back_if_late


class NoOtherDriver:
    """A run in which no other driver has left a receipt, and no table was created yet."""

    def receipt(self, *_: object) -> None:
        return None


def test_the_failure_of_an_attempt_is_raised_as_it_is() -> None:
    def attempt() -> None:
        raise SourceMoved("the topic is gone")

    run: Any = NoOtherDriver()
    with pytest.raises(SourceMoved, match="the topic is gone"):
        step_back_if_late(run, "extract", attempt)
