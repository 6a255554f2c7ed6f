"""The datasets of a run as Airflow tasks: each shows while the stages run what became of its dataset.

A task starts once the run is planned. While it waits it is in the triggerer and holds no worker, and its log has each
receipt of its dataset. In the end it is green where the dataset was delivered, and emits its assets; pink where there
was nothing to deliver, with the reason; red where the dataset was asked for and did not arrive. The last includes a run
without a plan: Airflow offers a task no way to end as `upstream_failed`, and pink would say that nothing was asked.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, BaseXCom
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSkipException,
    TaskDeferralTimeout,
)

from jobs.runs.last_receipt import is_last
from jobs.runtime.settings import load_settings
from lakeferry_airflow.addresses import bigquery_table
from lakeferry_airflow.bundle import mended_yaml
from lakeferry_airflow.deliveries import delivery_of, earlier_delivery
from lakeferry_airflow.delivery_table import listed, table_lines
from lakeferry_airflow.emissions import emit, emit_late, emit_through
from lakeferry_airflow.links import (
    DATASET_LINKS,
    RUN_LINKS,
    DataDocsLink,
    TableLink,
    data_docs_address,
    run_addresses,
)
from lakeferry_airflow.messages import as_airflow_errors
from lakeferry_airflow.outcome import RunRecord
from lakeferry_airflow.patience import SHORTEST, lack_of_triggerer, newest_end, next_wait
from lakeferry_airflow.run_watch import ENDED
from lakeferry_airflow.stages import DELIVERED, PLAN_TASK

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Asset, AssetAlias, Context
    from pydantic import JsonValue

    from jobs.runs.plan_document import DatasetPlan
    from jobs.runs.time_limits import TimeLimit
    from jobs.runtime.settings import Settings

_TESTER = "dag_test"
"""The trigger of a run by `airflow dags test` (`DAG.test` in Airflow's `sdk/definitions/dag.py`). It runs one task
after another, and a deferred one to its end: a task that waited there for the stages would keep them from running."""
RETRY = "clear the task plan with downstream: only what failed is planned again."


class _WatchingTask(BaseOperator):
    """Waits for the last receipts of some datasets, then concludes.

    Args:
        datasets: names of the datasets.
        deferrable: wait in the triggerer; without it the task comes after the stages and waits for nothing.
        limit: of the wait, which is that of the run: no stage works for longer.
    """

    # One field only: each adds half a second to the parse of a thousand pipelines of ten datasets.
    template_fields: Sequence[str] = ("plan_uri",)

    def __init__(self, *, datasets: Sequence[str], deferrable: bool, limit: TimeLimit, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.datasets = list(datasets)
        self.deferrable = deferrable
        self._limit = limit
        self.plan_uri = f"{{{{ ti.xcom_pull(task_ids='{PLAN_TASK}') or '' }}}}"
        self.addresses: dict[str, str] = {}

    def execute(self, context: Context) -> Any:
        with as_airflow_errors():
            settings = load_settings()
            record = self._record(context, settings)
            self.link_to(settings, record)
            going = self._going_on(record)
            if going:
                self._defer(context, settings, record, going, min(SHORTEST, self._limit.delta))
                # Only a run of `airflow dags test` comes here, once its stages have ended.
                record = self._record(context, settings)
            return self.conclude(context, settings, record)

    def resume(self, context: Context, event: dict[str, Any]) -> Any:
        """Go on after the trigger has seen the last receipts, or the end of the last stage."""
        self.log.info("Waited until %s", event["why"])
        with as_airflow_errors():
            settings = load_settings()
            record = self._record(context, settings)
            self.link_to(settings, record)
            return self.conclude(context, settings, record)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralTimeout:
            return self._look(context)

    def _look(self, context: Context) -> Any:
        """Look at the receipts after a wait in which no trigger fired: the stages still work, or no triggerer runs."""
        with as_airflow_errors():
            settings = load_settings()
            record = self._record(context, settings)
            self.link_to(settings, record)
            going = self._going_on(record)
            ended = bool(going) and _stages_ended(context, record)
            if ended:
                # The last receipt may have come between the look at the receipts and the question for the states.
                record = self._record(context, settings)
                going = self._going_on(record)
            if going and not ended:
                wait = next_wait(self._limit.delta, context["dag_run"].start_date)
                if wait is None:
                    message = f"{self._limit.passed(f'The wait for {self._what()}')}. See that a triggerer runs"
                    raise AirflowException(message)
                self._defer(context, settings, record, going, wait, logged_until=self._newest_end(record))
            lack = None if going else lack_of_triggerer(self._newest_end(record), settings.watch_seconds)
            if lack:
                self.log.warning("%s", lack)
            return self.conclude(context, settings, record)

    def link_to(self, settings: Settings, record: RunRecord) -> None:
        """Keep the addresses of what can be linked to before the task concludes."""
        self.addresses |= run_addresses(settings, record)

    def conclude(self, context: Context, settings: Settings, record: RunRecord) -> Any:
        raise NotImplementedError

    def _record(self, context: Context, settings: Settings) -> RunRecord:
        if not self.plan_uri:
            delivered = context["ti"].xcom_pull(task_ids=PLAN_TASK, key=DELIVERED)
            if delivered:
                raise AirflowSkipException(delivered)
            raise AirflowFailException(
                f"To retry {self._what()}, {RETRY}\nNothing was planned, so nothing was moved; the task plan says why"
            )
        return RunRecord.newest(settings, self.plan_uri)

    def _going_on(self, record: RunRecord) -> list[DatasetPlan]:
        if not self.deferrable:
            return []
        return [
            plan
            for plan in record.plan.datasets
            if plan.name in self.datasets
            and plan.state in ("planned", "empty")
            and not is_last(
                (receipt for stage in record.stages if (receipt := record.receipt(plan, stage)) is not None),
                record.stages[-1],
            )
        ]

    def _newest_end(self, record: RunRecord) -> str | None:
        plans = [plan for plan in record.plan.datasets if plan.name in self.datasets]
        receipts = (record.receipt(plan, stage) for plan in plans for stage in record.stages)
        return newest_end(receipt for receipt in receipts if receipt is not None)

    def _defer(
        self,
        context: Context,
        settings: Settings,
        record: RunRecord,
        going: Sequence[DatasetPlan],
        wait: timedelta,
        logged_until: str | None = None,
    ) -> None:
        if getattr(context["dag_run"], "triggering_user_name", None) == _TESTER:
            if _stages_ended(context, record):
                return
            again = datetime.now(UTC) + timedelta(seconds=settings.watch_seconds)
            raise AirflowRescheduleException(again)  # type: ignore[no-untyped-call]
        # Parsing a DAG needs no trigger.
        from lakeferry_airflow.receipt_trigger import ReceiptTrigger

        trigger = ReceiptTrigger(
            run={
                "lake": settings.lake,
                "pipeline": record.plan.pipeline,
                "dag_id": context["ti"].dag_id,
                "run_id": record.plan.run_id,
                "stages": list(record.stages),
            },
            generations={plan.name: plan.generation for plan in going},
            interval_seconds=settings.watch_seconds,
            logged_until=logged_until,
        )
        self.log.info(
            "Waiting in the triggerer for the receipts of %s. Where it resumes nothing, this task looks in %d min",
            self._what(),
            wait.total_seconds() // 60,
        )
        self.defer(trigger=trigger, method_name="resume", timeout=wait)

    def _what(self) -> str:
        raise NotImplementedError


def _stages_ended(context: Context, record: RunRecord) -> bool:
    """Whether no stage can leave another receipt."""
    ti, run_id = context["ti"], context["run_id"]
    states = ti.get_task_states(dag_id=ti.dag_id, task_ids=list(record.stages), run_ids=[run_id]).get(run_id, {})
    return all(states.get(stage) in ENDED for stage in record.stages)


class DatasetTask(_WatchingTask):
    """One dataset. Its XCom is `Delivery.rows`, and its outlets are the dataset's assets.

    Args:
        table: the dataset's table in BigQuery, `dataset.name`.
    """

    operator_extra_links = DATASET_LINKS

    def __init__(self, *, dataset: str, table: str, **kwargs: Any) -> None:
        super().__init__(datasets=[dataset], **kwargs)
        self.dataset = dataset
        self.table = table

    def link_to(self, settings: Settings, record: RunRecord) -> None:
        super().link_to(settings, record)
        self.addresses[TableLink.name] = bigquery_table(settings, self.table)

    def conclude(self, context: Context, settings: Settings, record: RunRecord) -> dict[str, JsonValue]:
        delivery = delivery_of(record, self.dataset)
        if delivery.has_data_docs:
            self.addresses[DataDocsLink.name] = data_docs_address(settings, record, delivery)
        rows = delivery.rows()
        if delivery.state != "delivered":
            # A task that does not succeed returns nothing by itself.
            context["ti"].xcom_push(key=BaseXCom.XCOM_RETURN_KEY, value=rows)
        if delivery.state == "failed":
            raise AirflowFailException(f"To retry {self._what()}, {RETRY}{mended_yaml(context)}\n{delivery.reason}")
        assets: list[Any] = list(self.outlets)
        if delivery.state == "nothing":
            earlier = earlier_delivery(record, self.dataset)
            self.outlets = emit_late(context, assets, earlier) if earlier else []
            if not earlier or not self.outlets:
                raise AirflowSkipException(f"dataset {self.dataset}: {delivery.reason}")
            self.log.info("Dataset %s: %s. %s, and no event said so", self.dataset, delivery.reason, earlier.reason)
            return rows
        self.outlets = emit(context, assets, delivery, record.plan)
        if len(self.outlets) < len(assets):
            self.log.info("This run has emitted the assets before: no event is repeated")
        self.log.info("Dataset %s: %s", self.dataset, delivery.reason)
        return rows

    def _what(self) -> str:
        return f"dataset {self.dataset}"


class DatasetsTask(_WatchingTask):
    """All datasets of a pipeline that has many: a table in its log and XCom, events through one alias.

    The task is green if any dataset was delivered, even beside a failed one: a task that fails emits nothing, and
    consumers of the delivered ones would not start. The table shows what failed, and that makes the run's verdict red.

    Args:
        assets: those of each dataset.
        alias: what their events go through.
    """

    operator_extra_links = RUN_LINKS

    def __init__(self, *, assets: Mapping[str, Sequence[Asset]], alias: AssetAlias, **kwargs: Any) -> None:
        super().__init__(datasets=list(assets), outlets=[alias], **kwargs)
        self.assets = {dataset: list(own) for dataset, own in assets.items()}
        self.alias = alias

    def _record(self, context: Context, settings: Settings) -> RunRecord:
        record = super()._record(context, settings)
        record.read()
        return record

    def conclude(self, context: Context, settings: Settings, record: RunRecord) -> list[dict[str, JsonValue]]:
        deliveries = [delivery_of(record, dataset) for dataset in self.datasets]
        for line in table_lines(deliveries):
            self.log.info("%s", line)
        rows = [delivery.rows() for delivery in deliveries]
        delivered = [delivery for delivery in deliveries if delivery.state == "delivered"]
        failed = [delivery for delivery in deliveries if delivery.state == "failed"]
        if not delivered:
            context["ti"].xcom_push(key=BaseXCom.XCOM_RETURN_KEY, value=rows)
        if failed:
            names = listed([delivery.dataset for delivery in failed])
            reasons = "\n".join(delivery.reason for delivery in failed)
            problem = f"To retry {names}, {RETRY}{mended_yaml(context)}\n{reasons}"
            if not delivered:
                raise AirflowFailException(problem)
            self.log.error("%s", problem)
        emitted = ((self.assets[delivery.dataset], delivery) for delivery in delivered)
        nothing = [delivery.dataset for delivery in deliveries if delivery.state == "nothing"]
        late = [(self.assets[name], earlier) for name in nothing if (earlier := earlier_delivery(record, name))]
        count = emit_through(context, self.alias, emitted, record.plan, late)
        if not delivered and not count:
            raise AirflowSkipException(
                f"none of {len(deliveries)} datasets had anything to deliver; the table says why"
            )
        self.log.info("%d of %d datasets were delivered; %d events", len(delivered), len(deliveries), count)
        return rows

    def _what(self) -> str:
        return f"the {len(self.datasets)} datasets"
