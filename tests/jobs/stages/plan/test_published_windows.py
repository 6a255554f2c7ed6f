"""A run that goes on with its window: what it has published already is loaded, and not read again."""

from __future__ import annotations

import pytest

from connectors.base import ReadPlan, Window
from jobs.lake.batch_log import PublishedBatch
from jobs.runs.plan_document import DatasetPlan, Failure, Plan
from jobs.runs.run_request import RunRequest
from jobs.runtime.settings import Settings
from jobs.spec.models import PipelineSpec
from jobs.stages.plan import published_windows as module
from jobs.stages.plan.published_windows import load_only, published_windows, windows_in_log
from jobs.stages.plan.replanning import Standing

WINDOW = RunRequest(start="2026-05-01T00:00:00Z", end="2026-06-01T00:00:00Z")


def entry(name: str, generation: int = 1, **fields: object) -> DatasetPlan:
    return DatasetPlan.model_validate({"name": name, "generation": generation, "state": "planned", **fields})


def standing(*entries: DatasetPlan, request: RunRequest = WINDOW, unfinished: bool = True) -> Standing:
    """A run of which none of the entries stands."""
    plan = Plan(
        pipeline="shop",
        run_id="run-1",
        generation=2,
        request=request,
        created_at="2026-11-23T00:00:00+00:00",
        spec=PipelineSpec.model_construct(pipeline="shop"),
        datasets=entries,
        uri="file:///lake/plans/shop/run-1/2.json",
    )
    return Standing(2, plan, unfinished=unfinished)


@pytest.fixture(autouse=True)
def published(monkeypatch: pytest.MonkeyPatch) -> set[tuple[str, int]]:
    """The datasets and generations whose batch is on main."""
    found = {("payments", 1)}
    monkeypatch.setattr(module, "is_published", lambda plan, entry, _: (entry.name, entry.generation) in found)
    return found


def test_a_published_window_is_known_in_every_later_generation() -> None:
    again = standing(entry("payments"), entry("refunds"), entry("merchants", 2, state="empty", published_in=1))
    assert published_windows(again, Settings()) == {"payments": 1, "merchants": 1}


@pytest.mark.parametrize("other", [{"request": RunRequest()}, {"unfinished": False}])
def test_positions_and_windows_that_are_moved_again_are_planned_in_full(
    other: dict[str, object],
) -> None:
    assert published_windows(standing(entry("payments"), **other), Settings()) == {}  # type: ignore[arg-type]


def test_only_load_is_left_of_it() -> None:
    source = ReadPlan.model_construct(slices=("s",))
    planned = DatasetPlan.model_construct(name="payments", generation=3, state="planned", source=source)
    left = load_only(planned, 1)
    assert (left.state, left.published_in, left.source.slices if left.source else None) == ("empty", 1, ())


@pytest.mark.parametrize("state", ["failed", "skipped"])
def test_what_cannot_be_planned_stays_so(state: str) -> None:
    failure = Failure(error="primary_key was (id)", error_type="SchemaBroken", exit_code=1)
    planned = entry("payments", 3, state=state, failure=failure if state == "failed" else None)
    assert load_only(planned, 1) == planned


MAY = Window(start="2026-05-01 00:00:00", end="2026-06-01 00:00:00")
JUNE = Window(start="2026-06-01 00:00:00", end="2026-07-01 00:00:00")


def batch(run_id: str, window: Window, *, moved_position: bool = False) -> PublishedBatch:
    return PublishedBatch(
        batch=7,
        run_id=run_id,
        generation=1,
        rows=3,
        quarantined=0,
        position=None,
        window_start=window.start,
        window_end=window.end,
        partitions=None,
        snapshot_id=1,
        published_at_ms=0,
        moved_position=moved_position,
    )


@pytest.mark.parametrize(
    ("published", "asked", "found"),
    [
        ([batch("run-1", MAY)], MAY, {"payments": 1}),
        ([batch("run-1", MAY)], Window(start=MAY.start), {"payments": 1}),
        ([batch("run-1", JUNE)], MAY, {}),
        ([batch("run-2", MAY)], MAY, {}),
        ([batch("run-1", MAY, moved_position=True)], MAY, {}),
        ([], MAY, {}),
    ],
)
def test_the_log_says_what_a_run_has_published_whose_plan_nobody_can_read(
    published: list[PublishedBatch], asked: Window, found: dict[str, int]
) -> None:
    """An upgrade changes the format of plans while a run is under way."""
    planned = {"payments": entry("payments", 2, source=ReadPlan(columns=(), window=MAY).model_dump())}
    assert windows_in_log("run-1", asked, planned, lambda _: published) == found
