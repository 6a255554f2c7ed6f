"""Where the function of a transform is looked for."""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

import pytest

from connectors.errors import ObjectNotFound
from jobs.stages.transform.user_code import find_function


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of pipelines; what the test puts on Python's path and into its modules is taken back."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    return tmp_path


def test_a_module_beside_the_pipelines_is_found(folder: Path) -> None:
    (folder / "sums_of_ours.py").write_text("def daily(inputs, partitions):\n    return 'daily'\n")
    assert find_function("sums_of_ours:daily", folder)({}, None) == "daily"  # type: ignore[comparison-overlap]
    with pytest.raises(ObjectNotFound, match=r"has no function daily_partitions.*daily"):
        find_function("sums_of_ours:daily", folder, "_partitions")


def test_a_module_beside_the_pipelines_hides_no_other(folder: Path) -> None:
    (folder / "statistics.py").write_text("raise RuntimeError('the wrong module')\n")
    assert find_function("statistics:mean", folder) is statistics.mean


def test_a_module_that_is_nowhere_is_named(folder: Path) -> None:
    with pytest.raises(ObjectNotFound, match="transform nowhere_at_all:daily: no module nowhere_at_all"):
        find_function("nowhere_at_all:daily", folder)
