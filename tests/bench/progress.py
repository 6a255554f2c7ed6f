"""Shows the benchmark's progress, line by line, with the time since it began."""

from __future__ import annotations

import time

_began = time.monotonic()


def say(text: str) -> None:
    seconds = int(time.monotonic() - _began)
    print(f"{seconds // 60:02d}:{seconds % 60:02d} {text}", flush=True)
