"""The BigQuery emulator's own command line, with every request answered on one thread.

The emulator answers its reads on a pool of threads and its jobs on another, all through one DuckDB
connection. There, the thread that runs the next statement can fetch a result: `tabledata.list` beside a
query gives either of them rows of the other.

And a statement is parsed once: the emulator parses each about seventeen times, to ask one thing after the other of it,
which is more than half of what it costs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import fastapi.routing
from bqemulator.cli import main  # type: ignore[import-not-found]
from sqlglot.dialects.dialect import Dialect

_LONGEST_KEPT = 20_000
"""Characters of a statement that is kept: longer ones hold rows and do not come again."""


async def _here(answer: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    return answer(*arguments, **named)


def _parse_once() -> None:
    """Let sqlglot keep what it parsed last. The caller gets a copy, which it may change."""
    parse = Dialect.parse

    @lru_cache(maxsize=64)
    def parsed(dialect: type[Dialect], settings: Any, sql: str, options: Any) -> list[Any]:
        return parse(dialect(**dict(settings)), sql, **dict(options))

    def copied(self: Dialect, sql: str, **options: Any) -> list[Any]:
        if len(sql) > _LONGEST_KEPT:
            return parse(self, sql, **options)
        try:
            expressions = parsed(type(self), tuple(self.settings.items()), sql, tuple(options.items()))
        except TypeError:
            # An option that cannot be a key.
            return parse(self, sql, **options)
        return [expression.copy() if expression is not None else None for expression in expressions]

    Dialect.parse = copied  # type: ignore[method-assign]


if __name__ == "__main__":
    # What FastAPI hands every endpoint to that is a plain function.
    vars(fastapi.routing)["run_in_threadpool"] = _here
    _parse_once()
    main()
