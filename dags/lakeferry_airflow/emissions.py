"""Asset events of what a run delivered, each once: a task that is cleared after it emitted does not emit again.

What was emitted is asked of Airflow itself, because a consumer of this Airflow has seen the events that stand in its
database and no others. The question is asked where a task has been tried before, as a first try cannot have emitted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import Asset
from airflow.sdk.execution_time.context import InletEventsAccessor

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from airflow.sdk import AssetAlias, Context

    from lakeferry_airflow.deliveries import Delivery

_MOST_EVENTS = 5000
"""Newest events that are looked through: a run of 1,000 datasets emits 2,000."""

Emitted = frozenset[tuple[str, int | None]]
"""URI of the asset and generation of the dataset's plan."""


def emitted_before(context: Context, source: Asset | AssetAlias) -> Emitted:
    """What this run has emitted of an asset, or through an alias."""
    if context["ti"].try_number <= 1:
        return frozenset()
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


def emit(context: Context, assets: Sequence[Asset], delivery: Delivery) -> list[Asset]:
    """Say in the events of the assets what was delivered.

    Returns:
        The assets that have an event once the task succeeds: its outlets. A task emits all of its outlets.
    """
    fresh = [asset for asset in assets if (asset.uri, delivery.generation) not in emitted_before(context, asset)]
    for asset in fresh:
        context["outlet_events"][asset].extra = delivery.extra(context["run_id"])
    return fresh


def emit_through(context: Context, alias: AssetAlias, deliveries: Iterable[tuple[Sequence[Asset], Delivery]]) -> int:
    """Emit the assets of many datasets through one alias; how many events that makes once the task succeeds."""
    before = emitted_before(context, alias)
    events = context["outlet_events"][alias]
    count = 0
    for assets, delivery in deliveries:
        for asset in assets:
            if (asset.uri, delivery.generation) not in before:
                events.add(asset, extra=delivery.extra(context["run_id"]))
                count += 1
    return count
