"""Facts into HTML: no script, nothing fetched from anywhere, every text escaped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from jobs.page.words import WORDS, Language

if TYPE_CHECKING:
    from jobs.lake.documents import Documents
    from jobs.page.facts import Attempt, PageFacts

CHARTED_RUNS = 10
_TEMPLATE = "template.html"
_HEIGHT, _STEP, _BAR, _FOOT = 44.0, 30.0, 20.0, 12.0
_LEAST = 2.0
"""A bar that stands for a row at all can be seen."""


@dataclass(frozen=True)
class Bar:
    """One run in the chart, in units of the drawing; `quarantined_*` stands on top of `published_*`."""

    x: float
    published_top: float
    published_height: float
    quarantined_top: float
    quarantined_height: float
    failed: bool


@dataclass(frozen=True)
class Chart:
    bars: tuple[Bar, ...]
    numbers: tuple[tuple[int, int], ...]
    most: int
    width: float = _STEP * CHARTED_RUNS
    height: float = _HEIGHT + _FOOT
    base: float = _HEIGHT
    bar: float = _BAR


class Links:
    """Addresses of other documents of the lake, as seen from the page.

    A page in the lake names them relative to itself, so that they hold wherever the lake is shown. From a file
    elsewhere only a folder can be linked to: no browser opens `s3://`.
    """

    def __init__(self, documents: Documents, *, in_lake: bool) -> None:
        self._documents = documents
        self._in_lake = in_lake

    def address(self, key: str) -> str | None:
        """What a link to the document says; None where no browser could follow it."""
        if self._in_lake:
            return f"../{quote(key)}"
        uri = self._documents.uri(key)
        root = uri.removesuffix(key)
        return f"{root}{quote(key)}" if urlsplit(uri).scheme == "file" else None

    def uri(self, key: str) -> str:
        """The whole address, to be read."""
        return self._documents.uri(key)


def render(facts: PageFacts, language: Language, links: Links, *, other_page: str) -> str:
    """The page in one language.

    Args:
        other_page: the file name of the page in the other language, beside this one.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "size": size, "instant": instant, "window": window_text}
    return environment.get_template(_TEMPLATE).render(
        facts=facts, words=WORDS[language], language=language, links=links, other_page=quote(other_page), chart=chart
    )


def chart(attempts: Sequence[Attempt]) -> Chart:
    """The last runs as bars, oldest first, all on one scale."""
    shown = list(reversed(attempts[:CHARTED_RUNS]))
    numbers = tuple((attempt.published or 0, attempt.quarantined or 0) for attempt in shown)
    most = max((published + quarantined for published, quarantined in numbers), default=0)
    bars = []
    for place, (attempt, (published, quarantined)) in enumerate(zip(shown, numbers, strict=True)):
        good, bad = _length(published, most), _length(quarantined, most)
        # What is made visible at least must not stand out at the top.
        good = min(good, _HEIGHT - bad)
        bars.append(
            Bar(
                x=(CHARTED_RUNS - len(shown) + place) * _STEP + (_STEP - _BAR) / 2,
                published_top=round(_HEIGHT - good, 2),
                published_height=round(good, 2),
                quarantined_top=round(_HEIGHT - good - bad, 2),
                quarantined_height=round(bad, 2),
                failed=attempt.result == "failed",
            )
        )
    return Chart(bars=tuple(bars), numbers=numbers, most=most)


def number(value: int | None) -> str:
    """`20,168`; a dash where nothing was counted."""
    return "–" if value is None else f"{value:,}"


def size(value: int | None) -> str:
    """`1.4 MB`, in powers of ten; a dash where nothing was counted."""
    if value is None:
        return "–"
    for least, unit in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if value >= least:
            return f"{value / least:.1f} {unit}"
    return f"{value} B"


def instant(value: datetime | str | None) -> str:
    """`2026-11-30 09:00 UTC`, to the minute."""
    if value is None:
        return "–"
    found = datetime.fromisoformat(value) if isinstance(value, str) else value
    return f"{found.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def window_text(value: str | None) -> str:
    """An end of a window to the second: a time, a day or a number, as the cursor has it."""
    text = (value or "").replace("T", " ")
    return text.partition(".")[0] if ":" in text else text


def _length(rows: int, most: int) -> float:
    return max(rows / most * _HEIGHT, _LEAST) if rows else 0.0
