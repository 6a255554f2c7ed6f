"""Asset events of what a run delivered, each once: a task that is cleared after it emitted does not emit again.

What was emitted is asked of Airflow itself, because a consumer of this Airflow has seen the events that stand in its
database and no others. The question is asked where the task was tried before, or the run was carried out before: else
nothing can have been emitted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import Asset
from airflow.sdk.execution_time.context import InletEventsAccessor

from lakeferry_airflow.assets import MOST_TASKS, lake_asset, pipeline_alias, warehouse_asset
from lakeferry_airflow.deliveries import delivery_of
from lakeferry_airflow.planning import invocation_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from airflow.sdk import AssetAlias, Context

    from jobs.runs.plan_document import Plan
    from jobs.runtime.settings import Settings
    from lakeferry_airflow.deliveries import Delivery
    from lakeferry_airflow.outcome import Record

_MOST_EVENTS = 5000
"""Newest events that are looked through: a run of 1,000 datasets emits 2,000."""

Emitted = frozenset[tuple[str, int | None]]
"""URI of the asset and generation of the dataset's plan."""


def carried_out_before(context: Context, plan: Plan) -> bool:
    """Whether this run may have emitted before: at an earlier try of the task, for an earlier generation of the plan,
    or before it was cleared, or deleted and created again under its id."""
    if context["ti"].try_number > 1 or invocation_of(context).is_other_than(plan.invocation):
        return True
    return any(entry.generation < plan.generation for entry in plan.datasets)


def unsent_events(context: Context, record: Record, settings: Settings) -> list[str]:
    """The datasets that a run has delivered and not emitted the events of.

    Cost: a question to Airflow per asset, or one where the datasets are more than have a task each.
    """
    spec = record.plan.spec
    through = (
        emitted_before(context, pipeline_alias(spec.pipeline, settings)) if len(spec.datasets) > MOST_TASKS else None
    )
    unsent = []
    for dataset in spec.datasets:
        delivery = delivery_of(record, dataset.name)
        if delivery.state != "delivered":
            continue
        assets = (lake_asset(dataset.name, settings), warehouse_asset(dataset.bigquery.table, settings))
        if any(
            (asset.uri, delivery.generation) not in (emitted_before(context, asset) if through is None else through)
            for asset in assets
        ):
            unsent.append(dataset.name)
    return unsent


def emitted_before(context: Context, source: Asset | AssetAlias) -> Emitted:
    """What this run has emitted of an asset, or through an alias."""
    dag_id, run_id = context["ti"].dag_id, context["run_id"]
    since = getattr(context["dag_run"], "run_after", None)
    return frozenset(
        (event.asset.uri, (event.extra or {}).get("generation"))
        for event in recorded_events(source, since.isoformat() if since else None)
        if (event.source_dag_id, event.source_run_id) == (dag_id, run_id)
    )


def recorded_events(source: Asset | AssetAlias, since: str | None) -> Iterable[Any]:
    """Events of an asset or alias in Airflow's database, newest first."""
    # A task may ask for the events of its inlets only, and an asset that is inlet and outlet of one task makes a loop
    # in Airflow's graph of assets. The accessor is what `inlet_events[asset]` returns.
    events = (
        InletEventsAccessor(asset_name=source.name, asset_uri=source.uri)
        if isinstance(source, Asset)
        else InletEventsAccessor(alias_name=source.name)
    )
    events.ascending(False).limit(_MOST_EVENTS)
    return events.after(since) if since else events


def emit(context: Context, assets: Sequence[Asset], delivery: Delivery, plan: Plan) -> list[Asset]:
    """Say in the events of the assets what was delivered.

    Returns:
        The assets that have an event once the task succeeds: its outlets. A task emits all of its outlets.
    """
    fresh = list(assets)
    if carried_out_before(context, plan):
        fresh = [asset for asset in assets if (asset.uri, delivery.generation) not in emitted_before(context, asset)]
    for asset in fresh:
        context["outlet_events"][asset].extra = delivery.extra(context["run_id"])
    return fresh


def emit_through(
    context: Context, alias: AssetAlias, deliveries: Iterable[tuple[Sequence[Asset], Delivery]], plan: Plan
) -> int:
    """Emit the assets of many datasets through one alias; how many events that makes once the task succeeds."""
    before = emitted_before(context, alias) if carried_out_before(context, plan) else frozenset()
    events = context["outlet_events"][alias]
    count = 0
    for assets, delivery in deliveries:
        for asset in assets:
            if (asset.uri, delivery.generation) not in before:
                events.add(asset, extra=delivery.extra(context["run_id"]))
                count += 1
    return count
