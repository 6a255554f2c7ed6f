"""A raw table goes on by the pipeline that published it, and by no other."""

from __future__ import annotations

import pytest

from connectors.errors import SpecError
from jobs.contracts.raw_owner import check_owner
from jobs.lake import batch_log as batches
from jobs.lake.batch_log import PublishedBatch, batch_of
from jobs.spec.models import PipelineSpec

BATCH = {
    batches.SEALED: "true",
    batches.RUN_ID: "r",
    batches.GENERATION: "1",
    batches.ROWS: "3",
    batches.QUARANTINED: "0",
}


def published(*pipelines: str | None) -> list[PublishedBatch]:
    """Batches of these pipelines, oldest first; None: sealed before the pipeline was recorded."""
    named = ({batches.PIPELINE: pipeline} if pipeline else {} for pipeline in pipelines)
    return [
        batch_of({**BATCH, batches.BATCH: str(number), **name}, number, number) for number, name in enumerate(named, 1)
    ]


def spec(pipeline: str, *takes_over: str) -> PipelineSpec:
    dataset = {"name": "payments", "write_disposition": "append", "bigquery": {"table": "shop.payments"}}
    return PipelineSpec.model_validate(
        {"pipeline": pipeline, "takes_over": list(takes_over), "datasets": [dataset], "file": f"{pipeline}.yaml"}
    )


@pytest.mark.parametrize(
    ("owners", "reader"),
    [
        ((), spec("shop")),
        ((None, None), spec("shop")),
        (("shop",), spec("shop")),
        (("shop", None), spec("shop")),
        (("old", "shop"), spec("shop")),
        (("old",), spec("shop", "older", "old")),
        (("old", "shop"), spec("shop", "old")),
    ],
)
def test_its_own_table_and_one_that_it_takes_over_go_on(owners: tuple[str | None, ...], reader: PipelineSpec) -> None:
    check_owner(reader, "payments", published(*owners))


@pytest.mark.parametrize("owners", [("shop",), (None, "shop"), ("other", "shop"), ("shop", None)])
def test_a_table_of_another_pipeline_is_refused_with_the_way_to_move_it(owners: tuple[str | None, ...]) -> None:
    with pytest.raises(SpecError, match=r"raw\.payments belongs to pipeline shop.*takes_over: \[shop\] to other\.yaml"):
        check_owner(spec("other"), "payments", published(*owners))


def test_the_old_pipeline_does_not_go_on_once_another_has_taken_over() -> None:
    with pytest.raises(SpecError, match="belongs to pipeline other"):
        check_owner(spec("shop"), "payments", published("shop", "other"))
