"""Put the sample data into the four sources.  seed.py [--rows N] [--seed N]

Prints {dataset: counts} as JSON; `world.Counts` says what the counts mean. Seeding again makes
everything from scratch.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import databases
import events
import settlements
import shop
import wallet
from world import DEFAULT_ROWS, DEFAULT_SEED, Counts, World, remember

from connectors.errors import LakeferryError, SettingError
from jobs.runtime.settings import read_settings_file


def seed(rows: int = DEFAULT_ROWS, seed: int = DEFAULT_SEED) -> dict[str, Counts]:
    """Seed all four sources with `rows` payments and the others in proportion; what each dataset got.

    Raises:
        UsageError: the size is out of range.
        ServiceUnavailable: a source does not answer.
    """
    with databases.connect(shop.CONNECTION) as aurora, databases.connect(wallet.CONNECTION) as tidb:
        with aurora.cursor() as cursor:
            world = World(rows, seed, databases.now(cursor).replace(microsecond=0))
        with ThreadPoolExecutor(max_workers=4) as pool:
            parts = [
                pool.submit(shop.seed, world, aurora),
                pool.submit(wallet.seed, world, tidb),
                pool.submit(events.seed, world),
                pool.submit(settlements.seed, world),
            ]
            counts = {dataset: count for part in parts for dataset, count in part.result().items()}
    remember(world)
    return counts


def rows_setting() -> int:
    """LAKEFERRY_SAMPLE_ROWS, or the default.

    Raises:
        SettingError: it is no number.
    """
    text = os.environ.get("LAKEFERRY_SAMPLE_ROWS") or str(DEFAULT_ROWS)
    if not text.isdecimal():
        raise SettingError(f"LAKEFERRY_SAMPLE_ROWS={text} is not a number of payments", choices=["100 to 50000000"])
    return int(text)


def main() -> int:
    parser = argparse.ArgumentParser(description="Put the sample data into the four sources.")
    parser.add_argument("--rows", type=int, help="payments; the other datasets in proportion (LAKEFERRY_SAMPLE_ROWS)")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="another seed makes another world")
    arguments = parser.parse_args()
    try:
        read_settings_file()
        counts = seed(arguments.rows if arguments.rows is not None else rows_setting(), arguments.seed)
    except LakeferryError as error:
        print(f"lakeferry: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps({dataset: asdict(count) for dataset, count in counts.items()}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
