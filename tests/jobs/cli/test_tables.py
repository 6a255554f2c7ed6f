"""What commands print of receipts, status and quarantine: every column has a heading, runs can be selected by what is
shown, and a quarantine of any size takes one line per reason."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from rich.table import Table
from typer.testing import CliRunner

from connectors.errors import UsageError
from jobs.cli.app import app, main
from jobs.cli.output import print_table
from jobs.cli.run_ids import chosen_run_id, short_run_ids
from jobs.lake.names import QUARANTINE
from jobs.reporting.report import report_file
from jobs.runs.receipts import run_id_of, safe_run_id
from tests.support.page_world import PageWorld

OLD, NEW = "manual__2026-11-30T10:15:00.000001+00:00_Ab3xYz", "manual__2026-12-01T10:15:00.000001+00:00_Ab3xYz"
SECRET = '{"phone": "09012345678"}'


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PageWorld:
    world = PageWorld.at(tmp_path / "world")
    world.pipeline("payments", "payments")
    world.run("payments", "payments", OLD, hours_ago=24, published=2)
    for key in ("lake", "catalog", "pipelines"):
        monkeypatch.setenv(f"LAKEFERRY_{key.upper()}", str(getattr(world.settings, key)))
    return world


def shown(*arguments: str) -> str:
    ran = CliRunner().invoke(app, list(arguments))
    assert ran.exception is None or isinstance(ran.exception, SystemExit), ran.exception
    return ran.output


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("┃│ ").replace("┃", "│").split("│")]


def test_receipts_say_which_run_they_show(world: PageWorld) -> None:
    assert shown("receipts", "payments").splitlines()[0] == f"The only run, {OLD}"
    world.run("payments", "payments", NEW, hours_ago=1, published=3, batch=2)
    newest = shown("receipts", "payments")
    assert newest.splitlines()[0] == f"The newest of 2 runs, {NEW}; another: --run-id RUN, every one: --all"
    listed = {cells(line)[0] for line in newest.splitlines() if line.startswith("│")}
    assert listed == {"manual__2026-12-01T10:15:…"[:24] + "…"}
    both = shown("receipts", "payments", "--all")
    assert both.splitlines()[0] == "All 2 runs"
    assert len({cells(line)[0] for line in both.splitlines() if line.startswith("│")}) == 2
    for chosen in (OLD, "manual__2026-11-30", "manual__2026-11-30T10:15…"):
        assert shown("receipts", "payments", "--run-id", chosen).splitlines()[0] == f"Run {OLD}"
    assert shown("receipts", "payments", "--run-id", OLD).count("│ check") == 1


def test_a_pipeline_without_receipts_says_so(world: PageWorld) -> None:
    world.pipeline("wallet", "entries")
    assert shown("receipts", "wallet") == "No run of wallet has left a receipt\n"


def test_an_ambiguous_beginning_of_a_run_id_is_refused(
    world: PageWorld, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world.run("payments", "payments", NEW, hours_ago=1, published=3, batch=2)
    monkeypatch.setattr("sys.argv", ["lakeferry", "run", "payments", "--run-id", "manual__2026…"])
    with pytest.raises(SystemExit):
        main()
    assert "2 run ids begin with 'manual__2026…'" in capsys.readouterr().err, "it is not the name of a new run"
    for text, problem in (("manual__", "2 run ids begin with 'manual__'"), ("never", "no run 'never' has left")):
        monkeypatch.setattr("sys.argv", ["lakeferry", "receipts", "payments", "--run-id", text])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        error = capsys.readouterr().err
        assert problem in error
        assert OLD in error
        assert NEW in error


def test_a_short_run_id_selects_its_run_alone() -> None:
    runs = [
        OLD,
        NEW,
        "nightly",
        "nightly-2",
        "cli__2026-12-01T09:42:30.123+00:00",
        "cli__2026-12-01T09:42:30.187+00:00",
    ]
    short = short_run_ids(runs)
    assert short["nightly"] == "nightly"
    assert short["cli__2026-12-01T09:42:30.123+00:00"] == "cli__2026-12-01T09:42:30.12…"
    assert short[NEW] == "manual__2026-12-01T10:15…"[:25]
    assert len(set(short.values())) == len(runs)
    assert [chosen_run_id(text, runs, "p") for text in short.values()] == list(short)
    # A whole id goes first, and one that would lose nothing is not cut.
    assert chosen_run_id("nightly", runs, "p") == "nightly"
    assert short_run_ids(["a" * 25])["a" * 25] == "a" * 25
    with pytest.raises(UsageError, match="Write more of the run id"):
        chosen_run_id("cli__", runs, "p")


@pytest.mark.parametrize("run_id", [OLD, "größer=50%", "a%3Db=3D", "backfill__2026-05-01T00:00:00+00:00"])
def test_a_run_id_comes_back_from_its_path_segment(run_id: str) -> None:
    assert run_id_of(safe_run_id(run_id)) == run_id


def test_quarantine_takes_one_line_per_reason(world: PageWorld) -> None:
    columns = ("_run_id", "_batch", "reason", "place", "record")
    timed = pa.schema([*((name, pa.int64() if name == "_batch" else pa.string()) for name in columns),
                       ("quarantined_at", pa.timestamp("us", "UTC"))])  # fmt: skip
    rows = [
        (
            OLD,
            1,
            "amount must be at least 0",
            f"payment_id={number}",
            SECRET,
            datetime(2026, 11, 30, 10, number, tzinfo=UTC),
        )
        for number in range(3)
    ]
    rows += [
        ("dead", 4, "amount must be at least 0", "payment_id=9", SECRET, datetime(2026, 12, 1, 10, 0, tzinfo=UTC)),
        (OLD, 1, "status: NULL", "payment_id=7", "x" * 5000, datetime(2026, 11, 30, 9, 0, tzinfo=UTC)),
    ]  # fmt: skip
    table = world.catalog.create_table((QUARANTINE, "payments"), timed)
    table.append(pa.table([list(column) for column in zip(*rows, strict=True)], schema=timed))

    lines = shown("quarantine", "payments").splitlines()
    assert max(map(len, lines)) <= 140
    assert SECRET not in "".join(lines)
    assert cells(lines[1]) == ["dataset", "rows", "first (UTC)", "last (UTC)", "batch", "an example's place", "reason"]
    assert sorted(cells(line) for line in lines if line.startswith("│")) == [
        ["payments", "1", "2026-11-30 09:00", "2026-11-30 09:00", "1", "payment_id=7", "status: NULL"],
        ["payments", "1", "2026-12-01 10:00", "2026-12-01 10:00", "4, not published", "payment_id=9",
         "amount must be at least 0"],
        ["payments", "3", "2026-11-30 10:00", "2026-11-30 10:02", "1", "payment_id=0", "amount must be at least 0"],
    ]  # fmt: skip

    records = shown("quarantine", "payments", "--records")
    assert f"payments, batch 1, run {OLD}: amount must be at least 0 (3 of 3)" in records
    assert records.count(SECRET) == 4
    assert f"  payment_id=7  {'x' * 5000}" in records.splitlines()
    assert shown("quarantine", "payments", "--examples", "1").count(SECRET) == 2


def test_rows_that_an_earlier_version_set_aside_have_no_time(world: PageWorld) -> None:
    world.set_aside("payments", [(OLD, 1, "amount must be at least 0", SECRET)])
    lines = shown("quarantine", "payments").splitlines()
    assert cells(lines[1]) == ["dataset", "rows", "batch", "an example's place", "reason"]


def test_every_column_has_a_heading(world: PageWorld) -> None:
    for command in (["status"], ["quarantine", "payments"], ["receipts", "payments"]):
        [headings] = [cells(line) for line in shown(*command).splitlines() if line.startswith("┃")]
        assert all(headings), command
    world.receipt("payments", "payments", NEW, "plan", 0, "failed", error="it broke", exit_code=3)
    [headings] = [cells(line) for line in shown("status").splitlines() if line.startswith("┃")]
    assert headings[-1] == "note"


def test_an_empty_column_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("column", "note")
    table.add_row("id", "")
    print_table(table)
    assert "note" not in capsys.readouterr().out


def test_a_report_lies_in_the_state_folder_by_default(world: PageWorld) -> None:
    settings = world.settings.model_copy(update={"state_dir": world.folder / "state"})
    file = report_file(settings, "payments")
    assert file == world.folder / "state" / "reports" / "payments.html"
    assert file.parent.is_dir()
