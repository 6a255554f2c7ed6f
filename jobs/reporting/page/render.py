"""Facts into HTML: no script, nothing fetched from anywhere, every text escaped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from jobs.reporting.page.templates import open_template
from jobs.reporting.page.words import WORDS, Language

if TYPE_CHECKING:
    from jobs.lake.documents import Documents
    from jobs.reporting.page.facts import PageFacts, RunResult

CHARTED_RUNS = 10
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
    template = open_template(Path(__file__).parent / "template.html")
    return template.render(
        facts=facts, words=WORDS[language], language=language, links=links, other_page=quote(other_page), chart=chart
    )


def chart(attempts: Sequence[RunResult]) -> Chart:
    """The last runs as bars, oldest first, all on one scale."""
    shown = list(reversed(attempts[:CHARTED_RUNS]))
    # A correction takes rows away: only those it sets aside are drawn.
    numbers = tuple((max(attempt.published or 0, 0), attempt.quarantined or 0) for attempt in shown)
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


def _length(rows: int, most: int) -> float:
    return max(rows / most * _HEIGHT, _LEAST) if rows else 0.0
