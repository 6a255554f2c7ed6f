"""A batch in several transport files, uploaded to the BigQuery emulator one job a file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from connectors.errors import LoadRefused, ObjectNotFound
from jobs.runs.receipts import Receipt
from jobs.runtime.project import CODE_ROOT as CHECKOUT
from jobs.stages.load import transport_files as transport
from tests.support.bigquery_contract import once_a_job
from tests.support.faulty_endpoint import Answer, Fault, configuration, endpoint, job_id
from tests.support.load_world import World, payment

ROWS = [payment(1, "1.00"), payment(2, "2.00"), payment(3, "3.00")]
ARRIVED = {1: "1.00", 2: "2.00", 3: "3.00"}


@pytest.fixture
def row_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MOST_FILE_BYTES", 1)


def load_through(world: World, address: str, run_id: str = "") -> Receipt:
    return world.load(run_id, settings=world.settings.model_copy(update={"warehouse_endpoint": address}))


def load_name(path: str, body: bytes) -> str | None:
    """The name of the load job a request submits, or None: queries that read have random names."""
    name = job_id(path, body)
    return name if name and name.startswith("lakeferry_") and "_commit_" not in name else None


def round_and_file(name: str) -> tuple[int, int]:
    """The end of a load job's name."""
    of_round, of_file = name.rsplit("_", 2)[1:]
    return int(of_round), int(of_file)


def loads_of(seen: dict[str, int]) -> dict[tuple[int, int], int]:
    """How often each load job was submitted, by round and file."""
    ours = {name: times for name, times in seen.items() if name.startswith("lakeferry_") and "_commit_" not in name}
    return {round_and_file(name): times for name, times in ours.items()}


@pytest.mark.usefixtures("row_a_file")
def test_several_files_arrive_whole_one_job_each(world: World) -> None:
    world.publish(ROWS)
    loads: list[tuple[str, Any]] = []

    def listen(method: str, path: str, body: bytes, forward: Callable[[], Answer]) -> Answer | None:
        asked = configuration(path, body).get("load")
        if asked:
            loads.append((str(job_id(path, body)), (asked["writeDisposition"], asked["createDisposition"])))
        return forward()

    with endpoint(str(world.settings.warehouse_endpoint), listen) as address:
        receipt = load_through(world, address)

    assert [(round_and_file(name), dispositions) for name, dispositions in loads] == [
        ((0, 0), ("WRITE_TRUNCATE", "CREATE_NEVER")),
        ((0, 1), ("WRITE_APPEND", "CREATE_NEVER")),
        ((0, 2), ("WRITE_APPEND", "CREATE_NEVER")),
    ]
    assert world.amounts() == ARRIVED
    assert (receipt.loaded, receipt.warehouse_rows) == (3, 3)
    assert receipt.bytes > 3000
    assert world.staging_tables() == []


def killed_at_file(number: int, world: World, seen: dict[str, int], then: Callable[[str], None]) -> None:
    """A first attempt in a process of its own, killed when it submits a file; then `then`, at the same service, where
    a job's name is taken once."""
    service = once_a_job(seen)
    child: list[subprocess.Popen[bytes]] = []

    def fault(method: str, path: str, body: bytes, forward: Callable[[], Answer]) -> Answer | None:
        name = load_name(path, body) if method == "POST" else None
        if child and name and round_and_file(name) == (0, number):
            child.pop().send_signal(signal.SIGKILL)
            return None
        return service(method, path, body, forward)

    with endpoint(str(world.settings.warehouse_endpoint), fault) as address:
        code = (
            "from jobs.stages import loop; from jobs.stages.load import transport_files;"
            " transport_files.MOST_FILE_BYTES = 1; loop.main('load')"
        )
        first = subprocess.Popen(
            [sys.executable, "-c", code, "--plan", world.write_plan("run 1")],
            env={**os.environ, **world.environment(), "LAKEFERRY_WAREHOUSE_ENDPOINT": address},
            cwd=CHECKOUT,
            stderr=subprocess.PIPE,
        )
        child.append(first)
        told = first.communicate()[1]
        assert first.returncode == -signal.SIGKILL, told
        then(address)


@pytest.mark.usefixtures("row_a_file")
def test_a_load_killed_between_two_files_goes_on_at_the_next(world: World) -> None:
    world.publish(ROWS)
    seen: dict[str, int] = {}
    killed_at_file(2, world, seen, lambda address: load_through(world, address))

    # The first two are found done, the last was never begun.
    assert loads_of(seen) == {(0, 0): 2, (0, 1): 2, (0, 2): 1}
    assert world.amounts() == ARRIVED
    assert world.ledger() == [(1, "run 1", 3)]


@pytest.mark.usefixtures("row_a_file")
def test_a_staging_table_dropped_between_two_attempts_is_filled_from_the_first_file(world: World) -> None:
    world.publish(ROWS)
    seen: dict[str, int] = {}

    def then(address: str) -> None:
        (staging,) = world.staging_tables()
        world.client.delete_table(f"{world.settings.warehouse_ledger_dataset}.{staging}")
        load_through(world, address)

    killed_at_file(2, world, seen, then)
    assert loads_of(seen) == {(0, 0): 2, (0, 1): 1, (1, 0): 1, (1, 1): 1, (1, 2): 1}
    assert world.amounts() == ARRIVED


def test_an_attempt_whose_files_are_cut_otherwise_builds_on_nothing(world: World) -> None:
    world.publish(ROWS)
    seen: dict[str, int] = {}
    # The second attempt, in this process, writes one file.
    killed_at_file(1, world, seen, lambda address: load_through(world, address))

    loads = [name for name in seen if name.startswith("lakeferry_") and "_commit_" not in name]
    assert [round_and_file(name) for name in loads] == [(0, 0), (0, 0)]
    assert world.amounts() == ARRIVED


def meanwhile(world: World, number: int, act: Callable[[str], None], service: Fault) -> Fault:
    """Let `act` happen to the staging table once, when the file of this number is in."""
    uploads: set[str] = set()
    acted: list[bool] = []

    def fault(method: str, path: str, body: bytes, forward: Callable[[], Answer]) -> Answer | None:
        answer = service(method, path, body, forward)
        name = load_name(path, body) if method == "POST" else None
        if answer and name and "Location" in answer[1] and round_and_file(name)[1] == number:
            uploads.add(answer[1]["Location"].rsplit("=", 1)[-1])
        if method == "PUT" and path.rsplit("=", 1)[-1] in uploads and not acted:
            acted.append(True)
            act(f"{world.settings.warehouse_ledger_dataset}.{world.staging_tables()[0]}")
        return answer

    return fault


@pytest.mark.usefixtures("row_a_file")
def test_a_row_too_many_in_staging_is_refused_and_the_next_run_begins_afresh(world: World) -> None:
    world.publish(ROWS)
    service = once_a_job({})

    def double(staging: str) -> None:
        world.values(f"INSERT INTO {staging} SELECT * FROM {staging} LIMIT 1")

    with endpoint(str(world.settings.warehouse_endpoint), meanwhile(world, 2, double, service)) as address:
        with pytest.raises(LoadRefused, match=r"batch 1 has 3 rows, its staging table \S+ 4\. Run again"):
            load_through(world, address)
        assert world.ledger() == [(0, None, 0)]
        load_through(world, address)

    assert world.amounts() == ARRIVED
    assert world.staging_tables() == []


@pytest.mark.usefixtures("row_a_file")
def test_a_staging_table_dropped_between_two_files_does_not_come_back_with_a_part(world: World) -> None:
    world.publish(ROWS)
    service = once_a_job({})

    def drop(staging: str) -> None:
        world.client.delete_table(staging)

    with endpoint(str(world.settings.warehouse_endpoint), meanwhile(world, 0, drop, service)) as address:
        with pytest.raises(ObjectNotFound, match=r"staging_\S+ was dropped while it was loaded"):
            load_through(world, address)
        assert world.staging_tables() == []
        load_through(world, address)
    assert world.amounts() == ARRIVED


@pytest.mark.usefixtures("row_a_file")
def test_loaders_that_race_fill_staging_once(world: World) -> None:
    world.publish(ROWS)
    seen: dict[str, int] = {}
    together = threading.Barrier(3)
    receipts: list[Receipt] = []

    def loader(run_id: str, address: str) -> None:
        together.wait()
        receipts.append(load_through(world, address, run_id))

    with endpoint(str(world.settings.warehouse_endpoint), once_a_job(seen)) as address:
        threads = [threading.Thread(target=loader, args=(f"loader {n}", address)) for n in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert {(receipt.verdict, receipt.loaded, receipt.warehouse_rows) for receipt in receipts} == {("done", 3, 3)}
    assert len(receipts) == 3
    assert world.amounts() == ARRIVED
    assert world.ledger() == [(1, "run 1", 3)]


@pytest.mark.usefixtures("row_a_file")
@pytest.mark.parametrize("number", range(3))
def test_another_loader_may_come_first_between_two_files(world: World, number: int) -> None:
    """It loads all of them while this one begins to send one."""
    world.publish(ROWS)
    service = once_a_job({})
    addresses: list[str] = []
    overtaken: list[str] = []
    told: list[Receipt] = []

    def fault(method: str, path: str, body: bytes, forward: Callable[[], Answer]) -> Answer | None:
        name = load_name(path, body) if method == "POST" else None
        if name and round_and_file(name)[1] == number and not overtaken:
            overtaken.append(name)
            told.append(load_through(world, addresses[0], "the other one"))
        return service(method, path, body, forward)

    with endpoint(str(world.settings.warehouse_endpoint), fault) as address:
        addresses.append(address)
        told.append(load_through(world, address))

    assert [receipt.loaded for receipt in told] == [3, 3]
    assert world.amounts() == ARRIVED
    assert world.ledger() == [(1, "run 1", 3)]
