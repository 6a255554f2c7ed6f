"""A lake in which a later version of Lakeferry has worked: what this one cannot read is named, the rest is shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from connectors.errors import UsageError
from jobs.cli.app import app
from jobs.reporting.page import write_page
from jobs.runs.receipts import Receipts
from tests.support.page_world import PageWorld

FIX = "Install one version wherever runs of this lake are"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PageWorld:
    world = PageWorld.at(tmp_path / "world")
    world.pipeline("shop", "orders", "refunds")
    world.run("shop", "orders", "run 1", hours_ago=2, published=2)
    world.run("shop", "refunds", "run 1", hours_ago=2, published=3)
    for key in ("lake", "catalog", "pipelines"):
        monkeypatch.setenv(f"LAKEFERRY_{key.upper()}", str(getattr(world.settings, key)))
    return world


def rewrite(world: PageWorld, key: str) -> None:
    """Write a document as a later version might."""
    document = json.loads(world.documents.read(key)) | {"shard": "of 4711"}
    world.documents.put(key, json.dumps(document).encode(), "application/json")


def test_a_receipt_of_a_later_version_hides_no_other(world: PageWorld) -> None:
    key = "receipts/shop/run=201/1/orders.check.json"
    rewrite(world, key)
    shown = CliRunner().invoke(app, ["status"])
    assert [line for line in shown.output.splitlines() if " orders " in line]
    [refunds] = [line for line in shown.output.splitlines() if " refunds " in line]
    assert "done" in refunds
    assert f"{key} was written by another version of Lakeferry" in shown.output
    assert FIX in shown.output
    assert "4711" not in shown.output


def test_a_stage_does_not_guess_what_a_receipt_of_a_later_version_says(world: PageWorld) -> None:
    rewrite(world, "receipts/shop/run=201/1/orders.check.json")
    with pytest.raises(UsageError, match=FIX) as caught:
        Receipts(world.documents).find("shop", "run 1", 1, "check", "orders")
    assert "4711" not in str(caught.value)


def test_a_summary_of_a_later_version_hides_no_other(world: PageWorld, capsys: pytest.CaptureFixture[str]) -> None:
    world.pipeline("wallet", "entries")
    world.run("wallet", "entries", "run 1", hours_ago=1, published=5)
    write_page(world.settings, rebuild=True)
    [key] = world.documents.list("page/runs/shop/")
    text = world.documents.read(key).replace('"pipeline":"shop"', '"pipeline":["shop", "of 4711"]', 1)
    world.documents.put(key, text.encode(), "application/json")
    capsys.readouterr()
    write_page(world.settings)
    said = capsys.readouterr().out
    assert f"{key} was written by another version of Lakeferry" in said
    assert "4711" not in said
    assert "entries" in world.documents.read("page/index.html")
