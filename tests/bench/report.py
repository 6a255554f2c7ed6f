"""The results as tables: for the terminal, and for docs/explanation/benchmarks.md between two marks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from tests.bench.changed_rows import ChangedRows
from tests.bench.goals import Goal, Sizes
from tests.bench.many_dags import DATASETS, ManyDags
from tests.bench.outcome import Outcome
from tests.bench.small_tables import SmallTables
from tests.bench.warehouse_loads import WarehouseLoads

BEGIN = "<!-- results: written by make bench -->"
END = "<!-- results: end -->"
_PHASES = ("plan", "start", "read + write", "of it append", "proof", "publish", "curated", "end")


@dataclass(frozen=True)
class Table:
    """A title, the names of the columns (the first is text, the others numbers), and rows of text."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def whole_table_tables(outcomes: Sequence[Outcome]) -> list[Table]:
    sizes = Sizes(outcomes)
    contenders = dict.fromkeys(outcome.contender for outcome in outcomes)
    each = []
    for contender in contenders:
        numbers = (
            sizes.seconds_a_million(contender),
            sizes.cpu_seconds_a_million(contender),
            sizes.server_seconds_a_million(contender),
            sizes.memory_ratio(contender),
        )
        each.append((contender, *(_number(number, 2) for number in numbers)))
    names = ("contender", "seconds", "CPU s", "server's CPU s", "peak memory, large over small")
    return [
        Table("Whole tables", *_measures([(f"{o.contender}, {_rows(o.rows)}", o) for o in outcomes])),
        Table("Each further million rows", names, tuple(each)),
        Table(
            "Where Lakeferry's seconds go",
            *_phases([(f"{o.contender}, {_rows(o.rows)}", o) for o in outcomes]),
        ),
    ]


def small_table_tables(found: SmallTables) -> list[Table]:
    many = [(f"{found.many.contender}, {found.many_tables:,} tables", found.many)] if found.many is not None else []
    columns, rows = _measures([(o.contender, o) for o in (found.ours, found.dlt)])
    _, more = _measures(many)
    name = "bare Iceberg appends, four at a time, session warm"
    if found.bare_failure is not None:
        name = f"{name} failed: {found.bare_failure}"
    bare = (name, _number(found.bare_seconds, 1), *["–"] * (len(columns) - 2))
    phases = _phases([(found.ours.contender, found.ours), *many])
    return [
        Table(f"{found.tables} tables of 2,000 rows in one run", columns, (*rows, bare, *more)),
        Table("Where its seconds go (proof and curated: a fourth of the datasets' sum)", *phases),
    ]


def changed_row_tables(found: ChangedRows) -> list[Table]:
    told = [(outcome.contender, outcome) for outcome in (found.large, found.alone, found.small_pool)]
    return [
        Table(f"{found.rows:,} changed rows of {found.table_rows:,}, second run", *_measures(told)),
        Table("Where its seconds go", *_phases(told)),
    ]


def warehouse_load_tables(loads: Sequence[WarehouseLoads]) -> list[Table]:
    columns, rows = _measures(
        [(f"{o.contender}, {_rows(o.rows)}", o) for load in loads for o in load.outcomes.values()]
    )
    sent = [
        (
            f"{contender}, {_rows(load.rows)}",
            f"{load.lake_files}",
            f"{load.files}",
            f"{load.file_bytes / 1e6:,.1f}",
            f"{asked.bytes / 1e6:,.1f}",
            f"{asked.load_jobs}",
            f"{asked.query_jobs}",
        )
        for load in loads
        for contender, asked in load.sent.items()
    ]
    names = ("contender", "files in the lake", "files sent", "of MB", "MB sent in all", "load jobs", "query jobs")
    return [Table("Into the warehouse", columns, rows), Table("What was sent for it", names, tuple(sent))]


def many_dag_tables(found: Sequence[ManyDags]) -> list[Table]:
    title = f"Pipelines of {DATASETS} datasets in Airflow's DAG processor"
    return [Table(title, *_measures([(entry.outcome.contender, entry.outcome) for entry in found]))]


def goal_table(goals: Sequence[Goal]) -> Table:
    rows = tuple((g.what, _number(g.limit, 2), _number(g.measured, 2), g.verdict, g.note) for g in goals)
    return Table("Goals", ("at most", "goal", "measured", "met", "note"), rows)


def show(tables: Sequence[Table]) -> None:
    """On the terminal; whole lines also where it is narrow or none."""
    console = Console(width=None if Console().is_terminal else 160)
    for table in tables:
        shown = RichTable(title=table.title, title_justify="left")
        for number, column in enumerate(table.columns):
            shown.add_column(column, justify="right" if number else "left", overflow="fold")
        for row in table.rows:
            shown.add_row(*map(escape, row))
        console.print(shown)


def write(path: Path, introduction: str, tables: Sequence[Table]) -> None:
    """Put the results between the marks of a page; what is outside of them stays.

    Raises:
        ValueError: the page has no marks.
    """
    page = path.read_text(encoding="utf-8") if path.exists() else f"# Benchmarks\n\n{BEGIN}\n{END}\n"
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path} lacks the lines {BEGIN} and {END}")
    body = "\n\n".join([introduction, *map(_markdown, tables)])
    path.write_text(f"{before}{BEGIN}\n\n{body}\n\n{END}{after}", encoding="utf-8")


def _measures(named: Sequence[tuple[str, Outcome]]) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    columns = ("contender", "seconds", "peak MB", "CPU s", "server's CPU s", "others' CPU s")
    rows = []
    for name, outcome in named:
        if outcome.failure is not None:
            rows.append((f"{name} failed: {outcome.failure}", *["–"] * (len(columns) - 1)))
            continue
        rows.append(
            (
                name,
                f"{outcome.wall_seconds:.1f}",
                f"{outcome.peak_bytes / 1e6:,.0f}",
                f"{outcome.cpu_seconds:.1f}",
                _number(outcome.server_cpu_seconds, 1),
                f"{outcome.others_cpu_seconds:.1f}",
            )
        )
    return columns, tuple(rows)


def _phases(named: Sequence[tuple[str, Outcome]]) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    rows = []
    for name, outcome in named:
        p = outcome.phases
        if p is not None:
            seconds = (p.plan, p.start, p.read_write, p.append, p.proof, p.publish, p.curated, p.end)
            rows.append((name, *(f"{value:.1f}" for value in seconds)))
    return ("seconds", *_PHASES), tuple(rows)


def _markdown(table: Table) -> str:
    rule = ["---", *["---:"] * (len(table.columns) - 1)]
    lines = [f"### {table.title}", ""]
    for row in (table.columns, rule, *table.rows):
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |")
    return "\n".join(lines)


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def _rows(rows: int) -> str:
    return f"{rows / 1e6:g} M"
