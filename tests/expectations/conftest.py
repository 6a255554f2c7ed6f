"""Suites written for one test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from expectations import Suite
from tests.support.suites import load_suite

MakeSuite = Callable[..., Suite]


@pytest.fixture
def make_suite(tmp_path: Path) -> MakeSuite:
    """`make_suite(yaml, columns)`: the suite `rules` of that text."""

    def make(text: str, columns: Mapping[str, str] | None = None) -> Suite:
        (tmp_path / "rules.yaml").write_text(dedent(text), encoding="utf-8")
        return load_suite(tmp_path, "rules", columns)

    return make
