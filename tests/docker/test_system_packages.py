"""System packages for a user who is not root: what is said, and what sudo is asked for. No package is installed:
sudo and apt-get are scripts that write down how they were called."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from local_services import CHECKOUT

pytestmark = pytest.mark.services

# Another user cannot be had everywhere these tests run; who asks is the one thing that is pretended.
SCRIPT = """
import os, sys
os.geteuid = lambda: 1000
sys.path.insert(0, sys.argv.pop(1))
import install, steps
sys.exit(steps.fail_in_words(lambda names: install.install_system_packages(names)))
"""


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    return folder


def _program(folder: Path, name: str, body: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def _install(programs: Path, *packages: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    _program(programs, "apt-get", "true")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(CHECKOUT / "docker" / "native"), *packages],
        env={"PATH": str(programs), "LAKEFERRY_STATE_DIR": str(programs / "state")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    calls = programs / "calls"
    return done, calls.read_text().splitlines() if calls.exists() else []


def test_packages_are_said_before_sudo_installs_them(programs: Path) -> None:
    _program(programs, "sudo", f"printf '%s\\n' \"$*\" >> {programs}/calls")
    done, calls = _install(programs, "maven", "mariadb-server-core")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Installing system packages with sudo: maven mariadb-server-core\n")
    assert calls == [
        "-n true",
        "env DEBIAN_FRONTEND=noninteractive apt-get -q -y update",
        "env DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends maven mariadb-server-core",
    ]


def test_a_sudo_that_wants_a_password_nobody_can_type_is_told(programs: Path) -> None:
    _program(programs, "sudo", "exit 1")
    done, _ = _install(programs, "maven")
    assert done.returncode == 2
    assert "sudo asks for a password. Run this first: sudo apt-get install maven" in done.stderr


def test_without_sudo_the_command_for_root_is_told(programs: Path) -> None:
    done, _ = _install(programs, "maven")
    assert done.returncode == 2
    assert "Not root, and sudo is not here. As root, run: apt-get install maven" in done.stderr


def test_a_font_has_no_program_and_is_missed_by_its_file() -> None:
    program = (
        "import sys, pathlib; sys.path.insert(0, sys.argv[1]); import install; "
        "install.BROWSER = {'sh': 'dash', 'no-such-program': 'some-package'}; "
        "install.FONTS = {pathlib.Path('/nowhere.ttf'): 'a-font', pathlib.Path('/bin/sh'): 'dash'}; "
        "install.install_system_packages = lambda packages: print(*packages); "
        "install.make_browser()"
    )
    command = [sys.executable, "-c", program, str(CHECKOUT / "docker" / "native")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert said == ["some-package", "a-font"]
