"""The notifiers of a pipeline's YAML: built or named, and refused if they could reach nobody.

A notifier is anybody's code. If it fails when it is imported or built, it breaks the DAG of its pipeline alone. A
notifier that Airflow cannot use is refused when the DAG is built: otherwise the first failed run would notify nobody.
"""

from __future__ import annotations

import inspect
import sys
from datetime import timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseNotifier
from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference
from airflow.sdk.exceptions import AirflowTaskTimeout

from connectors.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jobs.spec.airflow_options import Deadline, Notifier
    from jobs.spec.models import PipelineSpec

NOT_OF_THE_CODE = (KeyboardInterrupt, GeneratorExit, AirflowTaskTimeout)
"""These end a parse. `AirflowTaskTimeout` is Airflow's own limit. All else is of the notifier, also if
it is no `Exception`: a script calls `sys.exit`, a module for tests skips itself."""


def run_callbacks(spec: PipelineSpec, notifiers: Sequence[Notifier]) -> list[Any]:
    """What the DAG processor calls with the context of a run that ended.

    Raises:
        SpecError: a notifier cannot be imported or built, or the DAG processor could not call it.
    """
    return [_callback(spec, entry) for entry in notifiers]


def deadline_alerts(spec: PipelineSpec, deadline: Deadline) -> list[DeadlineAlert]:
    """What the triggerer awaits when a run is late.

    Raises:
        SpecError: a notifier is here and the triggerer could not await it. One that is not here may be there.
    """
    return [
        DeadlineAlert(
            reference=DeadlineReference.DAGRUN_QUEUED_AT,
            interval=timedelta(minutes=deadline.after),
            callback=_awaited(spec, entry),
        )
        for entry in deadline.notify
    ]


def _callback(spec: PipelineSpec, entry: Notifier) -> Any:
    module, _, name = entry.notifier.rpartition(".")
    try:
        callback = getattr(import_module(module), name)(**entry.arguments)
        fault = _fault_of_callback(callback)
    except NOT_OF_THE_CODE:
        raise
    except BaseException as error:  # noqa: BLE001 - it breaks its pipeline alone
        raise _not_built(spec, entry, error) from None
    if fault:
        raise _refusal(spec, entry, fault, "Name a class whose objects the DAG processor can call with a context")
    return callback


def _fault_of_callback(callback: Any) -> str | None:
    """Why the DAG processor could not call it (`callback(context)`, airflow/dag_processing/processor.py)."""
    if not callable(callback):
        return f"is built as a {type(callback).__name__}, which cannot be called"
    if isinstance(callback, BaseNotifier) and type(callback).notify is BaseNotifier.notify:
        return "has no method `notify`, which is called when a run ends"
    if inspect.iscoroutinefunction(callback) or inspect.iscoroutinefunction(type(callback).__call__):
        return "has to be awaited, and the DAG processor only calls it"
    if not _accepts(callback, {}):
        return "cannot be called with the context of a run alone"
    return None


def _awaited(spec: PipelineSpec, entry: Notifier) -> AsyncCallback:
    try:
        # Airflow imports it where it can, and passes over an ImportError.
        callback = AsyncCallback(entry.notifier, entry.arguments)
        fault = _fault_of_awaited(entry)
    except NOT_OF_THE_CODE:
        raise
    except BaseException as error:  # noqa: BLE001 - it breaks its pipeline alone
        if "context" in entry.arguments or (fault := _fault_of_awaited(entry)) is None:
            raise _not_built(spec, entry, error) from None
    if fault:
        raise _refusal(spec, entry, fault, "Name a class that the triggerer can await (Airflow, Deadline Alerts)")
    return callback


def _fault_of_awaited(entry: Notifier) -> str | None:
    """Why the triggerer could not await it (`CallbackTrigger` in airflow/triggers/callback.py)."""
    module, _, name = entry.notifier.rpartition(".")
    awaited = getattr(sys.modules.get(module), name, None)
    if awaited is None:
        return None
    if not (inspect.iscoroutinefunction(awaited) or hasattr(awaited, "__await__")):
        return "cannot be awaited"
    if (
        isinstance(awaited, type)
        and issubclass(awaited, BaseNotifier)
        and awaited.async_notify is BaseNotifier.async_notify
    ):
        return "has no method `async_notify`, which is awaited when a run is late"
    # The context is passed to what takes it.
    if not (_accepts(awaited, **entry.arguments) or _accepts(awaited, **entry.arguments, context={})):
        return f"does not take the arguments {', '.join(sorted(entry.arguments)) or '(none)'}"
    return None


def _accepts(called: Callable[..., Any], *arguments: Any, **named: Any) -> bool:
    try:
        signature = inspect.signature(called)
    except (TypeError, ValueError):
        # Some of what is written in C has no signature.
        return True
    try:
        signature.bind(*arguments, **named)
    except TypeError:
        return False
    return True


def _not_built(spec: PipelineSpec, entry: Notifier, error: BaseException) -> SpecError:
    return _refusal(
        spec,
        entry,
        f"cannot be built: {type(error).__name__}: {error}".rstrip("."),
        "Install its provider where DAGs are parsed, and check its path and arguments",
    )


def _refusal(spec: PipelineSpec, entry: Notifier, fault: str, fix: str) -> SpecError:
    return SpecError(f"notifier {entry.notifier} {fault}", where=spec.file or None, pipeline=spec.pipeline, fix=fix)
