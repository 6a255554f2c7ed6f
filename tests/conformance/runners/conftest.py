"""A kit of each runner, and one AWS for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.launch import commands as submit
from jobs.runtime.settings import Settings
from tests.conformance.runners.kits import STAND_IN, Aws, EmrKit, Kit, LocalKit


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    started = Aws(tmp_path_factory.mktemp("aws"))
    yield started
    started.close()


@pytest.fixture
def local(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> LocalKit:
    entries = tmp_path / "entries"
    entries.mkdir()
    (entries / "extract.py").write_bytes(STAND_IN.read_bytes())
    monkeypatch.setattr(submit, "ENTRIES", entries)
    return LocalKit(tmp_path)


@pytest.fixture
def emr(tmp_path: Path, aws: Aws, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> EmrKit:
    for service in ("S3", "EMR_SERVERLESS"):
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", aws.endpoint)
    return EmrKit(tmp_path, aws)


@pytest.fixture(params=["local", "emr_serverless"])
def kit(request: pytest.FixtureRequest) -> Kit:
    made: Kit = request.getfixturevalue("local" if request.param == "local" else "emr")
    return made
