"""Templates of pages: every text escaped, every name known, one style for all."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Template


def open_template(path: Path) -> Template:
    """The template of that file, which may include `style.css`, the style of all pages."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader([path.parent, Path(__file__).parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "size": size, "instant": instant, "window": window_text}
    return environment.get_template(path.name)


def number(value: int | float | Decimal | None) -> str:
    """`20,168` or `1,234.50`, to the last digit there is; a dash where nothing was counted."""
    if not isinstance(value, Decimal):
        return "–" if value is None else f"{value:,}"
    whole, _, fraction = f"{value:,f}".partition(".")
    fraction = fraction.rstrip("0")
    return f"{whole}.{fraction:0<2}" if fraction else whole


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
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def window_text(value: str | None) -> str:
    """An end of a window to the second: a time, a day or a number, as the cursor has it."""
    text = (value or "").replace("T", " ")
    return text.partition(".")[0] if ":" in text else text
