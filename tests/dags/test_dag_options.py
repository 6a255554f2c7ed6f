"""The key `airflow` of a pipeline, and `_defaults.yaml` beside it, in the DAG and its tasks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from airflow.sdk import DAG, BaseNotifier, CronDataIntervalTimetable

from connectors.errors import SpecError
from jobs.reporting.page.freshness import freshness_of
from jobs.runtime.settings import Settings
from jobs.spec.reader import load_pipelines, read_spec
from lakeferry_airflow.admission import sound_dags
from lakeferry_airflow.factory import build_dag

PIPELINE = """\
pipeline: payments
schedule: "0 3 * * *"
source: {type: aurora, connection: c}
datasets:
  - {name: payments, table: a.b, primary_key: [id], write_disposition: merge, bigquery: {table: x.y}}
"""
SETTINGS = Settings(warehouse_project="shop-project")


class Pager(BaseNotifier):
    """A notifier of the user's own."""

    def __init__(self, room: str) -> None:
        super().__init__()
        self.room = room

    def notify(self, context: object) -> None:
        raise AssertionError("nothing failed")

    async def async_notify(self, context: object) -> None:
        raise AssertionError("nothing is late")


def _write(folder: Path, options: str, defaults: str = "") -> Path:
    path = folder / "payments.yaml"
    path.write_text(PIPELINE + (f"airflow:\n{options}" if options else ""))
    if defaults:
        (folder / "_defaults.yaml").write_text(f"airflow:\n{defaults}")
    return path


def _dag(folder: Path, options: str, defaults: str = "", **arguments: object) -> DAG:
    return build_dag(read_spec(_write(folder, options, defaults)), SETTINGS, **arguments)


def test_each_option_reaches_the_dag_and_its_tasks(tmp_path: Path) -> None:
    notifier = f"{{notifier: {__name__}.Pager, arguments: {{room: money}}}}"
    dag = _dag(
        tmp_path,
        f"""\
  owner: money
  tags: [ledger]
  pool: aurora
  queue: spark
  priority: 7
  executor_config: {{KubernetesExecutor: {{request_memory: 2Gi}}}}
  time_zone: Asia/Tokyo
  access_control: {{Viewer: [can_read]}}
  notify: {{failure: [{notifier}], success: [{notifier}]}}
  deadline: {{after: 2 h, notify: [{notifier}]}}
  max_failed_runs: 3
""",
    )
    assert dag.tags == {"lakeferry", "aurora", "ledger"}
    assert isinstance(dag.timetable, CronDataIntervalTimetable)
    assert str(dag.timetable.timezone) == "Asia/Tokyo"
    assert dag.access_control == {"Viewer": {"DAGs": {"can_read"}}}
    assert dag.max_consecutive_failed_dag_runs == 3
    [on_failure], [on_success] = dag.on_failure_callback, dag.on_success_callback  # type: ignore[misc]
    assert (on_failure.room, on_success.room) == ("money", "money")
    [deadline] = dag.deadline or []  # type: ignore[union-attr]
    assert deadline.interval == timedelta(hours=2)
    assert (deadline.callback.path, deadline.callback.kwargs) == (f"{__name__}.Pager", {"room": "money"})
    extract = dag.get_task("extract")
    assert (extract.owner, extract.pool, extract.queue, extract.priority_weight) == ("money", "aurora", "spark", 7)
    assert extract.executor_config == {"KubernetesExecutor": {"request_memory": "2Gi"}}
    assert {task.owner for task in dag.tasks} == {"money"}
    assert {task.pool for task in dag.tasks} == {"aurora"}


def test_what_the_folder_says_is_overridden_option_by_option(tmp_path: Path) -> None:
    defaults = "  owner: platform\n  pool: aurora\n  timeouts: {stage: 3 h, run: 9 h}\n"
    spec = read_spec(_write(tmp_path, "  owner: money\n  timeouts: {stage: 5 h}\n", defaults))
    assert (spec.airflow.owner, spec.airflow.pool) == ("money", "aurora")
    assert (spec.airflow.timeouts.stage, spec.airflow.timeouts.run) == (300, 540)
    specs, broken = load_pipelines(tmp_path)
    assert (list(specs), broken) == (["payments"], {})


@pytest.mark.parametrize(
    "defaults", ["", "# nothing yet\n", "---\n", "~\n", "airflow:\n", "airflow:\n  # owner: platform\n"]
)
def test_defaults_may_say_nothing(tmp_path: Path, defaults: str) -> None:
    path = _write(tmp_path, "  owner: money\n")
    (tmp_path / "_defaults.yaml").write_text(defaults)
    assert read_spec(path).airflow == read_spec(_write(tmp_path, "  owner: money\n")).airflow
    assert read_spec(path).airflow.owner == "money"


def test_a_section_without_anything_in_it_is_not_set(tmp_path: Path) -> None:
    """All that stood in it was made a comment."""
    defaults = f"""\
  tags: [ledger]
  timeouts: {{stage: 3 h}}
  notify: {{failure: [{{notifier: {__name__}.Pager, arguments: {{room: money}}}}]}}
  deadline: {{after: 2 h, notify: [{{notifier: {__name__}.Pager, arguments: {{room: money}}}}]}}
"""
    folder = read_spec(_write(tmp_path, "", defaults)).airflow
    options = "  tags:\n  timeouts:\n  notify:\n  executor_config:\n  access_control:\n"
    assert read_spec(_write(tmp_path, options)).airflow == folder
    assert read_spec(_write(tmp_path, "  # owner: money\n")).airflow == folder
    # An option that may be absent is switched off by a null, a list by one that is empty.
    assert read_spec(_write(tmp_path, "  deadline: ~\n  tags: []\n")).airflow == folder.model_copy(
        update={"deadline": None, "tags": []}
    )
    assert read_spec(_write(tmp_path, "  notify:\n    failure:\n")).airflow.notify.failure == []


@pytest.mark.parametrize("options", ["  owner:\n", "  pool: ~\n", "  tags: [~]\n"])
def test_an_option_without_a_value_is_refused_at_its_line(tmp_path: Path, options: str) -> None:
    with pytest.raises(SpecError, match=r"payments\.yaml:7"):
        read_spec(_write(tmp_path, options))


def test_defaults_are_read_again_when_they_change(tmp_path: Path) -> None:
    assert read_spec(_write(tmp_path, "", "  owner: platform\n")).airflow.owner == "platform"
    assert read_spec(_write(tmp_path, "", "  owner: somebody else\n")).airflow.owner == "somebody else"
    (tmp_path / "_defaults.yaml").unlink()
    assert read_spec(tmp_path / "payments.yaml").airflow.owner == "lakeferry"


@pytest.mark.parametrize(
    ("defaults", "words"),
    [
        ("  ownr: platform\n", ["_defaults.yaml:2", "unknown key 'ownr'", "Did you mean owner?"]),
        ("  timeouts: {stage: 5}\n", ["_defaults.yaml:2", "a time limit has a unit"]),
    ],
)
def test_broken_defaults_are_named_with_their_own_file(tmp_path: Path, defaults: str, words: list[str]) -> None:
    path = _write(tmp_path, "", defaults)
    specs, broken = load_pipelines(tmp_path)
    assert specs == {}
    assert all(word in str(broken[path]) for word in words)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("  time_zone: Asia/Tokio\n", "a time zone has an IANA name"),
        ("  priority: 0\n", "priority"),
        ("  pool: ''\n", "pool"),
        ("  notify: {failure: [{notifier: a.B, room: x}]}\n", "unknown key 'room'"),
        ("  notify: {failure: [{notifier: Pager}]}\n", "notifier"),
        ("  deadline: {after: 5}\n", "a time limit has a unit"),
        ("  timeouts: {run: 999999 d}\n", "at most 365 d"),
        ("  timeouts: {plan: 8761 h}\n", "at most 365 d"),
        ("  deadline: {after: 366 d, notify: [{notifier: a.B}]}\n", "at most 365 d"),
        ("  max_failed_runs: 2147483648\n", "2147483647"),
        (f"  owner: {'o' * 501}\n", "at most 500 characters"),
        (f"  pool: {'p' * 257}\n", "at most 256 characters"),
        (f"  queue: {'q' * 257}\n", "at most 256 characters"),
        (f"  tags: [{'t' * 101}]\n", "tags: String should have at most 100 characters"),
        ("  access_control: {Viewer: [can_write]}\n", "Viewer is 'can_write'. Valid: can_read, can_edit, can_delete"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_at_its_line(tmp_path: Path, options: str, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        read_spec(_write(tmp_path, options))
    assert "payments.yaml:7" in str(caught.value)
    assert words in str(caught.value)


def test_a_notifier_that_is_not_there_breaks_its_pipeline_with_a_reason(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"notifier nowhere\.Pager cannot be built: ModuleNotFoundError"):
        _dag(tmp_path, "  notify: {failure: [{notifier: nowhere.Pager}]}\n")


def test_what_fills_its_column_of_airflows_database_is_taken(tmp_path: Path) -> None:
    options = f"""\
  owner: {"o" * 500}
  pool: {"p" * 256}
  queue: {"q" * 256}
  tags: [{"t" * 100}]
  max_failed_runs: 2147483647
  timeouts: {{run: 365 d, plan: 365 d}}
"""
    assert _dag(tmp_path, options).dagrun_timeout == timedelta(days=365)


def test_texts_that_airflows_database_refuses_are_refused_at_their_line(tmp_path: Path) -> None:
    """MySQL keeps 65,535 bytes of a description, and PostgreSQL 1,500 characters of an asset's name."""
    path = tmp_path / "payments.yaml"
    path.write_text(f"description: {'d' * 10_001}\n{PIPELINE}")
    with pytest.raises(SpecError, match=r"payments\.yaml:1.* at most 10000 characters"):
        read_spec(path)
    path.write_text(PIPELINE.replace("x.y", f"{'x' * 700}.{'y' * 700}"))
    with pytest.raises(SpecError, match=r"payments\.yaml:5.* 1,400 characters at most"):
        read_spec(path)


def test_a_cron_whose_description_airflow_cannot_store_breaks_only_itself(tmp_path: Path) -> None:
    every = [",".join(map(str, numbers)) for numbers in (range(60), range(24), range(1, 32), range(1, 13), range(7))]
    (tmp_path / "payments.yaml").write_text(PIPELINE.replace("0 3 * * *", " ".join(every)))
    (tmp_path / "good.yaml").write_text(
        PIPELINE.replace("0 3 * * *", f"{every[0]} * * * *").replace("payments", "good").replace("x.y", "x.z")
    )
    specs, broken = load_pipelines(tmp_path)
    assert broken == {}
    dags, refused = sound_dags(specs.values(), SETTINGS)
    assert list(dags) == ["good"]
    assert "has 1305 characters, and Airflow stores 1000" in str(refused["payments"])


def test_a_dag_file_of_ones_own_goes_before_the_yaml(tmp_path: Path) -> None:
    arguments = {"dag_id": "mine", "tags": ["mine"], "default_args": {"pool": "mine"}}
    dag = _dag(tmp_path, "  owner: money\n  pool: aurora\n", **arguments)
    assert (dag.dag_id, dag.tags) == ("mine", {"mine"})
    assert {(task.owner, task.pool) for task in dag.tasks} == {("money", "mine")}


def test_ids_of_dags_may_have_a_prefix(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"dag_id_prefix": "lake."})
    assert build_dag(read_spec(_write(tmp_path, "")), settings).dag_id == "lake.payments"


def _assets(folder: Path, **settings: str) -> set[tuple[str, str]]:
    """Name and URI of what a pipeline emits and of what another one is scheduled after."""
    after = PIPELINE.replace('"0 3 * * *"', "{after: [payments]}").replace("payments", "sales", 1)
    (folder / "sales.yaml").write_text(after.replace("name: payments", "name: sales").replace("x.y", "x.z"))
    its = SETTINGS.model_copy(update=settings)
    follows = build_dag(read_spec(folder / "sales.yaml"), its).timetable.asset_condition
    followed = {(asset.name, asset.uri) for asset in follows.objects}  # type: ignore[attr-defined]
    emits = build_dag(read_spec(_write(folder, "")), its).get_task("datasets.payments").outlets
    assert len(followed) == 1
    assert followed <= {(asset.name, asset.uri) for asset in emits}
    return {(asset.name, asset.uri) for asset in emits}


def test_two_lakes_in_one_airflow_need_not_share_assets(tmp_path: Path) -> None:
    # A prefix of DAG ids renames no asset, as DAGs elsewhere may be scheduled after it.
    assert _assets(tmp_path, dag_id_prefix="dev.") == {
        ("lake.payments", "x-lakeferry://lake/payments"),
        ("bigquery.x.y", "bigquery://shop-project/x/y"),
    }
    assert _assets(tmp_path, asset_prefix="dev.", warehouse_project="dev-project") == {
        ("dev.lake.payments", "x-lakeferry://lake/dev.payments"),
        ("dev.bigquery.x.y", "bigquery://dev-project/x/y"),
    }


def test_a_dataset_is_late_by_the_clock_of_its_cron(tmp_path: Path) -> None:
    spec = read_spec(_write(tmp_path, "  time_zone: Asia/Tokyo\n"))
    # Three in the morning in Tokyo is six in the evening before, in UTC.
    fresh_until = datetime(2026, 11, 28, 17, 59, tzinfo=UTC)
    before, after = datetime(2026, 11, 30, 17, 59, tzinfo=UTC), datetime(2026, 11, 30, 18, 1, tzinfo=UTC)
    assert freshness_of(spec, spec.datasets[0], fresh_until, before, SETTINGS) == "fresh"
    assert freshness_of(spec, spec.datasets[0], fresh_until, after, SETTINGS) == "late"
