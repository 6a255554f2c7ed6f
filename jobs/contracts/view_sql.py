"""The SQL of a curated view: one SELECT over `dataset.table` names, in a file beside the pipeline's YAML."""

from __future__ import annotations

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from connectors.errors import SpecError


def check_view_sql(text: str, file_name: str, pipeline: str | None = None) -> None:
    """Check that the text of a view's file is one SELECT whose tables are written `dataset.table`.

    Raises:
        SpecError: it is not; with file and line.
    """
    try:
        statements = [statement for statement in sqlglot.parse(text, dialect="bigquery") if statement is not None]
    except SqlglotError as error:
        problems = getattr(error, "errors", None) or [{}]
        said = str(problems[0].get("description") or error).splitlines()[0].split(" <Token")[0]
        line = problems[0].get("line") or 1
        raise SpecError(f"not GoogleSQL: {said}", where=f"{file_name}:{line}", pipeline=pipeline) from None
    except RecursionError:
        raise SpecError("the query is nested too deep to be read", where=file_name, pipeline=pipeline) from None
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        second = statements[1] if len(statements) > 1 else (statements[0] if statements else None)
        raise SpecError(
            f"a view is one SELECT, and this has {len(statements)} statements"
            if len(statements) != 1
            else f"a view is one SELECT, this is {statements[0].key.upper()}",
            where=f"{file_name}:{_line(second)}",
            pipeline=pipeline,
            fix="Leave the SELECT only",
        )
    for table in _tables(statements[0]):
        if not table.db or table.catalog:
            raise SpecError(
                f"table {table.sql(dialect='bigquery')} is not written dataset.table",
                where=f"{file_name}:{_line(table)}",
                pipeline=pipeline,
                fix="The project is LAKEFERRY_WAREHOUSE_PROJECT: write the dataset and the table, without it",
            )


def tables_of(text: str) -> list[str]:
    """Return the `dataset.table` names that a view reads, in order, each once."""
    query = sqlglot.parse_one(text, dialect="bigquery")
    return list(dict.fromkeys(f"{table.db}.{table.name}" for table in _tables(query)))


def with_project(text: str, project: str) -> str:
    """Return the same text with the project before each table's name; nothing else is changed.

    A view that is read from another project would otherwise look for its tables there.
    """
    query = sqlglot.parse_one(text, dialect="bigquery")
    starts = sorted({int(table.args["db"].meta["start"]) for table in _tables(query)}, reverse=True)
    for start in starts:
        text = f"{text[:start]}`{project}`.{text[start:]}"
    return text


def _tables(query: exp.Expr) -> list[exp.Table]:
    """Return the tables of the warehouse. Names of WITH clauses and UNNESTed columns are not tables."""
    named = {cte.alias_or_name for cte in query.find_all(exp.CTE)}
    tables = (table for table in query.find_all(exp.Table) if isinstance(table.this, exp.Identifier))
    return [table for table in tables if table.db or table.name not in named]


def _line(node: exp.Expr | None) -> int:
    lines = [int(part.meta["line"]) for part in node.find_all(exp.Expr) if "line" in part.meta] if node else []
    return min(lines, default=1)
