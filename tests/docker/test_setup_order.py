"""What `make setup` makes side by side: nothing waits for TiDB's build that does not need it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from jobs.runtime.project import CODE_ROOT

pytestmark = pytest.mark.services

_SETUP = """
import threading, install, kafka, tidb, bigquery
archived = threading.Event()
order = []
def build_tidb():
    order.append("archived" if archived.wait(10) else "TiDB first")
def make_python():
    order.append("python")
def archive_classes():
    order.append("archive")
    archived.set()
install.is_python_ready = install.kafka.is_installed = install.tidb.is_installed = lambda: False
install.bigquery.is_installed = lambda: True
install.missing_system_packages = lambda: []
install.fetch_jars = lambda: order.append("jars")
install.link_jars = lambda: order.append("link")
install.build_tidb, install.make_python, install.archive_classes = build_tidb, make_python, archive_classes
install.setup()
print(*sorted(order[:2]), *order[2:], sep=", ")
"""


def test_sparks_classes_are_archived_while_tidb_is_built() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", _SETUP],
        cwd=CODE_ROOT / "docker" / "native",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == "jars, python, link, archive, archived"
