"""What a stage passes on survives its receipt's document, also one that another version wrote."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from jobs.runs.receipts import Receipt
from jobs.runs.stage_results import Loaded, Planned, Proved, Sealed, SliceStats, StageResult

LARGEST = 2**63 - 1


def receipt(stage: str, details: StageResult | dict[str, Any]) -> Receipt:
    return Receipt.model_validate(
        {
            "pipeline": "shop",
            "run_id": "run",
            "generation": 1,
            "stage": stage,
            "dataset": "payments",
            "verdict": "done",
            "details": details,
        }
    )


SEALED = Sealed(
    branch="run_g1",
    snapshot_id=LARGEST,
    slices={0: SliceStats(source_rows=3, row_hash=LARGEST), -1: SliceStats(known_rows=1)},
    columns=["id", "amount"],
    proof_seconds=0.25,
)


@pytest.mark.parametrize(
    ("stage", "result"),
    [
        ("plan", Planned(plan="s3://lake/plan", reason="nothing new", slices=2)),
        ("extract", SEALED),
        ("transform", Sealed()),
        ("check", Proved(snapshot_id=LARGEST, reconcile="fingerprint", data_docs="s3://docs", expectations=4)),
        ("load", Loaded(table="shop.payments", batches=[1, 2], fingerprint=LARGEST, compared_whole=False)),
    ],
)
def test_a_result_is_the_same_after_its_document(stage: str, result: StageResult) -> None:
    left = receipt(stage, result)
    read = Receipt.model_validate_json(left.model_dump_json())
    assert read.details == result
    assert read.result(type(result)) == result


def test_numbers_of_64_bits_are_text_and_missing_values_are_not_written() -> None:
    document = json.loads(receipt("extract", SEALED).model_dump_json())["details"]
    assert document == {
        "branch": "run_g1",
        "snapshot_id": "9223372036854775807",
        "columns": ["id", "amount"],
        "proof_seconds": 0.25,
        "slices": {
            "-1": {
                "known_rows": 1,
                "known_rejected_rows": 0,
                "altered_rows": 0,
                "rejected_rows": 0,
                "unfit_rows": 0,
            },
            "0": {
                "source_rows": 3,
                "known_rows": 0,
                "known_rejected_rows": 0,
                "altered_rows": 0,
                "rejected_rows": 0,
                "unfit_rows": 0,
                "row_hash": "9223372036854775807",
            },
        },
    }


def test_fields_of_another_version_are_left_out() -> None:
    read = receipt("extract", {"branch": "b", "colour": "red", "slices": {"3": {"source_rows": 1, "colour": 7}}})
    assert read.details == Sealed(branch="b", slices={3: SliceStats(source_rows=1)})


def test_a_receipt_without_details_has_the_empty_result_of_its_stage() -> None:
    assert receipt("check", {}).result(Proved) == Proved()
    assert receipt("check", {}).result(Sealed) is None


def test_the_result_of_another_stage_is_refused() -> None:
    with pytest.raises(ValidationError, match="Sealed is not the result of load"):
        receipt("load", SEALED)
