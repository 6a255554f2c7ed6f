"""The tiers of the suite: which one a test belongs to, and the check that a unit test stays one.

A test has the marker of the slowest thing it uses. Folders and fixtures say most of it; a module whose tests start
something without a fixture says so itself (`pytestmark = pytest.mark.services`). All others are unit tests, and the
guard fails a unit test that opens a socket or starts a process.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
UNIT = "unit"
TIERS = ("e2e", "browser", "spark", "services", UNIT)
"""The markers, slowest first. `pyproject.toml` says what a test of each does."""
FIXTURES = {"ferry": "e2e", "spark": "spark", "settings": "services"}
"""The tier of a test that uses one of these fixtures, directly or through another fixture."""
FOLDERS = {"e2e": "e2e", "foreign": "e2e", "interleavings": "spark"}
"""Folders of `tests/` whose tests all have one tier."""


def tier_of(path: Path, fixtures: Collection[str], marked: Collection[str]) -> str:
    """Return the tier of a test.

    Args:
        path: the test's module.
        fixtures: all its fixtures, those of fixtures included.
        marked: the tiers among the markers that the test or its module has.

    Raises:
        ValueError: it has two of these markers, or one of a faster tier than its fixtures or folder ask for.
    """
    folder = path.relative_to(TESTS).parts[0]
    used = {tier for fixture, tier in FIXTURES.items() if fixture in fixtures}
    if folder in FOLDERS:
        used.add(FOLDERS[folder])
    needed = min(used, key=TIERS.index, default=UNIT)
    if not marked:
        return needed
    if len(marked) > 1:
        raise ValueError(f"a test has one tier, not {' and '.join(sorted(marked))}")
    [tier] = marked
    if TIERS.index(tier) > TIERS.index(needed):
        raise ValueError(f"a test marked {tier} uses what makes it {needed}")
    return tier


class Guard:
    """Refuses sockets and processes while a unit test runs.

    It sees what Python's audit events show (Python's documentation, "Audit events table"): not the sockets that a C
    library opens by itself.
    """

    def __init__(self) -> None:
        self._on = False
        self._refused: list[str] = []

    def install(self) -> None:
        """Add the hook, once per process: Python cannot remove it."""
        sys.addaudithook(self._see)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Refuse within the block. At its end the test fails, also if the code under test caught the error.

        Raises:
            pytest.fail.Exception: something was refused.
        """
        self._on, self._refused = True, []
        try:
            yield
        finally:
            self._on = False
        if self._refused:
            pytest.fail(f"a unit test must not {'; '.join(self._refused)} (tests/support/tiers.py)", pytrace=False)

    def _see(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self._on:
            return
        # Python's module `platform` asks them, once per process, about the machine.
        if event == "subprocess.Popen" and arguments[0] in ("file", "uname"):
            return
        if event in ("socket.connect", "socket.bind", "socket.sendto"):
            self._refuse(f"open a socket ({event.removeprefix('socket.')} {arguments[1]!r})")
        elif event == "socket.getaddrinfo":
            self._refuse(f"look up the host {arguments[0]!r}")
        elif event in ("subprocess.Popen", "os.system", "os.posix_spawn", "os.exec", "os.fork", "os.forkpty"):
            self._refuse(f"start a process ({event} {arguments[0] if arguments else ''})")

    def _refuse(self, what: str) -> None:
        self._refused.append(what)
        raise PermissionError(f"a unit test must not {what}")
