"""Servers whose clock or time zone is not ours: windows are made by the server's clock, in UTC, and so are values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from connectors.base import ReadRequest, Window
from connectors.connection import Connection
from connectors.mysql import AuroraSource, MySQLOptions
from tests.support.mysql.own_mariadb import PASSWORD, OwnMariaDB

pytestmark = pytest.mark.services

ZONES = ("JST-9", "CET-1CEST,M3.5.0,M10.5.0/3")
"""As POSIX writes them: needs no list of zones on the machine."""
NEW_YEAR = 1_767_225_600
"""2026-01-01 00:00:00 UTC, in Tokyo nine in the morning."""
SUMMER_TIME = 1_774_746_000
"""2026-03-29 01:00:00 UTC: clocks in Berlin go from two to three."""
COLUMNS = "id INT PRIMARY KEY, at TIMESTAMP(6) NULL, KEY (at)"


@pytest.fixture(scope="module", params=ZONES, ids=["Tokyo", "Berlin"])
def elsewhere(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnMariaDB]:
    """A server whose machine is set to another zone, and which goes by it."""
    server = OwnMariaDB(tmp_path_factory.mktemp("zone"), machine_zone=request.param)
    [(zone, system)] = server.run("SELECT @@global.time_zone, @@system_time_zone")
    assert zone == "SYSTEM"
    assert system in {"JST", "CET", "CEST"}
    server.run("CREATE DATABASE shop")
    yield server
    server.stop()


def dataset(table: str, lag_seconds: int = 1) -> ReadRequest:
    options = {"table": f"shop.{table}", "cursor": "at", "lag_seconds": lag_seconds}
    return ReadRequest("tests", table, ("id",), MySQLOptions.model_validate(options))


def filled(server: OwnMariaDB, table: str, *seconds: int) -> None:
    """A table whose rows carry these moments, in seconds since 1970."""
    server.run(f"CREATE TABLE shop.{table} ({COLUMNS})")
    # In a zone where clocks go back FROM_UNIXTIME gives one wall clock for two moments.
    server.run("SET time_zone = '+00:00'")
    for number, moment in enumerate(seconds):
        server.run(f"INSERT INTO shop.{table} VALUES (%s, FROM_UNIXTIME(%s))", (number, moment))


def rows(source: AuroraSource, wanted: ReadRequest, window: Window | None) -> list[tuple[int, datetime]]:
    plan = source.plan(wanted, None, window)
    reader = source.slice_reader(wanted, plan, "row")
    found: list[tuple[int, datetime]] = []
    for piece in plan.slices:
        with reader.open(piece.id) as opened:
            for batch in opened.batches:
                assert reader.altered(batch) == 0
                found += zip(batch.column("id").to_pylist(), batch.column("at").to_pylist(), strict=True)
    return sorted(found)


def test_moments_and_windows_are_utc_wherever_the_server_stands(elsewhere: OwnMariaDB) -> None:
    # An hour before and after clocks go forward, where the hour between has no name in Berlin.
    moments = (NEW_YEAR - 1, NEW_YEAR, SUMMER_TIME - 1, SUMMER_TIME, SUMMER_TIME + 3_600)
    filled(elsewhere, "moments", *moments)
    source, wanted = AuroraSource(elsewhere.connection()), dataset("moments")
    told = [datetime.fromtimestamp(moment, UTC) for moment in moments]
    assert rows(source, wanted, None) == list(enumerate(told))
    new_year = Window(start="2026-01-01T00:00:00Z", end="2026-03-29T01:00:00Z")
    assert rows(source, wanted, new_year) == [(1, told[1]), (2, told[2])]
    spring = Window(start="2026-03-29T03:00:00+02:00", end="2026-03-29T04:00:00+02:00")
    assert rows(source, wanted, spring) == [(3, told[3])]


def test_an_hour_that_comes_twice_is_two_hours(elsewhere: OwnMariaDB) -> None:
    # 2026-10-25 00:30 and 01:30 UTC: half past two in Berlin, before and after clocks go back.
    filled(elsewhere, "twice", 1_792_888_200, 1_792_891_800)
    source, wanted = AuroraSource(elsewhere.connection()), dataset("twice")
    told = [datetime(2026, 10, 25, hour, 30, tzinfo=UTC) for hour in (0, 1)]
    assert rows(source, wanted, None) == list(enumerate(told))
    assert rows(source, wanted, Window(start="2026-10-25T01:00:00Z")) == [(1, told[1])]


def test_an_open_transaction_of_a_server_elsewhere_holds_the_window_back(elsewhere: OwnMariaDB) -> None:
    elsewhere.run(f"CREATE TABLE shop.held ({COLUMNS})")
    source, wanted = AuroraSource(elsewhere.connection()), dataset("held")
    [(before,)] = elsewhere.run("SELECT UTC_TIMESTAMP(6)")
    elsewhere.run("BEGIN")
    try:
        elsewhere.run("INSERT INTO shop.held VALUES (1, NOW(6))")
        # Time itself is under test here: the transaction must be older than the lag.
        elsewhere.run("DO SLEEP(2.1)")
        [(now,)] = elsewhere.run("SELECT UTC_TIMESTAMP(6)")
        plan = source.plan(wanted, None, None)
    finally:
        elsewhere.run("COMMIT")
    assert any("oldest open transaction: it is open since" in warning for warning in plan.warnings)
    assert plan.window is not None
    end = datetime.fromisoformat(str(plan.window.end))
    # InnoDB reports whole seconds by a clock that may be a tick behind, and the lag of one second lies before them.
    assert before.replace(microsecond=0) - timedelta(seconds=2) <= end <= now - timedelta(seconds=3)


@pytest.mark.parametrize("ahead_seconds", [3_600, -3_600])
def test_a_window_ends_by_the_servers_clock_not_by_ours(elsewhere: OwnMariaDB, ahead_seconds: int) -> None:
    table = f"clock_{'fast' if ahead_seconds > 0 else 'slow'}"
    filled(elsewhere, table)
    # The server does not run `init_connect` for a login with all rights.
    elsewhere.run(f"CREATE OR REPLACE USER watched@'%' IDENTIFIED BY '{PASSWORD}'")
    elsewhere.run("GRANT SELECT, PROCESS ON *.* TO watched@'%'")
    elsewhere.run(f"SET GLOBAL init_connect = 'SET timestamp = UNIX_TIMESTAMP() + ({ahead_seconds})'")
    try:
        connection: Connection = replace(elsewhere.connection(), login="watched")
        before = datetime.now(UTC)
        plan = AuroraSource(connection).plan(dataset(table), None, None)
        after = datetime.now(UTC)
    finally:
        elsewhere.run("SET GLOBAL init_connect = ''")
    assert plan.window is not None
    end = datetime.fromisoformat(f"{plan.window.end}+00:00")
    shift = timedelta(seconds=ahead_seconds)
    # A clock that was set has whole seconds, and the lag is one.
    assert before + shift - timedelta(seconds=3) <= end <= after + shift
