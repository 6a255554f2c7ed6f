"""Each change that another tool or a person makes to a table of the lake is harmless or refused by name.

`pytest tests/foreign --foreign-seeds 50` plays every kind with fifty seeds; a case's name and seed say all of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.foreign.rounds import Case

if TYPE_CHECKING:
    from tests.foreign.conftest import Rounds


@pytest.mark.timeout(3600)
def test_foreign_operation(case: Case, rounds: Rounds) -> None:
    played = rounds.played(case)
    report = "\n  ".join([str(case), *played.faults, "Failures of the runs:", *played.story])
    assert not played.faults, report
