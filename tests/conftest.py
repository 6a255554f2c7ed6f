"""Fixtures that every test may use: the settings of the services `make up` started, one Spark, names of its own,
a lake and warehouse of this test run's own, and databases of a test's own."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import tests.support.airflow_home  # noqa: F401 - before any test module imports Airflow
from jobs.runtime.project import CODE_ROOT as CHECKOUT
from jobs.runtime.settings import Settings, load_settings
from tests.e2e.ferry import Ferry, OwnDatabase
from tests.support.local_lake import SMALL_BATCHES, local_spark, own_ferry
from tests.support.own_databases import OwnDatabases
from tests.support.own_emulator import ENDPOINT_VARIABLE, OwnEmulator
from tests.support.tiers import TIERS, UNIT, Guard, tier_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

UniqueName = Callable[[str], str]
_GUARD = Guard()
_WRONG_TIER = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    seeds = parser.getgroup("foreign", "operations of other tools on the lake's tables (tests/foreign)")
    seeds.addoption("--foreign-seeds", type=int, help="play every kind alone, with so many seeds; default: a few cases")
    seeds.addoption("--foreign-first-seed", type=int, default=1, help="the first of these seeds; default: 1")


def pytest_configure() -> None:
    _GUARD.install()


# Before pytest selects by `-m`, which reads the markers.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        assert isinstance(item, pytest.Function)
        marked = {mark.name for mark in item.iter_markers() if mark.name in TIERS}
        try:
            tier = tier_of(item.path, item.fixturenames, marked)
        except ValueError as error:
            item.stash[_WRONG_TIER] = str(error)
            continue
        if tier not in marked:
            item.add_marker(tier)
        # Services are those of the settings file, whose connections and credentials are in the environment from that
        # fixture on: it precedes all others.
        if tier != UNIT:
            if "settings" in item.fixturenames:
                item.fixturenames.remove("settings")
            item.fixturenames.insert(0, "settings")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    if _WRONG_TIER in item.stash:
        pytest.fail(item.stash[_WRONG_TIER], pytrace=False)
    with _guarded(item):
        yield


# The teardown is not guarded: that of the last test ends the services of the session.
@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    with _guarded(item):
        yield


def _guarded(item: pytest.Item) -> AbstractContextManager[None]:
    return _GUARD.watching() if item.get_closest_marker(UNIT) else nullcontext()


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """The settings, read once; the connections of the settings file are in the environment from here on."""
    os.environ.setdefault("LAKEFERRY_SPARK_JAVA_OPTIONS", SMALL_BATCHES)
    found = load_settings()
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is None:
        yield found
        return
    services = Path(os.environ.get("LAKEFERRY_SETTINGS_FILE", CHECKOUT / ".lakeferry/settings.env")).parent
    # The first worker has the shared databases to itself, and so has one that is named by hand.
    beside = "PYTEST_XDIST_WORKER_COUNT" in os.environ and worker != "gw0"
    databases = OwnDatabases(tmp_path_factory.mktemp("databases")) if beside else None
    emulator = OwnEmulator(tmp_path_factory.mktemp("emulator"), services, found.warehouse_project)
    os.environ[ENDPOINT_VARIABLE] = emulator.endpoint
    yield found.model_copy(update={"warehouse_endpoint": emulator.endpoint})
    emulator.stop()
    if databases is not None:
        databases.stop()


@pytest.fixture(scope="session")
def spark(settings: Settings) -> Iterator[SparkSession]:
    """A local Spark with the jars `make setup` fetched; catalogs are for the tests to configure."""
    with local_spark(settings) as session:
        yield session


@pytest.fixture(scope="session")
def googlesql() -> None:
    """ZetaSQL, compiled once a machine: as it comes each process compiles its WebAssembly for half a minute."""
    from wasmtime import Config
    from zetasql.core import wasm_client

    def cached() -> Config:
        config = Config()
        config.cache = True
        return config

    wasm_client.Config = cached


@pytest.fixture(scope="session")
def unique_name() -> UniqueName:
    """`unique_name("payments")` → `payments_3f9c1a2b`: a name no other test or run has."""

    def make(stem: str) -> str:
        return f"{stem}_{uuid.uuid4().hex[:8]}"

    return make


@pytest.fixture(scope="session")
def ferry(settings: Settings, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ferry]:
    with own_ferry(settings, tmp_path_factory.mktemp("ferry")) as ferry:
        yield ferry


@pytest.fixture
def aurora() -> Iterator[OwnDatabase]:
    database = OwnDatabase("aurora_payments")
    yield database
    database.close()


@pytest.fixture
def tidb() -> Iterator[OwnDatabase]:
    database = OwnDatabase("tidb_wallet")
    yield database
    database.close()
