"""A package that is not installed is one error with the command that installs it."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from connectors.optional import EXTRAS

pytestmark = pytest.mark.services

CHECKOUT = Path(__file__).parents[2]
SPEC = """\
pipeline: app
schedule: "@daily"
source: {{type: {source}, connection: app}}
datasets: []
"""
OPEN = "from connectors import open_source; open_source('kafka', None)"
READ = "from jobs.spec.reader import read_spec; read_spec(Path(sys.argv[2]))"
REPORT = "from jobs.reporting.report import write_report; write_report(None, None, None)"
CLIENT = "from lakeferry_airflow.runners.aws_clients import aws_client; aws_client('s3', 'aws_default', None)"
PROGRAM = """
import sys
from pathlib import Path
sys.modules[sys.argv[1]] = None  # Python refuses to import it (Python documentation, sys.modules)
from connectors.errors import LakeferryError
try:
    {code}
except LakeferryError as error:
    print(error.exit_code, error)
"""


@pytest.mark.parametrize(
    ("package", "source", "code", "extra", "where"),
    [
        ("confluent_kafka", "kafka", OPEN, "kafka", ""),
        ("pymysql", "tidb", READ, "mysql", "app.yaml:3: "),
        ("altair", "s3", REPORT, "report", ""),
        ("airflow", "s3", "import lakeferry_airflow", "airflow", ""),
        ("airflow.providers.amazon.aws", "s3", CLIENT, "emr", ""),
        ("pytest", "s3", "import connectors.testing", "testing", ""),
    ],
)
def test_a_missing_package_names_its_extra(
    package: str, source: str, code: str, extra: str, where: str, tmp_path: Path
) -> None:
    (tmp_path / "app.yaml").write_text(SPEC.format(source=source))
    command = [sys.executable, "-c", PROGRAM.format(code=code), package, str(tmp_path / "app.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=CHECKOUT, timeout=60, check=True)
    assert done.stdout.startswith("2 ")
    name = package.removesuffix(".aws")
    assert done.stdout.endswith(
        f"{where}the Python package {name} is not installed. Run pip install 'lakeferry[{extra}]'.\n"
    )


def test_a_source_whose_package_is_there_needs_no_other_extra(tmp_path: Path) -> None:
    (tmp_path / "app.yaml").write_text(SPEC.format(source="s3").replace("datasets: []", DATASETS))
    absent = ["confluent_kafka", "pymysql", "altair", "vl_convert", "airflow"]
    program = f"import sys; sys.modules |= dict.fromkeys({absent})\n" + PROGRAM.format(code=f"{READ}; print('read')")
    command = [sys.executable, "-c", program, "altair", str(tmp_path / "app.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=CHECKOUT, timeout=60, check=True)
    assert done.stdout == "read\n"


DATASETS = """\
datasets:
  - name: files
    path: s3://landing/files/
    columns: {id: bigint}
    write_disposition: append
    bigquery: {table: app.files}
"""


def test_workers_start_without_the_extra_of_a_source() -> None:
    program = "import sys; sys.modules |= {'pymysql': None, 'confluent_kafka': None}; import jobs.launch.worker_daemon"
    subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, timeout=60, check=True)


def test_every_extra_of_a_package_is_declared() -> None:
    extras = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(EXTRAS.values()) == extras.keys() - {"all"}
    assert extras["all"] == ["lakeferry[airflow,emr,kafka,mysql,report]"]
