"""What a load may scan: asked before, refused before it costs, reported afterwards. The service's answers on bytes are
written here as its documentation has it, for the emulator counts none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from connectors.errors import LoadRefused
from jobs.runs.receipts import Receipt
from tests.support.bigquery_contract import documented, with_bytes
from tests.support.faulty_endpoint import Answer, Fault, configuration, endpoint
from tests.support.load_world import World, payment

MakeWorld = Callable[..., World]
GB = 1000**3


def service(sent: list[dict[str, Any]], *, look: int = 0, merge: int = 0) -> Fault:
    """A service whose dry runs say `look` bytes of the question for partitions and `merge` of a merge, and which bills
    twice as much. `sent` gets the configurations of all query jobs."""

    def fault(method: str, path: str, body: bytes, forward: Callable[[], Answer]) -> Answer | None:
        asked = configuration(path, body) if method == "POST" else {}
        if "query" not in asked:
            return forward()
        sent.append(asked)
        sql = asked["query"]["query"]
        size = merge if "MERGE" in sql else look if "UNION DISTINCT" in sql else 0
        if asked.get("dryRun"):
            return with_bytes(forward(), totalBytesProcessed=size)
        return with_bytes(forward(), totalBytesProcessed=size, totalBytesBilled=2 * size)

    return fault


def load_through(world: World, fault: Fault, **settings: Any) -> Receipt:
    with endpoint(str(world.settings.warehouse_endpoint), fault) as address:
        return world.load(settings=world.settings.model_copy(update={"warehouse_endpoint": address, **settings}))


def test_a_merge_that_would_scan_too_much_is_refused_before_it_runs(world_of: MakeWorld) -> None:
    world = world_of(bigquery_spec={"partition_by": "created_at", "max_bytes_billed": "10 GB"})
    world.publish([payment(1)])
    sent: list[dict[str, Any]] = []
    with pytest.raises(LoadRefused) as refused:
        load_through(world, service(sent, look=4 * GB, merge=7 * GB))

    assert refused.value.problem == (
        f"bringing batch 1 into {world.table} would scan 11 GB (11000000000 bytes), the limit is 10 GB: nothing was run"
    )
    assert "bigquery.max_bytes_billed" in str(refused.value.fix)
    assert [one.get("dryRun") for one in sent if "MERGE" in one["query"]["query"]] == [True]
    assert world.ledger() == [(0, None, 0)]
    # What is affordable alone is asked; the table is as it was.
    assert world.rows() == []


def test_even_the_question_for_partitions_is_not_asked_where_it_is_too_much(world_of: MakeWorld) -> None:
    world = world_of(bigquery_spec={"partition_by": "created_at"})
    world.publish([payment(1)])
    sent: list[dict[str, Any]] = []
    with pytest.raises(LoadRefused, match="LAKEFERRY_MAX_BYTES_BILLED"):
        load_through(world, service(sent, look=11 * GB), max_bytes_billed=10 * GB)
    assert [one.get("dryRun") for one in sent if "UNION DISTINCT" in one["query"]["query"]] == [True]


def test_the_limit_of_the_dataset_goes_before_the_setting_and_travels_with_each_job(world_of: MakeWorld) -> None:
    world = world_of(bigquery_spec={"partition_by": "created_at", "max_bytes_billed": 20 * GB})
    world.publish([payment(1)])
    sent: list[dict[str, Any]] = []
    receipt = load_through(world, service(sent, look=4 * GB, merge=7 * GB), max_bytes_billed=10 * GB)

    run = [one for one in sent if not one.get("dryRun")]
    limits = {one["query"]["query"].split()[0]: one["query"].get("maximumBytesBilled") for one in run}
    # Beside the change the transaction asks and updates the ledger, 10 MiB each at least.
    assert limits["BEGIN"] == str(20 * GB + 40 * 1024**2)
    assert limits["SELECT"] is None, "the last question counts the rows of a batch that is in"
    (look,) = [one for one in run if "UNION DISTINCT" in one["query"]["query"]]
    assert look["query"]["maximumBytesBilled"] == str(20 * GB)
    assert {key: getattr(receipt.details, f"bytes_{key}") for key in ("estimated", "processed", "billed")} == {
        "estimated": 11 * GB,
        "processed": 11 * GB,
        "billed": 22 * GB,
    }


def test_without_a_limit_a_load_says_what_it_scanned(world_of: MakeWorld) -> None:
    world = world_of()
    world.publish([payment(1)])
    sent: list[dict[str, Any]] = []
    receipt = load_through(world, service(sent, merge=7 * GB))
    assert (receipt.details.bytes_estimated, receipt.details.bytes_billed) == (7 * GB, 14 * GB)
    assert not [one for one in sent if "maximumBytesBilled" in one["query"]]


@pytest.mark.parametrize("disposition", ["replace", "overwrite_partitions"])
def test_each_statement_of_a_change_is_tried(world_of: MakeWorld, disposition: str) -> None:
    derived = {"inputs": ["merchants"], "transform": "merchant_sales:daily", "options": {}}
    world = world_of(
        source=None,
        dataset={"write_disposition": disposition, **derived},
        bigquery_spec={"partition_by": "created_at"},
    )
    world.publish([payment(1)], partitions=["2026-11-20"])
    sent: list[dict[str, Any]] = []
    load_through(world, service(sent))
    tried = [one["query"]["query"].split()[0] for one in sent if one.get("dryRun")]
    assert tried == ["TRUNCATE" if disposition == "replace" else "DELETE", "INSERT"]


def test_a_limit_the_service_itself_refuses_by_is_nothing_to_repeat(world_of: MakeWorld) -> None:
    world = world_of(bigquery_spec={"max_bytes_billed": "1 GB"})
    world.publish([payment(1)])

    def fault(method: str, path: str, body: bytes, forward: Callable[[], Answer]) -> Answer | None:
        if b"COMMIT TRANSACTION" in body and b"MERGE" in body:
            return documented("bytes limit", limit=GB, needed=7 * GB)
        return forward()

    with pytest.raises(LoadRefused, match="7000000000 or higher required") as refused:
        load_through(world, fault)
    assert refused.value.exit_code == 1
