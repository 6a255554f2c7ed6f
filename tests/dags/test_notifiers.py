"""Notifiers that would tell nobody are refused when the DAG is built, and break the DAG of their pipeline alone."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from airflow.sdk import BaseNotifier

from jobs.runtime.settings import Settings
from jobs.spec.reader import load_pipelines
from lakeferry_airflow.admission import sound_dags

PIPELINE = """\
pipeline: {name}
source: {{type: aurora, connection: c}}
datasets:
  - {{name: {name}, table: a.{name}, primary_key: [id], write_disposition: merge, bigquery: {{table: x.{name}}}}}
"""


class Both(BaseNotifier):
    """A notifier for both ways."""

    def __init__(self, room: str = "ops") -> None:
        super().__init__()
        self.room = room

    def notify(self, context: object) -> None: ...

    async def async_notify(self, context: object) -> None: ...


class OnlyCalled(BaseNotifier):
    def notify(self, context: object) -> None: ...


class OnlyAwaited(BaseNotifier):
    async def async_notify(self, context: object) -> None: ...


class Plain:
    """No notifier of Airflow's, and callable like one."""

    def __call__(self, context: object) -> None: ...


class Asynchronous:
    async def __call__(self, context: object) -> None: ...


class TakesTwo:
    def __call__(self, dag: object, context: object) -> None: ...


def pager() -> object:
    """A function that builds what is called."""
    return print


async def late(room: str, context: object) -> None:
    """A notifier that a deadline may name: a function that is awaited."""


def refusal(folder: Path, options: str) -> str:
    """Returns the message about the pipeline with these options; the other one is always registered."""
    (folder / "good.yaml").write_text(PIPELINE.format(name="good"))
    (folder / "bad.yaml").write_text(PIPELINE.format(name="bad") + f"airflow: {options}\n")
    specs, broken = load_pipelines(folder)
    assert broken == {}
    dags, refused = sound_dags(specs.values(), Settings(warehouse_project="shop-project"))
    assert "good" in dags
    assert ("bad" in dags) != ("bad" in refused)
    return str(refused.get("bad", ""))


@pytest.mark.parametrize(
    ("notifier", "words"),
    [
        ("os.getcwd", "is built as a str, which cannot be called"),
        ("collections.OrderedDict", "is built as a OrderedDict, which cannot be called"),
        (f"{__name__}.OnlyAwaited", "has no method `notify`"),
        (f"{__name__}.Asynchronous", "has to be awaited"),
        (f"{__name__}.TakesTwo", "cannot be called with the context of a run alone"),
    ],
)
def test_a_notifier_that_no_run_could_call_is_refused(tmp_path: Path, notifier: str, words: str) -> None:
    said = refusal(tmp_path, f"{{notify: {{failure: [{{notifier: {notifier}}}]}}}}")
    assert said.startswith("bad.yaml pipeline bad: notifier ")
    assert words in said


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (f"{{notifier: {__name__}.OnlyCalled}}", "has no method `async_notify`"),
        (f"{{notifier: {__name__}.Plain}}", "cannot be awaited. Name a class that the triggerer can await"),
        ("{notifier: os.getcwd}", "cannot be awaited"),
        (f"{{notifier: {__name__}.Both, arguments: {{rooom: money}}}}", "does not take the arguments rooom"),
        (f"{{notifier: {__name__}.late}}", "does not take the arguments (none)"),
        (f"{{notifier: {__name__}.Both, arguments: {{context: money}}}}", "context is a reserved kwarg"),
    ],
)
def test_a_notifier_that_no_triggerer_could_await_is_refused(tmp_path: Path, entry: str, words: str) -> None:
    assert words in refusal(tmp_path, f"{{deadline: {{after: 1 h, notify: [{entry}]}}}}")


@pytest.mark.parametrize("number", [".nan", "-.inf"])
def test_a_number_that_json_lacks_breaks_its_pipeline_alone(tmp_path: Path, number: str) -> None:
    """PostgreSQL refuses it when Airflow stores the DAG."""
    entry = f"{{notifier: {__name__}.Both, arguments: {{room: ROOM}}}}"
    options = f"{{deadline: {{after: 1 h, notify: [{entry}]}}}}"
    assert "not JSON compliant" in refusal(tmp_path, options.replace("ROOM", number))
    assert refusal(tmp_path, options.replace("ROOM", "0.5")) == ""


@pytest.mark.parametrize("name", ["Both", "OnlyCalled", "Plain", "pager"])
def test_what_a_run_can_call_is_taken(tmp_path: Path, name: str) -> None:
    assert refusal(tmp_path, f"{{notify: {{success: [{{notifier: {__name__}.{name}}}]}}}}") == ""


@pytest.mark.parametrize(
    "entry",
    [
        f"{{notifier: {__name__}.Both, arguments: {{room: money}}}}",
        f"{{notifier: {__name__}.OnlyAwaited}}",
        f"{{notifier: {__name__}.late, arguments: {{room: money}}}}",
        "{notifier: only.the_triggerer.HasThis, arguments: {room: money}}",
    ],
)
def test_what_a_triggerer_can_await_is_taken(tmp_path: Path, entry: str) -> None:
    assert refusal(tmp_path, f"{{deadline: {{after: 1 h, notify: [{entry}]}}}}") == ""


@pytest.mark.parametrize(
    "options",
    [
        "{notify: {failure: [{notifier: ends_python.Pager}]}}",
        "{deadline: {after: 1 h, notify: [{notifier: ends_python.Pager}]}}",
    ],
)
def test_a_module_that_ends_python_breaks_its_pipeline_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: str
) -> None:
    (tmp_path / "ends_python.py").write_text("import sys\nclass Pager: ...\nsys.exit(3)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "bad.yaml pipeline bad: notifier ends_python.Pager cannot be built: SystemExit: 3" in refusal(
        tmp_path, options
    )


@pytest.mark.parametrize("error", ["asyncio.CancelledError()", "BaseException('x')"])
def test_a_module_that_raises_no_exception_breaks_its_pipeline_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str
) -> None:
    (tmp_path / "raises.py").write_text(f"import asyncio\nclass Pager: ...\nraise {error}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "raises", raising=False)
    assert "bad.yaml pipeline bad: notifier raises.Pager cannot be built: " in refusal(
        tmp_path, "{notify: {failure: [{notifier: raises.Pager}]}}"
    )
