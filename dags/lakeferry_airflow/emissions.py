"""Asset events of what a run delivered, each once: a task that is cleared after it emitted does not emit again.

What was emitted is asked of Airflow itself, because a consumer of this Airflow has seen the events that stand in its
database and no others. The question is asked where the task was tried before, or the run was carried out before: else
nothing can have been emitted.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from airflow.sdk import Asset
from airflow.sdk.execution_time.context import InletEventsAccessor

from lakeferry_airflow.assets import MOST_TASKS, lake_asset, pipeline_alias, warehouse_asset
from lakeferry_airflow.deliveries import delivery_of
from lakeferry_airflow.planning import invocation_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from airflow.sdk import AssetAlias, Context

    from jobs.runs.plan_document import Plan
    from jobs.runtime.settings import Settings
    from lakeferry_airflow.deliveries import Delivery
    from lakeferry_airflow.outcome import RunRecord

_PAGE_EVENTS = 5000
_MOST_PAGES = 20
"""How many pages are searched for events of one asset or alias. If more events came after a delivery, the consumers of
the asset have run many times since, and no event is repeated."""
_CLOCKS = timedelta(minutes=10)
"""How far the clocks of a worker, which dates receipts, and of Airflow, which dates events, may be apart."""

Event = tuple[str, int | None]
"""URI of the asset and generation of the dataset's plan."""
Emitted = frozenset[Event]


def carried_out_before(context: Context, plan: Plan) -> bool:
    """Whether this run may have emitted before: at an earlier try of the task, for an earlier generation of the plan,
    or before it was cleared, or deleted and created again under its id."""
    if context["ti"].try_number > 1 or invocation_of(context).is_other_than(plan.invocation):
        return True
    return any(entry.generation < plan.generation for entry in plan.datasets)


def unsent_events(context: Context, record: RunRecord, settings: Settings) -> list[str]:
    """Return the datasets that a run has delivered without emitting their events.

    Cost: one request to Airflow per asset, or a single one if there are too many datasets for a task each.
    """
    spec = record.plan.spec
    deliveries = {dataset.name: delivery_of(record, dataset.name) for dataset in spec.datasets}
    events = {
        (asset.uri, deliveries[dataset.name].generation): (dataset.name, asset)
        for dataset in spec.datasets
        if deliveries[dataset.name].state == "delivered"
        for asset in (lake_asset(dataset.name, settings), warehouse_asset(dataset.bigquery.table, settings))
    }
    if len(spec.datasets) > MOST_TASKS:
        alias = pipeline_alias(spec.pipeline, settings)
        emitted = _emitted_through(context, alias, {event: deliveries[name] for event, (name, _) in events.items()})
    else:
        emitted = frozenset(
            event for event, (name, asset) in events.items() if _is_emitted(context, asset, deliveries[name])
        )
    return list(dict.fromkeys(name for event, (name, _) in events.items() if event not in emitted))


def emitted_before(context: Context, source: Asset | AssetAlias, wanted: Emitted, since: str | None) -> Emitted:
    """Return those of the wanted events that this run has emitted for an asset, or through an alias.

    Args:
        since: when the first of the deliveries began, ISO 8601: none of their events is older. A run that
            was deleted and created again is younger than its events, so the time of the run says nothing.
    """
    dag_id, run_id = context["ti"].dag_id, context["run_id"]
    after = (datetime.fromisoformat(since) - _CLOCKS).isoformat() if since else None
    emitted: set[Event] = set()
    for _ in range(_MOST_PAGES):
        page = list(recorded_events(source, after, _PAGE_EVENTS))
        emitted |= {
            (event.asset.uri, (event.extra or {}).get("generation"))
            for event in page
            if (event.source_dag_id, event.source_run_id) == (dag_id, run_id)
        }
        if wanted <= emitted or len(page) < _PAGE_EVENTS:
            return wanted & emitted
        last = page[-1].timestamp.isoformat()
        if last == after:
            break
        after = last
    return wanted


def recorded_events(source: Asset | AssetAlias, after: str | None, count: int) -> Iterable[Any]:
    """Return the first events of an asset or alias in Airflow's database from a moment on, oldest first."""
    # A task may ask for the events of its inlets only, and an asset that is inlet and outlet of one task makes a loop
    # in Airflow's graph of assets. The accessor is what `inlet_events[asset]` returns.
    events = (
        InletEventsAccessor(asset_name=source.name, asset_uri=source.uri)
        if isinstance(source, Asset)
        else InletEventsAccessor(alias_name=source.name)
    )
    events.ascending().limit(count)
    return events.after(after) if after else events


def emit(context: Context, assets: Sequence[Asset], delivery: Delivery, plan: Plan) -> list[Asset]:
    """Write into the events of the assets what was delivered.

    Returns:
        The assets that have an event once the task succeeds: its outlets. A task emits all of its outlets.
    """
    if carried_out_before(context, plan):
        return emit_late(context, assets, delivery)
    return _emit(context, assets, delivery)


def emit_late(context: Context, assets: Sequence[Asset], delivery: Delivery) -> list[Asset]:
    """The same for what an earlier generation of this run's plan has delivered: it may have emitted the events."""
    return _emit(context, [asset for asset in assets if not _is_emitted(context, asset, delivery)], delivery)


def _emit(context: Context, assets: Sequence[Asset], delivery: Delivery) -> list[Asset]:
    for asset in assets:
        context["outlet_events"][asset].extra = delivery.extra(context["run_id"])
    return list(assets)


def emit_through(
    context: Context,
    alias: AssetAlias,
    deliveries: Iterable[tuple[Sequence[Asset], Delivery]],
    plan: Plan,
    late: Iterable[tuple[Sequence[Asset], Delivery]] = (),
) -> int:
    """Emit the assets of many datasets through one alias. Returns how many events that makes if the task succeeds.

    Args:
        late: deliveries of earlier generations of the plan, whose events may be missing.
    """
    events = {
        (asset.uri, delivery.generation): (asset, delivery) for assets, delivery in deliveries for asset in assets
    }
    overdue = {(asset.uri, delivery.generation): (asset, delivery) for assets, delivery in late for asset in assets}
    asked = (events if carried_out_before(context, plan) else {}) | overdue
    events |= overdue
    before: Emitted = frozenset()
    if asked:
        before = _emitted_through(context, alias, {event: delivery for event, (_, delivery) in asked.items()})
    for event, (asset, delivery) in events.items():
        if event in before:
            continue
        context["outlet_events"][alias].add(asset, extra=delivery.extra(context["run_id"]))
    return len(events) - len(before)


def _emitted_through(context: Context, alias: AssetAlias, events: Mapping[Event, Delivery]) -> Emitted:
    """Return those of the events, each with its delivery, that this run has emitted through an alias."""
    since = min(
        (delivery.began_at for delivery in events.values() if delivery.began_at),
        key=datetime.fromisoformat,
        default=None,
    )
    return emitted_before(context, alias, frozenset(events), since)


def _is_emitted(context: Context, asset: Asset, delivery: Delivery) -> bool:
    event = (asset.uri, delivery.generation)
    return event in emitted_before(context, asset, frozenset({event}), delivery.began_at)
