"""What a pipeline's `schedule` may say, looked at before Airflow is given it."""

from __future__ import annotations

import calendar
import re

PRESETS = ("@hourly", "@daily", "@weekly", "@monthly", "@quarterly", "@yearly")
_NAMES = "|".join((*calendar.month_abbr[1:], *calendar.day_abbr))
_ITEM = re.compile(rf"(\*|(\d+|{_NAMES})(-(\d+|{_NAMES}))?)(/\d+)?", re.IGNORECASE)
_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of the month", 1, 31), ("month", 1, 12), ("day of the week", 0, 7))


def cron_problem(text: str) -> str | None:
    """What is wrong with a schedule, in words; None where nothing is.

    Args:
        text: a preset, or the five fields of a crontab line (crontab(5)), numbers and names.
    """
    if text in PRESETS:
        return None
    fields = text.split()
    if text.startswith("@") or len(fields) != len(_FIELDS):
        return "is no preset and has not the five fields of a crontab line"
    for field, (name, lowest, highest) in zip(fields, _FIELDS, strict=True):
        for item in field.split(","):
            numbers = [int(number) for number in re.findall(r"\d+", item.partition("/")[0])]
            if not _ITEM.fullmatch(item) or any(not lowest <= number <= highest for number in numbers):
                return f"says {item!r} for the {name}, which goes from {lowest} to {highest}"
    return None
