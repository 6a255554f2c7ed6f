"""A run in which a test executes tasks one by one, with the context that Airflow's task runner gives them.

What the double keeps to is in Airflow's sources: `_run_task_and_map_outcome` in `sdk/execution_time/task_runner.py`
(which exception gives which state), and `ti_run` in `api_fastapi/execution_api/routes/task_instances.py` (a new try
begins without the XComs of the one before, a resumed one keeps them).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseXCom
from airflow.sdk.definitions.param import process_params
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskDeferred
from airflow.sdk.execution_time.context import OutletEventAccessors

from tests.support.dags.documents import RUN

if TYPE_CHECKING:
    from airflow.sdk import DAG, BaseOperator, Context

Cell = tuple[str, int, str]
"""Task id, map index (-1 where the task is not mapped) and key of an XCom."""


@dataclass
class TaskEnd:
    """How a try ended. `deferred` is set where it went on in a trigger."""

    state: str
    message: str = ""
    value: Any = None
    error: BaseException | None = None
    deferred: TaskDeferred | None = None


class TaskStateStore(dict[str, Any]):
    """The store that Airflow 3.3 keeps for a task from one try to the next."""

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        self[key] = value

    def delete(self, key: str) -> None:
        self.pop(key, None)


@dataclass
class RunDouble:
    """One run of a DAG. `states` and `xcoms` may be set and read by the test.

    Attributes:
        states: the state of each task by id; of a mapped one by `TASK_INDEX`, as `ti.get_task_states` has it.
        running: the operator while it executes, for `on_kill`.
    """

    dag: DAG
    conf: dict[str, Any] = field(default_factory=dict)
    run_id: str = RUN
    run_type: str = "manual"
    interval: tuple[datetime, datetime] | None = None
    clear_number: int = 0
    started_at: datetime = datetime(2026, 11, 23, tzinfo=UTC)
    bundle_version: str | None = None
    states: dict[str, str] = field(default_factory=dict)
    xcoms: dict[Cell, Any] = field(default_factory=dict)
    stores: dict[str, TaskStateStore] = field(default_factory=dict)
    running: BaseOperator | None = None
    contexts: list[Context] = field(default_factory=list)

    def planned(self, uri: str) -> None:
        """Have the task `plan` done, with this plan."""
        self.states["plan"] = "success"
        self.xcoms["plan", -1, BaseXCom.XCOM_RETURN_KEY] = uri

    def task(self, task_id: str, try_number: int = 1, map_index: int = -1) -> TaskEnd:
        """Execute a task's next try. Trigger rules are not asked: which tasks run is the test's choice."""
        for cell in [cell for cell in self.xcoms if cell[:2] == (task_id, map_index)]:
            del self.xcoms[cell]
        return self._run(task_id, try_number, map_index, None)

    def resume(self, task_id: str, end: TaskEnd, event: Any, try_number: int = 1, map_index: int = -1) -> TaskEnd:
        """Go on with a deferred task after its trigger fired the event."""
        assert end.deferred is not None
        kwargs = {**(end.deferred.kwargs or {}), "event": event}
        return self._run(task_id, try_number, map_index, (end.deferred.method_name, kwargs))

    def time_out(self, task_id: str) -> TaskEnd:
        """Go on with a deferred task whose timeout has passed: its trigger has not fired."""
        return self._run(task_id, 1, -1, ("__fail__", {"error": "Trigger timeout"}))

    def xcom(self, task_id: str, key: str = BaseXCom.XCOM_RETURN_KEY, map_index: int = -1) -> Any:
        return self.xcoms.get((task_id, map_index, key))

    def _run(
        self, task_id: str, try_number: int, map_index: int, resumed: tuple[str, dict[str, Any]] | None
    ) -> TaskEnd:
        # A try has a copy of its own, as it has a process of its own in Airflow.
        task: Any = self.dag.get_task(task_id).prepare_for_execution()
        self.running = task
        name = task_id if map_index < 0 else f"{task_id}_{map_index}"
        self.states[name] = "running"
        try:
            context = self.context(task, try_number, map_index)
            self.contexts.append(context)
            task.render_template_fields(context)
            if resumed is None:
                task.pre_execute(context)
                value = task.execute(context)
            else:
                method, kwargs = resumed
                value = task.resume_execution(method, kwargs, context)
            end = TaskEnd("success", value=value)
            if value is not None and task.do_xcom_push:
                self.xcoms[task_id, map_index, BaseXCom.XCOM_RETURN_KEY] = value
        except TaskDeferred as deferred:
            end = TaskEnd("deferred", deferred=deferred)
        except AirflowSkipException as skip:
            end = TaskEnd("skipped", str(skip), error=skip)
        except AirflowFailException as error:
            end = TaskEnd("failed", str(error), error=error)
        except AssertionError:
            raise
        except Exception as error:  # noqa: BLE001 - Airflow tries again after any other
            end = TaskEnd("up_for_retry" if try_number <= task.retries else "failed", str(error), error=error)
        finally:
            self.running = None
        self.states[name] = end.state
        return end

    def context(self, task: Any, try_number: int = 1, map_index: int = -1) -> Context:
        """The context of a try; raises what Airflow raises where the conf does not fit the params."""
        start, end = self.interval or (None, None)
        ti = _TaskInstance(self, task.task_id, try_number, map_index, task)
        made: Any = {
            "dag": self.dag,
            "dag_run": SimpleNamespace(
                dag_id=self.dag.dag_id,
                run_id=self.run_id,
                run_type=self.run_type,
                conf=self.conf,
                logical_date=start or datetime(2026, 11, 23, tzinfo=UTC),
                data_interval_start=start,
                data_interval_end=end,
                clear_number=self.clear_number,
                start_date=self.started_at,
            ),
            "inlets": task.inlets,
            "outlets": task.outlets,
            "outlet_events": OutletEventAccessors(),
            "params": process_params(self.dag, task, self.conf, suppress_exception=False),
            "run_id": self.run_id,
            "task": task,
            "task_instance": ti,
            "task_state_store": self.stores.setdefault(task.task_id, TaskStateStore()),
            "ti": ti,
            "try_number": try_number,
        }
        context: Context = made
        return context


@dataclass
class _TaskInstance:
    """The part of `RuntimeTaskInstance` that tasks use, with its arguments and answers."""

    run: RunDouble
    task_id: str
    try_number: int
    map_index: int
    task: Any
    rendered_map_index: str | None = None
    state: str = "running"

    @property
    def dag_id(self) -> str:
        return self.run.dag.dag_id

    @property
    def run_id(self) -> str:
        return self.run.run_id

    @property
    def bundle_instance(self) -> Any:
        return SimpleNamespace(name="lake", version=self.run.bundle_version)

    @property
    def max_tries(self) -> int:
        return int(self.task.retries)

    def xcom_push(self, key: str, value: Any) -> None:
        self.run.xcoms[self.task_id, self.map_index, key] = value

    def xcom_pull(
        self,
        task_ids: str | list[str] | None = None,
        dag_id: str | None = None,
        key: str = BaseXCom.XCOM_RETURN_KEY,
        include_prior_dates: bool = False,
        *,
        map_indexes: int | None = -1,
        default: Any = None,
        run_id: str | None = None,
    ) -> Any:
        index = -1 if map_indexes is None else map_indexes
        if task_ids is None or isinstance(task_ids, str):
            return self.run.xcoms.get((task_ids or self.task_id, index, key), default)
        return [self.run.xcoms.get((task_id, index, key), default) for task_id in task_ids]

    def get_task_states(
        self,
        dag_id: str,
        map_index: int | None = None,
        task_ids: list[str] | None = None,
        task_group_id: str | None = None,
        logical_dates: list[datetime] | None = None,
        run_ids: list[str] | None = None,
    ) -> dict[str, Any]:
        assert dag_id == self.dag_id
        assert run_ids is None or run_ids == [self.run_id]
        states = {
            task: state
            for task, state in self.run.states.items()
            if (task_ids is None or task in task_ids)
            and (task_group_id is None or task.startswith(f"{task_group_id}."))
        }
        return {self.run_id: states}
