"""Where the function of a transform is looked for."""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from pyspark import cloudpickle

from connectors.errors import ObjectNotFound
from jobs.stages.transform.user_code import _is_of_folder, find_function


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of pipelines; what the test puts on Python's path and into its modules is taken back."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    return tmp_path


def test_a_module_beside_the_pipelines_is_found(folder: Path) -> None:
    (folder / "sums_of_ours.py").write_text("def daily(inputs, partitions):\n    return 'daily'\n")
    assert find_function("sums_of_ours:daily", folder)({}, None) == "daily"  # type: ignore[comparison-overlap]
    with pytest.raises(ObjectNotFound, match=r"has no function daily_partitions.*daily"):
        find_function("sums_of_ours:daily", folder, "_partitions")


@pytest.mark.services
def test_a_module_that_the_function_imports_when_it_is_called_goes_with_its_code(folder: Path) -> None:
    """Spark's workers cannot import it."""
    (folder / "late_words.py").write_text("SUFFIX = '!'\n\ndef loud(text):\n    return text + SUFFIX\n")
    (folder / "late_sums.py").write_text(
        "def daily(inputs, partitions):\n    from late_words import loud\n    return loud\n"
    )
    function = find_function("late_sums:daily", folder)({}, None)
    program = f"import pickle; print(pickle.loads({cloudpickle.dumps(function)!r})('hey'))"
    elsewhere = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd="/")
    assert (elsewhere.stdout, elsewhere.stderr) == ("hey!\n", "")


def test_a_module_beside_the_pipelines_hides_no_other(folder: Path) -> None:
    (folder / "statistics.py").write_text("raise RuntimeError('the wrong module')\n")
    assert find_function("statistics:mean", folder) is statistics.mean


@pytest.mark.parametrize(
    ("module", "file", "sent"),
    [
        ("sums", "sums.py", True),
        ("mart", "mart/__init__.py", True),
        ("mart.sums", "mart/sums.py", True),
        ("pyspark", ".venv/lib/python3.11/site-packages/pyspark/__init__.py", False),
        ("jobs.stages", "jobs/stages/__init__.py", False),
        ("sums", "elsewhere/sums.py", False),
        ("sys", None, False),
    ],
)
def test_only_modules_found_in_the_folder_go_to_workers_with_their_code(
    tmp_path: Path, module: str, file: str | None, sent: bool
) -> None:
    assert _is_of_folder(module, str(tmp_path / file) if file else None, tmp_path) is sent


def test_a_module_that_is_nowhere_is_named(folder: Path) -> None:
    with pytest.raises(ObjectNotFound, match="transform nowhere_at_all:daily: no module nowhere_at_all"):
        find_function("nowhere_at_all:daily", folder)
