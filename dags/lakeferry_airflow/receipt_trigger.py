"""Waits in Airflow's triggerer until datasets of a run have their last receipt, and logs each receipt as it comes."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from jobs.runs.last_receipt import is_last
from lakeferry_airflow.messages import describe
from lakeferry_airflow.run_watch import WATCHES, Run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from jobs.runs.receipts import Receipt
    from lakeferry_airflow.run_watch import Look, RunWatch


class ReceiptTrigger(BaseTrigger):
    """Fires once each dataset has its last receipt, or once no stage can bring one any more.

    Args:
        run: the fields of `run_watch.Run`.
        generations: the generation that each dataset is planned in; receipts of older ones do not count.
        interval_seconds: how long a look at the run is good for.
        logged_until: the end of the newest receipt that an earlier wait of the task has logged; None: none was.
    """

    def __init__(
        self,
        run: dict[str, Any],
        generations: dict[str, int],
        interval_seconds: float,
        logged_until: str | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.run_fields = run
        self.generations = generations
        self.interval_seconds = interval_seconds
        self.logged_until = logged_until
        self._logged_until = datetime.fromisoformat(logged_until) if logged_until else None
        self._logged: set[tuple[str, int, str]] = set()
        self._problem: str | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        where = f"{ReceiptTrigger.__module__}.{ReceiptTrigger.__qualname__}"
        return where, {
            "run": self.run_fields,
            "generations": self.generations,
            "interval_seconds": self.interval_seconds,
            "logged_until": self.logged_until,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        run = Run(**{**self.run_fields, "stages": tuple(self.run_fields["stages"])})
        watch = WATCHES.join(run)
        try:
            why = await self._wait(watch, run.stages[-1])
        finally:
            WATCHES.leave(run)
        yield TriggerEvent({"why": why})  # type: ignore[no-untyped-call]

    async def _wait(self, watch: RunWatch, last_stage: str) -> str:
        while True:
            look = await watch.look(self.interval_seconds)
            self._log_look(look)
            if all(is_last(self._newest(look, dataset), last_stage) for dataset in self.generations):
                return "the last receipt is there"
            if look.ended:
                return "all stages have ended"
            await asyncio.sleep(self.interval_seconds)

    def _log_look(self, look: Look) -> None:
        if look.problem is not None and look.problem != self._problem:
            self.log.warning("The run cannot be looked at now: %s", look.problem)
        self._problem = look.problem
        for receipt in look.receipts:
            mark = (receipt.dataset, receipt.generation, receipt.stage)
            planned = self.generations.get(receipt.dataset)
            if planned is not None and receipt.generation >= planned and mark not in self._logged:
                self._logged.add(mark)
                if self._logged_until is None or datetime.fromisoformat(receipt.finished_at) > self._logged_until:
                    self.log.info("%s", describe(receipt))

    def _newest(self, look: Look, dataset: str) -> Sequence[Receipt]:
        """The dataset's receipts of its newest generation."""
        own = [receipt for receipt in look.receipts if receipt.dataset == dataset]
        newest = max([self.generations[dataset], *(receipt.generation for receipt in own)])
        return [receipt for receipt in own if receipt.generation == newest]
