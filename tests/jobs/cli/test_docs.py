"""`lakeferry docs` brings Data Docs from the lake to where a browser can open them."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from jobs.cli.app import main
from jobs.runs.receipts import data_docs_key
from tests.support.page_world import PageWorld

OLD, NEW = "manual__2026-11-30T10:15:00+00:00", "manual__2026-12-01T10:15:00+00:00"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PageWorld:
    world = PageWorld.at(tmp_path / "world")
    world.pipeline("payments", "payments", "merchants", "plain")
    for dataset, run_id, generation, at in (
        ("payments", NEW, 1, 300), ("payments", NEW, 2, 400), ("payments", OLD, 1, 100), ("merchants", OLD, 1, 200),
    ):  # fmt: skip
        index = data_docs_key("payments", dataset, run_id, generation)
        for path, text in (("index.html", f"{run_id} {generation}"), (f"datasets/{dataset}.html", "größer als 0")):
            key = index.replace("index.html", path)
            world.documents.put(key, text.encode(), "text/html")
            os.utime(world.folder / "lake" / key, (at, at))
    for key in ("lake", "catalog", "pipelines"):
        monkeypatch.setenv(f"LAKEFERRY_{key.upper()}", str(getattr(world.settings, key)))
    monkeypatch.setenv("LAKEFERRY_STATE_DIR", str(world.folder / "state"))
    return world


def docs(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["lakeferry", "docs", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def page(line: str) -> Path:
    address = urlsplit(line.rpartition(" ")[2])
    assert address.scheme == "file"
    return Path(unquote(address.path))


def test_the_newest_check_of_each_dataset_is_copied(
    world: PageWorld, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert docs(monkeypatch, "payments") == 0
    payments, merchants = capsys.readouterr().out.splitlines()
    assert payments.startswith(f"payments, run {NEW}: file://")
    assert merchants.startswith(f"merchants, run {OLD}: file://")
    assert page(payments).read_text(encoding="utf-8") == f"{NEW} 2"
    assert page(payments).is_relative_to(world.folder / "state" / "docs")
    assert (page(merchants).parent / "datasets" / "merchants.html").read_text(encoding="utf-8") == "größer als 0"


def test_a_dataset_a_run_and_a_folder_can_be_chosen(
    world: PageWorld, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    to = world.folder / "own folder"
    assert docs(monkeypatch, "payments", "payments", "--run-id", "manual__2026-11", "--to", str(to)) == 0
    [line] = capsys.readouterr().out.splitlines()
    assert page(line).read_text(encoding="utf-8") == f"{OLD} 1"
    assert page(line).is_relative_to(to)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["payments", "plain"], "there are no Data Docs of plain"),
        (["payments", "nobody"], "merchants"),
        (["payments", "--run-id", "manual__"], "2 run ids begin with 'manual__'"),
        (["payments", "--run-id", "never"], "no run 'never' has left Data Docs"),
    ],
)
def test_what_is_not_there_is_reported(
    world: PageWorld,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    problem: str,
) -> None:
    assert docs(monkeypatch, *arguments) == 2
    assert problem in capsys.readouterr().err
    assert not (world.folder / "state").exists()
