"""TiDB's part of the sample: `wallet.balance_entries`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

import databases
from world import LATE, MEMOS, Counts, World

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

CONNECTION = "tidb_wallet"
SCHEMA = (
    "CREATE DATABASE IF NOT EXISTS wallet",
    "DROP TABLE IF EXISTS wallet.balance_entries",
    """
    CREATE TABLE wallet.balance_entries (
      entry_id BIGINT AUTO_RANDOM PRIMARY KEY,
      wallet_id BIGINT NOT NULL,
      kind ENUM('TOPUP','PAYMENT','REFUND','TRANSFER') NOT NULL,
      amount DECIMAL(20,4) NOT NULL,
      balance_after DECIMAL(20,4) NOT NULL,
      note VARCHAR(200) NULL,
      created_at DATETIME(6) NOT NULL,
      updated_at DATETIME(6) NOT NULL,
      KEY updated_at (updated_at)
    )
    """,
)


class Entry(NamedTuple):
    """A row of wallet.balance_entries. The amount is positive; the kind says which way it goes."""

    entry_id: int
    wallet_id: int
    kind: str
    amount: Decimal
    balance_after: Decimal
    note: str | None
    created_at: datetime
    updated_at: datetime


def entry_id(number: int) -> int:
    """The key of the n-th entry, scattered as AUTO_RANDOM(5) does: 5 shard bits below the sign bit.

    Given, not left to the server, so that the same seed makes the same rows.
    Source: TiDB documentation, "AUTO_RANDOM".
    """
    shard = (number * 2_654_435_761 >> 11) & 31
    return shard << 58 | number


def entries(world: World, at: datetime) -> Iterator[Entry]:
    """The entries an hour brings; each hour's are of wallets of its own, so that balances add up."""
    random = world.random("entries")
    wallets = max(1, new_entries(world) // 20)
    late = late_entries(world)
    first = 1 if world.hour == 0 else world.entries + 1 + (world.hour - 1) * new_entries(world)
    balances: dict[int, int] = {}
    for index in range(new_entries(world)):
        wallet = world.hour * 100_000_000 + random.randrange(1, wallets + 1)
        balance = balances.get(wallet, 0)
        kind = random.choice(("TOPUP", "PAYMENT", "PAYMENT", "REFUND", "TRANSFER"))
        if balance < 10_000:
            kind = "TOPUP"
        coming = kind in ("TOPUP", "REFUND")
        amount = random.randrange(10_000, 500_000_000) if coming else random.randrange(1, balance + 1)
        balances[wallet] = balance + amount if coming else balance - amount
        if world.hour == 0:
            created = updated = world.moment(index, world.entries, random)
        elif index >= new_entries(world) - late:
            created = at - timedelta(hours=random.randrange(2, 40))
            updated = at - LATE + timedelta(microseconds=index)
        else:
            created = updated = at + timedelta(microseconds=index)
        yield Entry(
            entry_id=entry_id(first + index),
            wallet_id=wallet,
            kind=kind,
            amount=Decimal(amount).scaleb(-4),
            balance_after=Decimal(balances[wallet]).scaleb(-4),
            note=random.choice(MEMOS),
            created_at=created,
            updated_at=updated,
        )


def new_entries(world: World) -> int:
    """How many entries an hour brings: at hour 0 all, then 1 % and at least 5, late ones included."""
    return world.entries if world.hour == 0 else max(5, world.share(10))


def late_entries(world: World) -> int:
    return world.share(1)


def changes(world: World, at: datetime) -> Iterator[tuple[str, datetime, int]]:
    """Older entries that an hour annotates: note, updated_at, entry_id."""
    random = world.random("entry changes")
    for number, index in enumerate(random.sample(range(1, world.entries + 1), world.share(3))):
        yield f"訂正 in hour {world.hour}", at + timedelta(microseconds=number), entry_id(index)


def seed(world: World, connection: Connection[Cursor]) -> dict[str, Counts]:
    """Make the table from scratch and fill it."""
    with connection.cursor() as cursor:
        for statement in SCHEMA:
            cursor.execute(statement)
        cursor.execute("SET SESSION allow_auto_random_explicit_insert = 1")
        # TiDB bounds the size of one transaction; nobody reads while we seed, so each statement commits.
        connection.autocommit(True)
        written = databases.insert(cursor, "wallet.balance_entries", Entry._fields, entries(world, world.began))
        total = databases.count(cursor, "wallet.balance_entries")
        return {"balance_entries": Counts(written, 0, total, new=written)}


def play(world: World, connection: Connection[Cursor]) -> dict[str, Counts]:
    """Write an hour's rows and changes in one transaction, at the server's clock."""
    with connection.cursor() as cursor:
        at = databases.now(cursor)
        cursor.execute("SET SESSION allow_auto_random_explicit_insert = 1")
        written = databases.insert(cursor, "wallet.balance_entries", Entry._fields, entries(world, at))
        changed = list(changes(world, at))
        cursor.executemany("UPDATE wallet.balance_entries SET note = %s, updated_at = %s WHERE entry_id = %s", changed)
        connection.commit()
        late = late_entries(world)
        return {
            "balance_entries": Counts(
                rows=written + len(changed),
                bad=0,
                total=databases.count(cursor, "wallet.balance_entries"),
                new=written - late,
                changed=len(changed),
                late=late,
            )
        }
