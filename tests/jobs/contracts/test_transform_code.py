"""A transform that is not there is refused where the run is planned, and nothing is imported to see it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from connectors.errors import ConfigurationError, LakeferryError, ObjectNotFound, TransformFailed
from jobs.contracts.transform_code import check_transform
from jobs.runtime.settings import Settings
from jobs.spec.reader import load_pipeline
from jobs.stages.plan.planner import draft_plan
from tests.support.page_world import PageWorld

LOCAL = Settings(runner="local")
MODULE = """
import functools
from pyspark_is_not_asked import things as others
raise RuntimeError("imported")
def daily(inputs, partitions): ...
def _private(): ...
weekly = functools.partial(daily)
try:
    monthly = daily
except ImportError:
    def yearly(): ...
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "mart_of_a_user"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    (folder / "sales.py").write_text(MODULE)
    (folder / "star.py").write_text("from .sales import *\n")
    (folder / "lazy.py").write_text("def __getattr__(name): ...\n")
    (folder / "made.py").write_text("globals()['daily'] = print\n")
    (folder / "broken.py").write_text("def daily(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    return folder


@pytest.mark.parametrize(
    "path",
    [
        *(f"mart_of_a_user.sales:{name}" for name in ("daily", "weekly", "monthly", "yearly", "others")),
        *(f"mart_of_a_user.{name}:daily" for name in ("star", "lazy", "made")),
        "merchant_sales:daily",
        "tests.e2e.transforms:by_day",
    ],
)
def test_a_transform_that_is_there_or_may_be_is_let_through(package: Path, path: str) -> None:
    check_transform(path, LOCAL)
    assert "mart_of_a_user" not in sys.modules


@pytest.mark.parametrize(
    "binding",
    [
        "daily = print",
        "daily: object = print",
        "daily, other = print, print",
        "[*daily] = [print]",
        "(daily := print)",
        "for daily in [print]: pass",
        "with open('x') as daily: pass",
        "import print as daily",
        "from builtins import print as daily",
        "def daily(inputs, partitions): ...",
        "async def daily(inputs, partitions): ...",
        "class daily: ...",
        "if True:\n    def daily(inputs, partitions): ...",
        "if True:\n    async def daily(inputs, partitions): ...",
        "if True:\n    class daily: ...",
        "try:\n    import nothing\nexcept ImportError as daily: ...",
        "match print:\n    case daily: ...",
        "match [print]:\n    case [*daily]: ...",
        "match {}:\n    case {**daily}: ...",
        "match print:\n    case object() as daily: ...",
        "globals()['dai' + 'ly'] = print",
        "vars()['dai' + 'ly'] = print",
        "locals()['dai' + 'ly'] = print",
        "exec('dai' 'ly = print')",
        "import sys\nsetattr(sys.modules[__name__], 'dai' + 'ly', print)",
        "import sys\nsys.modules[__name__].__dict__['dai' + 'ly'] = print",
    ],
)
def test_whatever_binds_a_name_is_seen_or_trusted(package: Path, binding: str) -> None:
    (package / "bound.py").write_text(f"{binding}\n")
    check_transform("mart_of_a_user.bound:daily", LOCAL)


@pytest.mark.parametrize(
    "source",
    [
        "from pkgutil import extend_path\n__path__ = extend_path(__path__, __name__)\n",
        "import sys\nsys.modules[__name__ + '.sums'] = sys\n",
    ],
)
def test_a_package_that_adds_to_itself_is_trusted(package: Path, source: str) -> None:
    (package / "__init__.py").write_text(source)
    check_transform("mart_of_a_user.sums:daily", LOCAL)


@pytest.mark.parametrize(
    ("path", "error", "words"),
    [
        (
            "mart_of_a_user.sale:daily",
            ObjectNotFound,
            "sale. Did you mean mart_of_a_user.sales?",
        ),
        ("mart_of_a_user.other.sales:daily", ObjectNotFound, "no module mart_of_a_user.other"),
        ("no_such_package_at_all:daily", ObjectNotFound, "no module no_such_package_at_all"),
        ("jobs.spec.nope:daily", ObjectNotFound, "no module jobs.spec.nope"),
        ("mart_of_a_user.sales:dayly", ObjectNotFound, "has no function dayly. Valid: daily."),
        ("mart_of_a_user.broken:daily", TransformFailed, "broken.py, line 1 is not Python"),
    ],
)
def test_a_transform_that_is_not_there_is_refused(
    package: Path, path: str, error: type[LakeferryError], words: str
) -> None:
    with pytest.raises(error) as caught:
        check_transform(path, LOCAL)
    assert words in str(caught.value)
    assert isinstance(caught.value, ConfigurationError)


def test_the_modules_of_a_cluster_are_not_those_of_this_machine() -> None:
    check_transform("no_such_package_at_all:daily", Settings(runner="emr_serverless"))


def test_a_plan_names_file_and_line(tmp_path: Path) -> None:
    world = PageWorld.at(tmp_path / "world")
    (world.folder / "pipelines" / "mart.yaml").write_text(
        "pipeline: mart\ndatasets:\n  - name: daily\n    inputs: [sales]\n    transform: jobs.spec.nope:daily\n"
        "    write_disposition: replace\n    bigquery: {table: mart.daily}\n"
    )
    plan = draft_plan(load_pipeline(world.settings.pipelines, "mart"), "draft", world.settings)
    said = "mart.yaml:5 pipeline mart dataset daily: transform jobs.spec.nope:daily: no module jobs.spec.nope"
    assert plan.failures["daily"].error.startswith(said)
    assert plan.failures["daily"].exit_code == 2
