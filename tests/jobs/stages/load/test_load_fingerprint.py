"""Load compares two things before it changes anything: rows as they left the lake, and rows as staging holds them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from connectors.errors import LoadRefused
from jobs.runs.receipts import Receipt
from tests.support.faulty_endpoint import Answer, endpoint
from tests.support.load_world import NOON, PAYMENTS, World, payment

MakeWorld = Callable[..., World]

EVERY_TYPE = {
    **PAYMENTS,
    "flag": "boolean",
    "single": "float",
    "rate": "double",
    "photo": "binary",
    "born": "date",
    "exact": "decimal(38,9)",
    "whole": "decimal(20,0)",
    "支払日": "date",
}


def load_altered(world: World, change: str, asked: list[str] | None = None) -> Receipt:
    """Load; between the load job and the question what staging holds, somebody runs this on it."""

    def fault(method: str, path: str, body: bytes, forward: Callable[[], Answer]) -> Answer | None:
        if b"COUNTIF(unkeyed)" in body:
            (staging,) = world.staging_tables()
            world.values(change.format(staging=f"{world.settings.warehouse_ledger_dataset}.{staging}"))
            if asked is not None:
                asked.append(body.decode())
        return forward()

    with endpoint(str(world.settings.warehouse_endpoint), fault) as address:
        return world.load(settings=world.settings.model_copy(update={"warehouse_endpoint": address}))


CHANGES = {
    "a number": "UPDATE {staging} SET merchant_id = 8 WHERE payment_id = 1",
    "the last digit of a decimal": "UPDATE {staging} SET amount = NUMERIC '2.51' WHERE payment_id = 2",
    "an hour of a wall clock": "UPDATE {staging} SET created_at = DATETIME '2026-11-20 13:00:00.123456' WHERE TRUE",
    "an hour of an instant": "UPDATE {staging} SET paid_at = TIMESTAMP '2026-11-20 04:00:00+00' WHERE payment_id = 1",
    "a microsecond": "UPDATE {staging} SET updated_at = DATETIME '2026-11-20 12:00:00.123457' WHERE payment_id = 1",
    "a blank": "UPDATE {staging} SET memo = CONCAT(memo, ' ') WHERE payment_id = 1",
    "NULL made an empty text": "UPDATE {staging} SET memo = '' WHERE memo IS NULL",
    "an empty text made NULL": "UPDATE {staging} SET memo = NULL WHERE memo = ''",
    "a run": "UPDATE {staging} SET _run_id = 'run 3' WHERE payment_id = 1",
    "two rows' values exchanged": "UPDATE {staging} SET amount = CASE payment_id WHEN 1 THEN NUMERIC '2.50' "
    "ELSE NUMERIC '1.00' END WHERE payment_id IN (1, 2)",
    "one row twice, another not at all": "UPDATE {staging} SET payment_id = 2, merchant_id = 7, memo = NULL, "
    "amount = NUMERIC '2.50', paid_at = NULL WHERE payment_id = 1",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_staging_that_differs_in_a_value_is_refused(world: World, change: str) -> None:
    world.publish([payment(1, "0.50")])
    world.load()
    before = world.rows("payment_id")
    paid = datetime(2026, 11, 20, 3, tzinfo=UTC)
    rows = [payment(1, memo="a", paid_at=paid), payment(2, "2.50"), payment(3, memo="", paid_at=paid)]
    world.publish(rows)

    with pytest.raises(LoadRefused) as refused:
        load_altered(world, change)

    told = str(refused.value)
    assert refused.value.exit_code == 1
    assert told.startswith(f"pipeline payments dataset {world.name}: batch 2 has its 3 rows in its staging table ")
    assert ", and some of them are not as they were published: their fingerprint is " in told
    assert world.rows("payment_id") == before
    assert world.ledger() == [(1, "run 1", 1)]

    assert world.staging_tables() == []
    assert world.load().loaded == 3
    assert [(row["payment_id"], row["memo"]) for row in world.rows("payment_id")] == [(1, "a"), (2, None), (3, "")]


def test_a_row_lost_on_the_way_is_refused_by_count(world_of: MakeWorld) -> None:
    world = world_of(dataset={"reconcile": "counts"})
    world.publish([payment(1), payment(2)])
    with pytest.raises(LoadRefused, match=r"batch 1 has 2 rows, its staging table ferry_\S+staging_\S+ 1"):
        load_altered(world, "DELETE FROM {staging} WHERE payment_id = 1")
    assert world.ledger() == [(0, None, 0)]


@pytest.mark.parametrize("reconcile", ["counts", "off"])
def test_a_dataset_that_asks_for_no_fingerprint_is_not_scanned_for_one(world_of: MakeWorld, reconcile: str) -> None:
    world = world_of(dataset={"reconcile": reconcile})
    world.publish([payment(1)])
    asked: list[str] = []
    receipt = load_altered(world, "UPDATE {staging} SET merchant_id = 8 WHERE TRUE", asked)
    assert len(asked) == 1
    assert "MD5" not in asked[0]
    assert receipt.details.fingerprint is None
    assert world.values(f"SELECT merchant_id FROM {world.table}") == [(8,)]


def test_hard_values_of_every_type_pass_and_the_receipt_has_their_fingerprint(world_of: MakeWorld) -> None:
    world = world_of(columns=EVERY_TYPE)
    empty = dict.fromkeys(EVERY_TYPE)
    rows = [
        {
            **empty,
            "payment_id": -(2**63),
            "merchant_id": -(2**31),
            "amount": Decimal("-9999999999999999.99"),
            "memo": '寿司 🍣 it\'s "raw"\\\n|1:~\x00 ',
            "paid_at": datetime(1, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
            "created_at": datetime(1, 1, 1),
            "updated_at": datetime(9999, 12, 31, 23, 59, 59, 999999),
            "flag": True,
            "single": 0.10000000149011612,
            "rate": -1.7976931348623157e308,
            "photo": b"\x00\xff|~",
            "born": date(1, 1, 1),
            "exact": Decimal("9" * 29 + ".999999999"),
            "whole": Decimal(2**64 - 1),
            "支払日": date(9999, 12, 31),
        },
        {
            **empty,
            "payment_id": 2**63 - 1,
            "merchant_id": 0,
            "amount": Decimal("0.00"),
            "memo": "",
            "paid_at": datetime(9999, 12, 31, 23, 59, 59, 999999, UTC),
            "created_at": datetime(1969, 12, 31, 23, 59, 59, 999999),
            "updated_at": NOON,
            "flag": False,
            "single": -0.0,
            "rate": 5e-324,
            "photo": b"",
            "born": date(1969, 12, 31),
            "exact": Decimal("-0.000000001"),
            "whole": Decimal(0),
        },
        {**empty, "payment_id": 1, "updated_at": NOON},
    ]
    world.publish(rows)
    doubles = [float("nan"), float("inf"), float("-inf"), -0.0, 0.1]
    world.publish([{**empty, "payment_id": 2, "updated_at": NOON, "rate": double} for double in doubles])

    first = world.load("run 2")

    assert (first.verdict, first.details.batches, first.loaded) == ("done", [1, 2], 8)
    assert first.details.fingerprint > 0
    found = world.client.query(f"SELECT * FROM {world.table} WHERE _batch = 1").result()
    arrived = {row["payment_id"]: dict(row.items()) for row in found}
    for row in rows:
        assert arrived[row["payment_id"]] == {**row, "_run_id": "run 1", "_batch": 1}


def test_the_fingerprint_in_the_receipt_is_that_of_the_rows(world: World) -> None:
    world.publish([payment(1, memo="a"), payment(2)])
    world.publish([])
    world.publish([payment(3)])
    receipt = world.load("run 3")
    noon = "1795176000123456|1795176000123456"
    texts = [
        f"1|7|1000000000|1|a|~|{noon}|5|run 1|1",
        f"2|7|1000000000|~|~|~|{noon}|5|run 1|1",
        f"3|7|1000000000|~|~|~|{noon}|5|run 3|3",
    ]
    hashes = [int(hashlib.md5(text.encode()).hexdigest()[:15], 16) for text in texts]
    assert receipt.details.fingerprint == sum(hashes)
