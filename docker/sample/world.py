"""The sample world: its size, its seed, when it began, how many hours it has lived, and its words."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from connectors.errors import UsageError

DEFAULT_ROWS = 20_000
DEFAULT_SEED = 20261123
HISTORY = timedelta(days=3)
"""How far back the first rows reach."""
QUIET = timedelta(minutes=3)
"""How long before the beginning the last of the first rows was touched."""
LATE = timedelta(seconds=3)
"""How far behind the clock a late row's updated_at is: less than the pipelines' lag of 5 seconds."""
SETTLED = timedelta(seconds=6)
"""How long after an hour was played its rows are older than the pipelines' lag."""


@dataclass(frozen=True)
class Counts:
    """Counts of one dataset.

    rows: rows, messages or CSV records written, bad ones included: what the next run has to read.
    bad: those of them that belong in quarantine.
    total: all the source holds afterwards, bad ones included; a corrected settlement counts each time.
    new, changed, late: how `rows` came about; late ones are older than rows that were there before.
    """

    rows: int
    bad: int
    total: int
    new: int
    changed: int = 0
    late: int = 0


@dataclass(frozen=True)
class World:
    """Everything the content depends on. `began` is a UTC wall clock; rows lie before it."""

    rows: int = DEFAULT_ROWS
    seed: int = DEFAULT_SEED
    began: datetime = datetime(2026, 11, 23)
    hour: int = 0

    def __post_init__(self) -> None:
        if not 100 <= self.rows <= 50_000_000:
            raise UsageError(
                f"a sample of {self.rows} payments is out of range", choices=["100 to 50000000"], fix="Change --rows"
            )

    @property
    def merchants(self) -> int:
        return max(10, self.rows // 100)

    @property
    def entries(self) -> int:
        return self.rows

    @property
    def events(self) -> int:
        return self.rows + self.rows // 2

    @property
    def settlements(self) -> int:
        return max(40, self.rows // 10)

    def share(self, per_mille: int, of: int | None = None) -> int:
        """So many thousandths of the payments (or of `of`), at least one."""
        return max(1, (self.rows if of is None else of) * per_mille // 1000)

    def random(self, about: str) -> Random:
        """Random numbers that depend on the seed, the hour and the subject only."""
        return Random(f"{self.seed}/{self.hour}/{about}")

    def at_hour(self, hour: int) -> World:
        return replace(self, hour=hour)

    def moment(self, part: int, of: int, random: Random) -> datetime:
        """The time of the `part`-th of `of` first rows: evenly spread over the history, to the microsecond."""
        span = (HISTORY - 2 * QUIET) // timedelta(microseconds=1)
        return self.began - HISTORY + timedelta(microseconds=span * part // of + random.randrange(span // of + 1))


def state_file() -> Path:
    """Where the world's state is kept between hours: beside the settings of the local services."""
    named = os.environ.get("LAKEFERRY_STATE_DIR")
    return (Path(named) if named else Path(__file__).resolve().parents[2] / ".lakeferry") / "sample.json"


def remember(world: World) -> None:
    path = state_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(asdict(world) | {"began": world.began.isoformat()}), encoding="utf-8")
    draft.replace(path)


def recall() -> World:
    """The world that was seeded last.

    Raises:
        UsageError: none was.
    """
    try:
        kept = json.loads(state_file().read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError("there is no sample data yet", fix="Run: make seed") from None
    return World(**(kept | {"began": datetime.fromisoformat(kept["began"])}))


def utc_now() -> datetime:
    """This machine's UTC wall clock, naive like the sources' DATETIME columns."""
    return datetime.now(UTC).replace(tzinfo=None)


def decimal_text(units: int, scale: int) -> str:
    """An integer of the smallest units as a decimal: (-12345, 2) is -123.45."""
    sign, digits = ("-" if units < 0 else ""), str(abs(units)).rjust(scale + 1, "0")
    return f"{sign}{digits[:-scale]}.{digits[-scale:]}"


SHOPS = ("さくら", "富士", "みなと", "ひかり", "銀河", "あおば", "大黒", "白鷺", "Café Élan", "O'Brien", "Naïve & Co.")
TRADES = (
    "珈琲店 ☕",
    "書店 📚",
    "ラーメン 🍜",
    "薬局",
    "電器",
    "花屋 🌸",
    "寿司 🍣",
    "Bakery",
    "ベーカリー 🥐",
    "古着屋",
)
CATEGORIES = ("food", "books", "health", "electronics", "fashion", "travel")
REGIONS = ("東京", "大阪", "福岡", "札幌", "那覇", None)
MEMOS = (
    None,
    None,
    None,
    "",
    "ありがとうございました",
    "領収書は不要です 🙏",
    "trailing blanks   ",
    "  leading blanks",
    "back\\slash, \"quotes\" and 'quotes'",
    "二行の\nメモ",
    "tab\there",
    "髙島屋 﨑 𠮷野家",
    "👨‍👩‍👧‍👦 family dinner",
    "NULL",
    "%s {} ${x}",
)
DEVICES = ("ios 19.1", "android 16", "web", "iPad Pro 📱")
