"""The files that `make package` packs for EMR."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest

from jobs.runtime.project import CODE_ROOT as CHECKOUT
from tests.support.ledger_source import WHOLE

pytestmark = pytest.mark.services

SCRIPT = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import package
from connectors.errors import LakeferryError
from jobs.runtime.settings import Settings
settings = Settings(pipelines=Path(sys.argv[2]), expectations=Path(sys.argv[3]))
try:
    print(json.dumps({name: str(path) for name, path in package.source_files(settings).items()}))
except LakeferryError as error:
    sys.exit(str(error))
"""


def packed(pipelines: Path, expectations: Path, *installed: Path) -> subprocess.CompletedProcess[str]:
    """What `source_files` returns, as JSON. `installed`: folders of distributions."""
    command = [sys.executable, "-c", SCRIPT, str(CHECKOUT / "docker"), str(pipelines), str(expectations)]
    path = os.pathsep.join([*map(str, installed), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False)


def test_only_transforms_are_packed_beside_the_product(tmp_path: Path) -> None:
    """A plan holds the pipeline, its rules and its SQL: what is packed later or earlier does not matter."""
    for name in ("flows/money.yaml", "flows/sql/daily.sql", "flows/sums/daily.py", "suites/money.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    done = packed(tmp_path / "flows", tmp_path / "suites")
    found = json.loads(done.stdout)
    own = {name: path for name, path in found.items() if path.startswith(str(tmp_path))}
    assert own == {"sums/daily.py": str(tmp_path / "flows/sums/daily.py")}
    others = found.keys() - own.keys()
    assert {"expectations/suite.py", "jobs/stages/load/views.py", "connectors/base.py"} <= others
    assert not {name for name in others if not name.endswith(".py")}


def test_a_transform_has_no_name_of_another_module(tmp_path: Path) -> None:
    (tmp_path / "suites").mkdir()
    for name in ("jobs.py", "statistics.py"):
        folder = tmp_path / name.removesuffix(".py")
        folder.mkdir()
        (folder / name).write_text("")
        done = packed(folder, tmp_path / "suites")
        assert done.returncode == 1
        assert f"{name} has the name of" in done.stderr


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = packed(tmp_path / "gone", tmp_path)
    assert done.returncode == 1
    assert "LAKEFERRY_PIPELINES" in done.stderr
    assert f"{tmp_path}/gone is no folder" in done.stderr


METADATA = """\
Metadata-Version: 2.1
Name: lakeferry-ledger
Version: 1.2
Requires-Dist: lakeferry>=0.1
Requires-Dist: ledger-client>=3; python_version >= "3.11"
Requires-Dist: pyspark
Requires-Dist: pytest; extra == "test"
"""
ON_EMR = """
import sys
from connectors import source_class
found = source_class("ledger")
print(found.__module__, found(None).ping(), sys.modules["connectors"].__file__, sys.modules["ledger"].__file__)
"""
REQUIREMENTS = """
import sys
sys.path.insert(0, sys.argv[1])
import package
names = ("ledger", "lakeferry", "pytest", "confluent", "pymysql")
print([text for text in package._libraries() if text.startswith(names)])
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with a distribution that offers a source, as pip installs it."""
    site = tmp_path / "site"
    info = site / "lakeferry_ledger-1.2.dist-info"
    info.mkdir(parents=True)
    (site / "ledger.py").write_text(textwrap.dedent(WHOLE))
    (info / "METADATA").write_text(METADATA)
    (info / "entry_points.txt").write_text("[lakeferry.sources]\nledger = ledger:Ledger\n")
    names = ["ledger.py", *(f"{info.name}/{name}" for name in ("METADATA", "entry_points.txt", "RECORD"))]
    (info / "RECORD").write_text("".join(f"{name},,\n" for name in names))
    return site


def test_a_source_of_another_distribution_is_found_in_the_zip(site: Path, tmp_path: Path) -> None:
    done = packed(tmp_path, tmp_path, site)
    archive = tmp_path / "lakeferry.zip"
    with zipfile.ZipFile(archive, "w") as packing:
        for name, path in json.loads(done.stdout).items():
            packing.write(path, name)
    environment = os.environ | {"PYTHONPATH": str(archive)}
    found = subprocess.run(
        [sys.executable, "-c", ON_EMR], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == [
        "ledger",
        "Ledger",
        "1.0",
        f"{archive}/connectors/__init__.py",
        f"{archive}/ledger.py",
    ]


def test_what_such_a_distribution_requires_goes_to_the_libraries(site: Path) -> None:
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", REQUIREMENTS, str(CHECKOUT / "docker")],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == (
        "['confluent-kafka>=2.12', 'pymysql>=1.2.1', 'ledger-client>=3; python_version >= \"3.11\"']\n"
    )


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("lakeferry_ledger-1.2.dist-info/direct_url.json", '{"dir_info": {"editable": true}}', "in editable mode"),
        ("ledger_speed.abi3.so", "", "has a compiled module, ledger_speed.abi3.so"),
        ("jobs/ledger.py", "", "has a file jobs/ledger.py, which is a name of Lakeferry's own"),
    ],
)
def test_a_distribution_that_a_zip_cannot_hold_is_named(
    site: Path, tmp_path: Path, name: str, content: str, problem: str
) -> None:
    (site / name).parent.mkdir(exist_ok=True)
    (site / name).write_text(content)
    with (site / "lakeferry_ledger-1.2.dist-info/RECORD").open("a") as record:
        record.write(f"{name},,\n")
    done = packed(tmp_path, tmp_path, site)
    assert done.returncode == 1
    assert "lakeferry-ledger 1.2 offers a source and cannot be packed for EMR" in done.stderr
    assert problem in done.stderr
