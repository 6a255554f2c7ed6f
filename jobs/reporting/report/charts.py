"""Bars by day, drawn by Altair into SVG: no script is left in what it draws."""

from __future__ import annotations

from connectors.optional import hinted
from jobs.reporting.report.facts import SHOWN_VALUES, Line, ViewFacts

COLOURS = ("#4a7fc1", "#d0812f", "#4f9d69", "#a565b3", "#c75b5b", "#3f9ea6", "#8f8137", "#b3638c", "#8a909b")
"""One for each value and one for the others; each is legible on white and on black."""
_WIDTH, _HEIGHT = 330, 170
_INK = "currentColor"


def require_packages() -> None:
    """Import what draws, before anything is queried. Raises `PackageMissing` if it is not installed."""
    with hinted():
        import altair  # noqa: F401
        import vl_convert  # noqa: F401


def drawings(facts: ViewFacts) -> list[tuple[str, str]]:
    """A title and an SVG for the rows and for each number of the view; none where it has no day or no rows."""
    if facts.shape.day is None or not facts.cells:
        return []
    titled = [("rows", _svg(facts, [(day, place, line.rows) for day, place, line in _cells(facts)]))]
    for index, name in enumerate(facts.shape.numbers):
        points = [(day, place, float(line.sums[index] or 0)) for day, place, line in _cells(facts)]
        titled.append((name, _svg(facts, points)))
    return titled


def _cells(facts: ViewFacts) -> list[tuple[str, int, Line]]:
    return [(day.isoformat(), place, line) for (day, place), line in facts.cells.items() if day is not None]


def _svg(facts: ViewFacts, points: list[tuple[str, int, float]]) -> str:
    import altair as alt
    import vl_convert

    places = list(range(SHOWN_VALUES + 1))
    rows = [{"day": day, "place": place, "value": value} for day, place, value in points]
    data = alt.Data(values=rows)  # type: ignore[no-untyped-call]  # Altair leaves this one without types
    drawn = (
        alt.Chart(data)
        .mark_bar(aria=False)
        .encode(
            x=alt.X(
                "day:T",
                timeUnit="utcyearmonthdate",
                scale=alt.Scale(type="utc"),
                title=None,
                axis=alt.Axis(format="%m-%d", grid=False),
            ),
            y=alt.Y("value:Q", title=None, stack="zero", axis=alt.Axis(format="~s", tickCount=5)),
            color=alt.Color("place:N", legend=None, scale=alt.Scale(domain=places, range=list(COLOURS))),
            order=alt.Order("place:Q"),
        )
        .properties(width=_WIDTH, height=_HEIGHT, background="transparent")
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=_INK,
            domainColor=_INK,
            tickColor=_INK,
            gridColor=_INK,
            gridOpacity=0.15,
            labelFont="inherit",
            labelFontSize=12,
            aria=False,
        )
    )
    svg: str = vl_convert.vegalite_to_svg(drawn.to_dict())
    return svg
