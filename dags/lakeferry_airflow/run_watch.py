"""One look at a run for all who wait for it: its receipts and the states of its stages.

Every dataset of a run has a trigger of its own, and all of them run in one process. The first that asks reads, the
others get what it read, so that a run costs the same however many datasets it has.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from asgiref.sync import sync_to_async

from connectors.errors import LakeferryError
from jobs.lake.documents import open_documents
from jobs.runs.receipts import VIEW
from jobs.runs.run_receipts import RunReceipts
from jobs.runtime.settings import read_settings_file

if TYPE_CHECKING:
    from jobs.runs.receipts import Receipt

ENDED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
"""Airflow's states of a task that does nothing more (`TerminalTIState` in airflow/utils/state.py)."""


@dataclass(frozen=True)
class Run:
    """Which run: `lake` is the lake's root, `dag_id` the DAG of the pipeline, `stages` its stage tasks in order."""

    lake: str
    pipeline: str
    dag_id: str
    run_id: str
    stages: tuple[str, ...]


@dataclass(frozen=True)
class Look:
    """What was seen: all receipts so far, why they could not be read, and whether every stage task has ended.

    The states are asked before the receipts are read: where `ended`, no receipt is missing.
    """

    receipts: tuple[Receipt, ...]
    ended: bool
    problem: str | None = None


class Readings(Protocol):
    """Where looks come from; a test has others."""

    async def states(self, run: Run) -> dict[str, str | None]:
        """States of the stage tasks by task id."""

    async def receipts(self, run: Run) -> tuple[Receipt, ...]:
        """All receipts of the run."""


class RunWatch:
    """The looks at one run. It lives in the event loop of the triggerer and needs no lock."""

    def __init__(self, run: Run, readings: Readings) -> None:
        self._run = run
        self._readings = readings
        self._newest: asyncio.Task[Look] | None = None
        self._began = 0.0
        self.waiting = 0

    async def look(self, interval_seconds: float) -> Look:
        """A look that began at most `interval_seconds` ago, or a new one that all who ask meanwhile get, too."""
        newest = self._newest
        if newest is None or (newest.done() and time.monotonic() - self._began >= interval_seconds):
            self._began = time.monotonic()
            newest = self._newest = asyncio.create_task(self._read())
        # A trigger that is cancelled must not cancel the look of the others.
        return await asyncio.shield(newest)

    async def _read(self) -> Look:
        try:
            states = await self._readings.states(self._run)
        except Exception as error:  # noqa: BLE001 - Airflow's SDK raises RuntimeError and others where its API fails
            return Look((), ended=False, problem=f"Airflow does not give the states of the stages: {error}")
        ended = all(states.get(stage) in ENDED for stage in self._run.stages)
        try:
            return Look(await self._readings.receipts(self._run), ended)
        except LakeferryError as error:
            return Look((), ended, str(error))


class _Watches:
    """The watches of this process by run."""

    def __init__(self) -> None:
        self._watches: dict[Run, RunWatch] = {}

    def join(self, run: Run) -> RunWatch:
        watch = self._watches.get(run)
        if watch is None:
            watch = self._watches[run] = RunWatch(run, _Airflow())
        watch.waiting += 1
        return watch

    def leave(self, run: Run) -> None:
        watch = self._watches[run]
        watch.waiting -= 1
        if watch.waiting == 0:
            del self._watches[run]


class _Airflow:
    """Asks Airflow for states and the lake for receipts."""

    def __init__(self) -> None:
        self._receipts: RunReceipts | None = None

    async def states(self, run: Run) -> dict[str, str | None]:
        # As the triggers of Airflow's standard provider ask (triggers/external_task.py): the supervisor of the
        # triggerer answers, through a thread, because the call blocks.
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        answer: dict[str, Any] = await sync_to_async(RuntimeTaskInstance.get_task_states)(
            dag_id=run.dag_id, task_ids=list(run.stages), run_ids=[run.run_id]
        )
        states: dict[str, str | None] = answer.get(run.run_id, {})
        return states

    async def receipts(self, run: Run) -> tuple[Receipt, ...]:
        return await asyncio.to_thread(self._look, run)

    def _look(self, run: Run) -> tuple[Receipt, ...]:
        if self._receipts is None:
            read_settings_file()
            self._receipts = RunReceipts(open_documents(run.lake), run.pipeline, run.run_id)
        # A view may have the name of a dataset.
        return tuple(receipt for receipt in self._receipts.look() if receipt.stage != VIEW)


WATCHES = _Watches()
