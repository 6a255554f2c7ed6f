"""Play the next hour in the four sources: new, changed, late and a few bad rows.  next_hour.py

Prints {dataset: counts} as JSON, like seed.py. Ends when the rows are older than the pipelines' lag, so
that a run begun right after it reads all of them.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict

import databases
import events
import settlements
import shop
import wallet
from world import SETTLED, Counts, recall, remember, utc_now

from connectors.errors import LakeferryError
from jobs.runtime.settings import read_settings_file


def play(settle: bool = True) -> dict[str, Counts]:
    """Play the hour after the last one played; what each dataset got.

    Args:
        settle: wait until the databases' clocks are past the pipelines' lag, 6 seconds at most.

    Raises:
        UsageError: nothing was seeded.
        ServiceUnavailable: a source does not answer.
    """
    world = recall()
    world = world.at_hour(world.hour + 1)
    with databases.connect(shop.CONNECTION) as aurora, databases.connect(wallet.CONNECTION) as tidb:
        counts = events.play(world, utc_now()) | settlements.play(world, utc_now())
        counts |= wallet.play(world, tidb) | shop.play(world, aurora)
        remember(world)
        if settle:
            time.sleep(SETTLED.total_seconds())
    order = ("payments", "merchants", "balance_entries", "app_events", "settlements")
    return {dataset: counts[dataset] for dataset in order}


def main() -> int:
    parser = argparse.ArgumentParser(description="Play the next hour in the four sources.")
    parser.add_argument("--no-settle", action="store_true", help="do not wait until the rows are older than the lag")
    arguments = parser.parse_args()
    try:
        read_settings_file()
        counts = play(settle=not arguments.no_settle)
    except LakeferryError as error:
        print(f"lakeferry: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps({dataset: asdict(count) for dataset, count in counts.items()}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
