"""The BigQuery emulator's own command line, with every request answered on one thread.

The emulator answers its reads on a pool of threads and its jobs on another, all through one DuckDB
connection, where a result can be fetched by whoever ran a statement next: `tabledata.list` beside a
query gives either of them rows of the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fastapi.routing
from bqemulator.cli import main  # type: ignore[import-not-found]


async def _here(answer: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    return answer(*arguments, **named)


if __name__ == "__main__":
    # What FastAPI hands every endpoint to that is a plain function.
    vars(fastapi.routing)["run_in_threadpool"] = _here
    main()
