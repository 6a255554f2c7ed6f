"""The tiers: each test has one, and a unit test that opens a socket or starts a process fails."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.tiers import TESTS, TIERS, Guard, tier_of

GUARD = Guard()
GUARD.install()


def connect() -> None:
    with socket.socket() as client:
        client.connect(("127.0.0.1", 9))


def listen() -> None:
    socket.create_server(("127.0.0.1", 0)).close()


def look_up() -> None:
    socket.getaddrinfo("localhost", 80)


def start() -> None:
    subprocess.run([sys.executable, "-c", ""], check=True)


@pytest.mark.services
@pytest.mark.parametrize(
    ("does", "words"),
    [
        (connect, r"open a socket \(connect \('127.0.0.1', 9\)\)"),
        (listen, r"open a socket \(bind \('127.0.0.1', 0\)\)"),
        (look_up, "look up the host 'localhost'"),
        (start, r"start a process \(subprocess.Popen .*python"),
    ],
)
def test_what_a_unit_test_must_not_do_fails_it_even_where_the_error_is_caught(
    does: Callable[[], None], words: str
) -> None:
    expected = pytest.raises(pytest.fail.Exception, match=f"a unit test must not {words}")
    with expected, GUARD.watching(), contextlib.suppress(OSError):
        does()


def test_what_opens_nothing_is_left_alone(tmp_path: Path) -> None:
    with GUARD.watching():
        (tmp_path / "a").write_text("x")
        first, second = socket.socketpair()
        first.close()
        second.close()


@pytest.mark.parametrize(
    ("path", "fixtures", "marked", "tier"),
    [
        ("jobs/test_a.py", ["tmp_path"], [], "unit"),
        ("jobs/test_a.py", ["settings"], [], "services"),
        ("jobs/test_a.py", ["spark", "settings"], [], "spark"),
        ("jobs/test_a.py", ["ferry", "spark", "settings"], [], "e2e"),
        ("jobs/test_a.py", ["tmp_path"], ["services"], "services"),
        ("jobs/test_a.py", ["settings"], ["browser"], "browser"),
        ("e2e/test_a.py", ["tmp_path"], [], "e2e"),
        ("interleavings/test_a.py", ["tmp_path"], [], "spark"),
    ],
)
def test_a_test_has_the_tier_of_the_slowest_it_uses(
    path: str, fixtures: list[str], marked: list[str], tier: str
) -> None:
    assert tier_of(TESTS / path, fixtures, marked) == tier


@pytest.mark.parametrize(
    ("fixtures", "marked", "words"),
    [
        (["settings"], {"unit"}, "a test marked unit uses what makes it services"),
        (["spark"], {"services"}, "a test marked services uses what makes it spark"),
        ([], {"unit", "spark"}, "a test has one tier, not spark and unit"),
    ],
)
def test_a_marker_that_cannot_be_right_is_refused(fixtures: list[str], marked: set[str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        tier_of(TESTS / "jobs/test_a.py", fixtures, marked)


def test_every_collected_test_has_one_tier(request: pytest.FixtureRequest) -> None:
    tiers = {
        item.nodeid: [mark.name for mark in item.iter_markers() if mark.name in TIERS] for item in request.session.items
    }
    assert {name: found for name, found in tiers.items() if len(found) != 1} == {}
