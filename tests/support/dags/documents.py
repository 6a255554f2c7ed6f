"""A lake in a folder, with real plan and receipt documents of one pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from jobs.lake.documents import open_documents
from jobs.runs.plan_document import DatasetPlan, Failure, FrozenView, Plan, plan_key
from jobs.runs.receipts import Receipt, Receipts, Stage, Verdict
from jobs.runs.run_request import Invocation, RunRequest
from jobs.runtime.settings import Settings
from jobs.spec.bigquery_table import WarehouseSpec
from jobs.spec.frozen_file import FrozenFile
from jobs.spec.models import DatasetSpec, PipelineSpec, SourceSpec, ViewSpec

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

PIPELINE = "payments"
RUN = "manual__2026-11-23T00:00:00+00:00"
ALL = RunRequest()


class World:
    """The plans and receipts of one run, `run_id`, of the pipeline `PIPELINE`.

    The lake is empty besides: `folder` is what the test gives, and no service is asked.
    """

    def __init__(self, folder: Path) -> None:
        self.run_id = RUN
        self.settings = Settings(
            lake=f"file://{folder}/lake",
            catalog=f"sqlite:///{folder}/catalog.db",
            pipelines=folder / "pipelines",
            state_dir=folder / "state",
        )
        self.documents = open_documents(self.settings.lake)
        self.views: tuple[str, ...] = ()

    def plan(
        self,
        generation: int = 1,
        exit_code: int = 2,
        error: str = "no table",
        carried: tuple[str, ...] = (),
        clear_number: int | None = None,
        request: RunRequest = ALL,
        **states: Literal["planned", "empty", "failed", "skipped"],
    ) -> str:
        """Write the plan of a generation, with these datasets in these states; its address.

        `exit_code` and `error` are those of the datasets that are `failed`; `carried` names those whose entry is that
        of the generation before. `clear_number` is that of the invocation that asked, `request` what it asked for.
        """
        failure = Failure(error=error, error_type="ObjectNotFound", exit_code=exit_code)
        plan = Plan(
            pipeline=PIPELINE,
            run_id=self.run_id,
            generation=generation,
            request=request,
            invocation=Invocation(clear_number=clear_number),
            created_at="2026-11-23T00:00:00+00:00",
            spec=spec_of(*states, views=self.views),
            datasets=tuple(
                DatasetPlan(
                    name=name,
                    generation=generation - (name in carried),
                    state=state,
                    failure=failure if state == "failed" else None,
                    reason="it has no cursor" if state == "skipped" else None,
                    batch=1,
                )
                for name, state in states.items()
            ),
            views=tuple(FrozenView(name=name, sql=FrozenFile.of("sales.sql", "SELECT 1")) for name in self.views),
            uri=self.documents.uri(plan_key(PIPELINE, self.run_id, generation)),
        )
        self.documents.create(plan_key(PIPELINE, self.run_id, generation), plan.model_dump_json())
        return plan.uri

    def leave(
        self,
        dataset: str,
        *stages: Stage,
        verdict: Verdict = "done",
        code: int = 0,
        generation: int = 1,
        published: int | None = None,
        loaded: int | None = None,
    ) -> None:
        """Leave a dataset's receipt of each of the stages; a `failed` one says that the amount is negative."""
        for stage in stages:
            Receipts(self.documents).leave(
                Receipt(
                    pipeline=PIPELINE,
                    run_id=self.run_id,
                    generation=generation,
                    stage=stage,
                    dataset=dataset,
                    verdict=verdict,
                    error="amount is negative" if verdict == "failed" else None,
                    exit_code=code,
                    published=published if stage == "check" else None,
                    loaded=loaded if stage == "load" else None,
                )
            )

    def leave_view(self, view: str, verdict: Verdict = "done", code: int = 0, generation: int = 1) -> None:
        """Leave the receipt of one more attempt at a view; a `failed` one says that BigQuery refuses it."""
        Receipts(self.documents).leave_view(
            Receipt(
                pipeline=PIPELINE,
                run_id=RUN,
                generation=generation,
                stage="view",
                dataset=view,
                verdict=verdict,
                error="sales.sql: BigQuery refuses it." if verdict == "failed" else None,
                exit_code=code,
            )
        )

    def into(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Set the environment so that `load_settings`, here and in child processes, reads this world's settings."""
        for key, value in self.settings.model_dump(exclude_none=True).items():
            monkeypatch.setenv(f"LAKEFERRY_{key.upper()}", str(value))


def spec_of(*datasets: str, views: tuple[str, ...] = ()) -> PipelineSpec:
    """The pipeline's spec with these datasets and views."""
    return PipelineSpec(
        pipeline=PIPELINE,
        source=SourceSpec(type="aurora", connection="aurora_payments"),
        datasets=[
            DatasetSpec(
                name=name,
                write_disposition="append",
                bigquery=WarehouseSpec(table=f"shop.{name}"),
                options={"table": f"shop.{name}", "cursor": "updated_at"},
            )
            for name in datasets
        ],
        views=[ViewSpec(name=name, sql="sales.sql") for name in views],
    )
