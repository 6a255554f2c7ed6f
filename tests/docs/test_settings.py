"""docs/reference/settings.md lists every setting, with its default."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jobs.runtime.settings import Settings

_DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"
_ROW = re.compile(r"^\| `LAKEFERRY_(\w+)` \| (.*?) ?\| .* \|$", re.MULTILINE)
_DOCUMENTED = [(name.lower(), default) for name, default in _ROW.findall(_DOCUMENT.read_text(encoding="utf-8"))]
# These defaults are paths of a machine, which the table describes.
_PATHS = {"catalog", "pipelines", "expectations", "state_dir", "spark_packages_dir"}


def test_every_setting_is_documented_once() -> None:
    assert sorted(name for name, _ in _DOCUMENTED) == sorted(Settings.model_fields)


@pytest.mark.parametrize(("name", "documented"), [row for row in _DOCUMENTED if row[0] not in _PATHS])
def test_defaults_are_those_of_the_model(name: str, documented: str) -> None:
    default = Settings.model_fields[name].default
    shown = {None: "", "": "", True: "`true`", False: "`false`", 1024**3: "`1 GiB`"}
    assert documented == shown.get(default, f"`{default}`")
