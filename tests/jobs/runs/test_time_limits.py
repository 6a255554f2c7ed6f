"""Time limits: how they are written, which one holds, and how they are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.errors import SettingError, SpecError
from jobs.runs.time_limits import TimeLimit, time_limits
from jobs.runtime.settings import Settings, load_settings
from jobs.spec.reader import read_spec

PIPELINE = """\
pipeline: p
source: {type: aurora, connection: c}
airflow:
  timeouts: TIMEOUTS
datasets:
  - name: d
    table: a.b
    primary_key: [id]
    write_disposition: merge
    bigquery: {table: x.y}
"""


def spec_file(folder: Path, timeouts: str) -> Path:
    path = folder / "p.yaml"
    path.write_text(PIPELINE.replace("TIMEOUTS", timeouts), encoding="utf-8")
    return path


def test_the_settings_limit_what_the_pipeline_does_not(tmp_path: Path) -> None:
    spec = read_spec(spec_file(tmp_path, "{plan: 90 min}"))
    limits = time_limits(spec, Settings(stage_timeout_minutes=300))
    assert [str(limit) for limit in limits] == ["90 min", "5 h", "10 h"]
    assert limits.plan.passed("plan") == (
        "plan was stopped after 90 min, its time limit. If it needs longer, raise airflow.timeouts.plan in p.yaml"
    )
    assert "raise LAKEFERRY_STAGE_TIMEOUT_MINUTES, or set airflow.timeouts.stage in p.yaml" in limits.stage.passed(
        "load"
    )


def test_a_run_without_a_limit_of_its_own_outlasts_its_stage(tmp_path: Path) -> None:
    spec = read_spec(spec_file(tmp_path, "{stage: 3 d}"))
    assert [limit.seconds for limit in time_limits(spec, Settings())] == [3600, 259_200, 518_400]
    assert time_limits(spec, Settings(run_timeout_minutes=60)).run == TimeLimit(
        3600, "LAKEFERRY_RUN_TIMEOUT_MINUTES, or set airflow.timeouts.run in p.yaml"
    )
    assert time_limits(read_spec(spec_file(tmp_path, "{run: 2 d}")), Settings()).run.seconds == 172_800


def test_a_plan_document_holds_none_of_it(tmp_path: Path) -> None:
    assert "airflow" not in read_spec(spec_file(tmp_path, "{run: 2 d}")).model_dump()


@pytest.mark.parametrize(
    ("timeouts", "words"),
    [
        ("{plan: 90}", ["p.yaml:4", "a time limit has a unit: 90 min, 4 h or 2 d (found 90)"]),
        ("{plan: 0 min}", ["p.yaml:4", "a time limit has a unit"]),
        ("{plan: -5 min}", ["p.yaml:4", "a time limit has a unit"]),
        ("{plan: '1:30'}", ["p.yaml:4", "a time limit has a unit"]),
        ("{stage: 8 d}", ["p.yaml:4", "7 d at most"]),
        ("{extract: 4 h}", ["p.yaml:4", "unknown key 'extract'", "plan, run, stage"]),
        ("{stage: 4 h, run: 2 h}", ["p.yaml:4", "timeouts.run is 120 min, shorter than timeouts.stage (240 min)"]),
        ("4 h", ["p.yaml:4", "timeouts is a mapping"]),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused_at_its_line(tmp_path: Path, timeouts: str, words: list[str]) -> None:
    with pytest.raises(SpecError) as refused:
        read_spec(spec_file(tmp_path, timeouts))
    for word in words:
        assert word in str(refused.value)


def test_an_unknown_option_of_airflow_is_refused(tmp_path: Path) -> None:
    path = spec_file(tmp_path, "{plan: 4 h}")
    path.write_text(path.read_text().replace("timeouts:", "timeout:"))
    with pytest.raises(SpecError, match=r"p.yaml:4.*unknown key 'timeout'.*Did you mean timeouts\?"):
        read_spec(path)


def test_a_setting_beyond_what_emr_takes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEFERRY_STAGE_TIMEOUT_MINUTES", "10081")
    with pytest.raises(SettingError, match="LAKEFERRY_STAGE_TIMEOUT_MINUTES"):
        load_settings()
