"""How commands print: tables on stdout, errors on stderr."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

_NO_TERMINAL_COLUMNS = 2000


def print_table(table: Table) -> None:
    """Print a table without its empty columns. Without a terminal no cell is cut."""
    table.columns = [column for column in table.columns if any(column.cells)] or table.columns
    console = Console(highlight=False)
    (console if console.is_terminal else Console(highlight=False, width=_NO_TERMINAL_COLUMNS)).print(table)


def complain(text: str) -> None:
    """Print an error on stderr, without wrapping it."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(text, style="red", markup=False)
