"""What a pipeline's `schedule` may say, checked with the parser that Airflow uses before Airflow reads it."""

from __future__ import annotations

import calendar
import re
from collections.abc import Sequence
from datetime import UTC, datetime

PRESETS = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@quarterly", "@yearly", "@annually")
"""Airflow's own (`airflow.utils.dates.cron_presets`) and those of croniter, to which Airflow passes all others on."""
_OF_AIRFLOW = "@quarterly"
"""The preset that croniter does not know; Airflow takes it in lower case only."""
_MONTHS, _DAYS = calendar.month_abbr[1:], calendar.day_abbr[:]
_FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 7, _DAYS),
)
_ANY = "?"
"""As `*`, in the two fields of days, where croniter takes it."""
_MOST_DIGITS = 9
_ANY_YEAR = datetime(2024, 1, 1, tzinfo=UTC)


def cron_problem(text: str) -> str | None:
    """What is wrong with a schedule, as the end of a sentence; None where Airflow reads it and it has a next time.

    Airflow 3.3 reads schedules with croniter (`airflow.timetables._cron`), which is asked last.

    Args:
        text: a preset, or the five fields of a cron expression (crontab(5)): digits, and names of months and days.
    """
    if text == _OF_AIRFLOW or (text.lower() in PRESETS and text.lower() != _OF_AIRFLOW):
        return None
    strange = next((character for character in text if not character.isascii()), None)
    if strange:
        return f"holds {strange!r} (U+{ord(strange):04X}): write digits and blanks in ASCII"
    fields = text.split()
    if text.startswith("@") or len(fields) != len(_FIELDS):
        return "is neither a preset nor a cron expression of five fields"
    for field, (name, lowest, highest, words) in zip(fields, _FIELDS, strict=True):
        if field == _ANY and name.startswith("day"):
            continue
        for item in field.split(","):
            problem = _item_problem(item, lowest, highest, words)
            if problem:
                return f"says {item!r} for the {name}, {problem}"
    return _croniter_problem(" ".join(fields))


def _item_problem(item: str, lowest: int, highest: int, words: Sequence[str]) -> str | None:
    # Leading zeros and a step beyond the field's range change nothing: `*/100` runs at the first minute only.
    value = "|".join((rf"[0-9]{{1,{_MOST_DIGITS}}}", *words))
    form = re.fullmatch(rf"(?:\*|({value})(?:-({value}))?)(?:/([0-9]{{1,{_MOST_DIGITS}}}))?", item, re.IGNORECASE)
    numbers = [int(part) for part in form.groups()[:2] if part and part.isdecimal()] if form else []
    if form is None or any(not lowest <= number <= highest for number in numbers):
        return f"which goes from {lowest} to {highest}" + (f" or {words[0]} to {words[-1]}" if words else "")
    return "whose step must be at least 1" if form[3] and int(form[3]) == 0 else None


def _croniter_problem(expression: str) -> str | None:
    # Imported here: the workers of a cluster, which import this package, have no croniter.
    from croniter import CroniterBadDateError, CroniterError, croniter

    try:
        croniter(expression, _ANY_YEAR).get_next(datetime)
    except CroniterBadDateError:
        return "never comes: no month has such a day"
    except (CroniterError, ValueError, KeyError) as error:
        return f"is not read by Airflow ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
    return None
