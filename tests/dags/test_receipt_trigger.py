"""How a dataset's task waits in the triggerer: what it logs, when it goes on, and what all of them cost together."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from connectors.errors import ServiceUnavailable
from jobs.runs.receipts import Receipt, Stage, Verdict
from jobs.runs.run_receipts import RunReceipts
from lakeferry_airflow import run_watch
from lakeferry_airflow.receipt_trigger import ReceiptTrigger
from tests.support.dags.documents import PIPELINE, RUN

if TYPE_CHECKING:
    from tests.support.dags.documents import World

INTERVAL_SECONDS = 0.005
STAGES = ("extract", "check", "load")


def receipt(stage: Stage, verdict: Verdict = "done", *, dataset: str = "payments", **fields: Any) -> Receipt:
    fields = {"generation": 1, **fields}
    return Receipt(pipeline=PIPELINE, run_id=RUN, stage=stage, dataset=dataset, verdict=verdict, **fields)


@dataclass
class Script:
    """The looks at a run in order; the last one stays. `reads` counts them."""

    looks: list[tuple[list[Receipt] | Exception, str]] = field(default_factory=list)
    reads: int = 0

    def then(self, *receipts: Receipt, state: str = "running", error: Exception | None = None) -> None:
        self.looks.append((error or list(receipts), state))

    async def states(self, run: run_watch.Run) -> dict[str, str | None]:
        state = self._now()[1]
        return dict.fromkeys(run.stages, state)

    async def receipts(self, run: run_watch.Run) -> tuple[Receipt, ...]:
        seen, _ = self._now()
        self.reads += 1
        await asyncio.sleep(0)
        if isinstance(seen, Exception):
            raise seen
        return tuple(seen)

    def _now(self) -> tuple[list[Receipt] | Exception, str]:
        return self.looks[min(self.reads, len(self.looks) - 1)]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    script = Script()
    monkeypatch.setattr(run_watch, "_Airflow", lambda: script)
    return script


class Log:
    """The trigger's log lines, in place of Airflow's logger, which writes to the task's file."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, text: str, *values: object) -> None:
        self.lines.append(text % values)

    warning = info


def trigger(log: Log | None = None, /, **generations: int) -> ReceiptTrigger:
    run = {"lake": "file:///l", "pipeline": PIPELINE, "dag_id": PIPELINE, "run_id": RUN, "stages": list(STAGES)}
    made = ReceiptTrigger(run, generations, INTERVAL_SECONDS)
    made._log = log or Log()  # type: ignore[assignment]
    return made


async def fired(one: ReceiptTrigger) -> str:
    async for event in one.run():
        return str(event.payload["why"])
    raise AssertionError("it fired nothing")


def wait(one: ReceiptTrigger) -> str:
    return asyncio.run(asyncio.wait_for(fired(one), 10))


LAST, ENDED = "the last receipt is there", "all stages have ended"


def test_it_logs_each_receipt_once_as_it_comes_and_goes_on_after_the_last(script: Script) -> None:
    log = Log()
    other = receipt("extract", dataset="merchants")
    extract, check = receipt("extract", read=3, seconds=2.04), receipt("check", read=3, published=2, quarantined=1)
    script.then()
    script.then(extract, other)
    script.then(extract, other, check)
    script.then(extract, other, check, receipt("load", loaded=2))
    assert wait(trigger(log, payments=1)) == LAST
    assert log.lines == [
        "payments: extract done (read 3) in 2.0 s",
        "payments: check done (read 3, published 2, quarantined 1)",
        "payments: load done (loaded 2)",
    ]
    assert script.reads == 4


@pytest.mark.parametrize(
    ("receipts", "why"),
    [
        ([receipt("extract", "failed", exit_code=1)], LAST),
        ([receipt("extract"), receipt("check", "superseded")], LAST),
        ([receipt("load", "empty")], LAST),
        # The stage plans the next generation.
        ([receipt("extract"), receipt("check", "failed", exit_code=3)], ENDED),
        # The receipt that load left before the run was cleared from check on.
        ([receipt("extract"), receipt("check", "failed", exit_code=3), receipt("load", "empty")], ENDED),
        ([receipt("extract"), receipt("check")], ENDED),
        ([], ENDED),
        # An older generation's.
        ([receipt("load", generation=0)], ENDED),
    ],
)
def test_which_receipt_is_the_last(script: Script, receipts: list[Receipt], why: str) -> None:
    script.then(*receipts)
    script.then(*receipts, state="success")
    assert wait(trigger(payments=1)) == why
    assert script.reads == (1 if why == LAST else 2)


def test_a_generation_that_a_stage_planned_anew_is_waited_for(script: Script) -> None:
    moved = receipt("check", "failed", exit_code=3)
    script.then(moved)
    script.then(moved, receipt("extract", generation=2))
    script.then(moved, receipt("extract", generation=2), receipt("load", generation=2))
    assert wait(trigger(payments=1)) == LAST
    assert script.reads == 3


@pytest.mark.parametrize("state", ["up_for_retry", "queued", "deferred", "scheduled"])
def test_a_stage_that_may_go_on_has_not_ended(script: Script, state: str) -> None:
    script.then(state=state)
    script.then(receipt("load"), state=state)
    assert wait(trigger(payments=1)) == LAST


def test_a_lake_that_does_not_answer_is_reported_once_and_asked_again(script: Script) -> None:
    log = Log()
    for _ in range(3):
        script.then(error=ServiceUnavailable("the lake does not answer"))
    script.then(receipt("load"))
    assert wait(trigger(log, payments=1)) == LAST
    assert log.lines == ["The run cannot be looked at now: the lake does not answer.", "payments: load done"]


def test_a_lake_that_never_answers_keeps_no_task_after_the_stages(script: Script) -> None:
    script.then(error=ServiceUnavailable("the lake does not answer"), state="failed")
    assert wait(trigger(payments=1)) == ENDED


def test_all_datasets_of_a_run_share_each_look(script: Script) -> None:
    names = [f"d{number}" for number in range(50)]
    script.then()
    script.then(*(receipt("extract", dataset=name) for name in names))
    script.then(*(receipt("load", dataset=name) for name in names))

    async def all_of_them() -> list[str]:
        return await asyncio.gather(*(fired(trigger(**{name: 1})) for name in names))

    assert asyncio.run(asyncio.wait_for(all_of_them(), 10)) == [LAST] * 50
    # 50 that read for themselves would be 150.
    assert script.reads <= 6
    assert run_watch.WATCHES._watches == {}


def test_a_trigger_that_is_cancelled_stops_no_other(script: Script) -> None:
    script.then()
    script.then()
    script.then(receipt("load"), receipt("load", dataset="merchants"))

    async def one_of_two() -> str:
        first = asyncio.create_task(fired(trigger(payments=1)))
        second = asyncio.create_task(fired(trigger(merchants=1)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        first.cancel()
        return await second

    assert asyncio.run(asyncio.wait_for(one_of_two(), 10)) == LAST
    assert run_watch.WATCHES._watches == {}


def test_a_receipt_is_read_once_however_often_the_run_is_looked_at(world: World) -> None:
    reads: list[str] = []
    read = world.documents.read
    world.documents.read = lambda key: (reads.append(key), read(key))[1]  # type: ignore[method-assign, func-returns-value]
    receipts = RunReceipts(world.documents, PIPELINE, RUN)
    assert receipts.look() == []
    world.leave("payments", "plan", "extract")
    assert {seen.stage for seen in receipts.look()} == {"plan", "extract"}
    world.leave("payments", "check")
    assert {seen.stage for seen in receipts.look()} == {"plan", "extract", "check"}
    assert len(reads) == 3


def test_an_airflow_that_does_not_answer_is_reported_once_and_asked_again(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, answers = Log(), iter([RuntimeError("API_SERVER_ERROR: 503"), RuntimeError("API_SERVER_ERROR: 503")])
    states = script.states

    async def refused(run: run_watch.Run) -> dict[str, str | None]:
        for error in answers:
            raise error
        return await states(run)

    monkeypatch.setattr(script, "states", refused)
    script.then(receipt("load"))
    assert wait(trigger(log, payments=1)) == LAST
    assert log.lines == [
        "The run cannot be looked at now: Airflow does not give the states of the stages: API_SERVER_ERROR: 503",
        "payments: load done",
    ]
