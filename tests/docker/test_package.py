"""The files that `make package` packs for EMR."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from jobs.runtime.project import CODE_ROOT as CHECKOUT

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


def packed(pipelines: Path, expectations: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", SCRIPT, str(CHECKOUT / "docker"), str(pipelines), str(expectations)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


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


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = packed(tmp_path / "gone", tmp_path)
    assert done.returncode == 1
    assert "LAKEFERRY_PIPELINES" in done.stderr
    assert f"{tmp_path}/gone is no folder" in done.stderr
