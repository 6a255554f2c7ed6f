"""The example of a source as a package of its own (docs/examples/lakeferry-http-log): installed, tested, and run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from connectors import registry
from jobs.runtime.project import CODE_ROOT
from tests.e2e.ferry import Ferry

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

EXAMPLE = CODE_ROOT / "docs/examples/lakeferry-http-log"
BUILD = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
TOKEN = "a-token"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's wheel, built by its own build backend from a copy: setuptools writes beside the source."""
    folder = tmp_path_factory.mktemp("example")
    shutil.copytree(EXAMPLE, folder / "source")
    subprocess.run(
        [sys.executable, "-c", BUILD, str(folder)], cwd=folder / "source", check=True, capture_output=True, timeout=60
    )
    [wheel] = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    """A folder into which the wheel is installed: one of pure Python is a zip of what belongs there."""
    folder = wheel.parent / "installed"
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(folder)
    return folder


@pytest.fixture
def importable(installed: Path, wheel: Path, spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The installation on this process's path, and for Spark's workers as on EMR: a zip."""
    monkeypatch.syspath_prepend(str(installed))
    monkeypatch.syspath_prepend(str(EXAMPLE / "tests"))
    # Spark takes a zip by its name.
    shutil.copyfile(wheel, wheel.with_suffix(".zip"))
    spark.sparkContext.addPyFile(str(wheel.with_suffix(".zip")))
    registry.source_class.cache_clear()
    registry._offered.cache_clear()
    yield
    registry.source_class.cache_clear()
    registry._offered.cache_clear()


def test_the_example_passes_the_conformance_suite(installed: Path) -> None:
    path = os.pathsep.join([str(installed), str(CODE_ROOT)])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, str(EXAMPLE / "tests")]
    done = subprocess.run(
        [*command, f"--rootdir={EXAMPLE}"],
        env=os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # What it does not offer is skipped: columns, scans of keys, samples.
    assert "13 passed, 3 skipped" in done.stdout


def test_a_pipeline_of_the_example_is_planned_and_loaded(
    ferry: Ferry, importable: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = import_module("log_server").LogServer()
    try:
        monkeypatch.setenv("AIRFLOW_CONN_SHOP_LOG", f"http://:{TOKEN}@127.0.0.1:{server.port}")
        server.logs["orders"] = ['{"id": 1, "amount": 1.10}', '{"id": 2}', '{"id": "three"}']
        target = ferry.warehouse_dataset()
        text = (EXAMPLE / "pipelines/orders.yaml").read_text(encoding="utf-8")
        pipeline = ferry.spec(text.replace("shop.orders", f"{target}.orders"))
        first = ferry.run(pipeline)
        server.logs["orders"] += ['{"id": 2, "amount": 2.50, "note": "paid"}']
        second = ferry.run(pipeline)
    finally:
        server.close()
    assert (first.code, second.code) == (0, 0)
    published = [ran.receipt("check", "orders").published for ran in (first, second)]
    quarantined = [ran.receipt("check", "orders").quarantined for ran in (first, second)]
    assert (published, quarantined) == ([2, 1], [1, 0])
    rows = ferry.warehouse.query(f"SELECT id, amount, note FROM {target}.orders ORDER BY id").result()
    assert [tuple(row) for row in rows] == [(1, Decimal("1.1"), None), (2, Decimal("2.5"), "paid")]
