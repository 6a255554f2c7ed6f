"""What a trigger asks for: a window and some of the datasets, checked before anything runs."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from connectors.errors import UsageError
from lakeferry_airflow.window_bounds import Bound, check_bounds_order

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

KEYS = ("start", "end", "datasets")


@dataclass(frozen=True)
class Request:
    """`start` and `end` are texts, see `window_bounds.Bound`; None is unbounded. `datasets` empty means all."""

    start: str | None = None
    end: str | None = None
    datasets: tuple[str, ...] = ()


def requested(
    pipeline: str,
    known: Sequence[str],
    params: Mapping[str, Any],
    conf: Mapping[str, Any] | None,
    interval: tuple[datetime, datetime] | None,
) -> Request:
    """Read a run's conf and params.

    The conf is what the person asked for. Airflow merges it into the params unless `[core]
    dag_run_conf_overrides_params` is off; then the params are those of the DAG, and a window in the conf would be lost
    (Airflow, `airflow/sdk/definitions/param.py`, `process_params`).

    Args:
        pipeline: name of the pipeline, for messages.
        known: names of its datasets.
        params: the run's params.
        conf: the run's conf as it was given.
        interval: the data interval where the run is a backfill, else None: a scheduled run starts at
            the published position, not at its interval.

    Raises:
        UsageError: an unknown key or dataset, a bound that cannot be read, an end that is not after its start or of
            another kind, or a key that the params give another value than the conf.
    """
    for key in conf or {}:
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, 1)
            raise UsageError(
                f"unknown key {key!r} in the run's conf",
                pipeline=pipeline,
                choices=KEYS,
                fix=f"Did you mean {near[0]}?" if near else None,
            )
    values = {key: _value(pipeline, key, params, conf or {}) for key in KEYS}
    start = Bound.read(pipeline, "start", values["start"])
    end = Bound.read(pipeline, "end", values["end"])
    if interval is not None and start is None and end is None:
        start, end = (Bound.at(moment) for moment in interval)
    if start is not None and end is not None:
        check_bounds_order(pipeline, start, end)
    datasets = _datasets(pipeline, known, values["datasets"])
    return Request(start.text if start else None, end.text if end else None, datasets)


def _value(pipeline: str, key: str, params: Mapping[str, Any], conf: Mapping[str, Any]) -> object:
    """The value of a key: that of the conf, which the params may only repeat or leave open."""
    param = params.get(key)
    if key not in conf:
        return param
    if param not in (None, conf[key]):
        raise UsageError(
            f"the run's conf has {key} {conf[key]!r}, and the DAG's params have {param!r}",
            pipeline=pipeline,
            fix="Set [core] dag_run_conf_overrides_params = True in Airflow, or leave the param without a default",
        )
    return conf[key]


def _datasets(pipeline: str, known: Sequence[str], value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not value:
        raise UsageError(
            f"datasets is {value!r}, not a list of names", pipeline=pipeline, choices=known, fix="Leave it out for all"
        )
    for name in value:
        if name not in known:
            raise UsageError(
                f"no dataset {name!r}",
                pipeline=pipeline,
                choices=known,
                fix="If it was there when this run was triggered, the spec has lost it since: trigger a new run, with "
                "datasets that are there, or without the key for all of them",
            )
    wanted = tuple(name for name in known if name in value)
    return () if len(wanted) == len(known) else wanted
