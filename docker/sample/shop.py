"""Aurora's part of the sample: `shop.payments` and `shop.merchants`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

import databases
from world import CATEGORIES, LATE, MEMOS, QUIET, REGIONS, SHOPS, TRADES, Counts, World

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

CONNECTION = "aurora_payments"
STATUSES = ("CREATED", "AUTHORIZED", "CAPTURED", "CAPTURED", "CAPTURED", "REFUNDED", "FAILED")
PAID = {"CAPTURED", "REFUNDED"}

SCHEMA = (
    "CREATE DATABASE IF NOT EXISTS shop DEFAULT CHARACTER SET utf8mb4",
    "DROP TABLE IF EXISTS shop.payments, shop.merchants",
    """
    CREATE TABLE shop.payments (
      payment_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
      merchant_id INT NOT NULL,
      amount DECIMAL(18,2) NOT NULL,
      currency CHAR(3),
      status ENUM('CREATED','AUTHORIZED','CAPTURED','REFUNDED','FAILED','LEGACY') NOT NULL,
      memo VARCHAR(255) NULL,
      phone VARCHAR(20) NULL,
      paid_at TIMESTAMP(3) NULL DEFAULT NULL,
      created_at DATETIME(6) NOT NULL,
      updated_at DATETIME(6) NOT NULL,
      KEY updated_at (updated_at)
    ) DEFAULT CHARACTER SET utf8mb4
    """,
    """
    CREATE TABLE shop.merchants (
      merchant_id INT NOT NULL PRIMARY KEY,
      name VARCHAR(100) NOT NULL,
      category VARCHAR(40) NOT NULL,
      region VARCHAR(40) NULL,
      fee_rate DECIMAL(6,4) NOT NULL,
      created_at DATETIME(6) NOT NULL,
      updated_at DATETIME(6) NOT NULL,
      KEY updated_at (updated_at)
    ) DEFAULT CHARACTER SET utf8mb4
    """,
)


class Payment(NamedTuple):
    """A row of shop.payments. Bad ones have a negative amount or the status LEGACY."""

    payment_id: int
    merchant_id: int
    amount: Decimal
    currency: str
    status: str
    memo: str | None
    phone: str | None
    paid_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @property
    def is_bad(self) -> bool:
        return self.amount < 0 or self.status == "LEGACY"


class Merchant(NamedTuple):
    """A row of shop.merchants."""

    merchant_id: int
    name: str
    category: str
    region: str | None
    fee_rate: Decimal
    created_at: datetime
    updated_at: datetime


class PaymentChange(NamedTuple):
    """What an hour makes of an older payment."""

    status: str
    memo: str | None
    paid_at: datetime | None
    updated_at: datetime
    payment_id: int


class MerchantChange(NamedTuple):
    """What an hour makes of an older merchant."""

    region: str | None
    fee_rate: Decimal
    updated_at: datetime
    merchant_id: int


def bad_kind(world: World, index: int) -> str | None:
    """`negative` or `legacy` for the few payments (of those an hour brings) that are planted bad.

    Three in every two thousand of the first rows, and the first two of each later hour; the first one where an hour is
    so short that two would be more than a dataset's `most_quarantined` allows.
    """
    if world.hour:
        planted = ("negative", "legacy") if new_payments(world) >= 40 else ("negative",)
        return planted[index] if index < len(planted) else None
    return {7: "negative", 42: "legacy", 77: "negative"}.get(index % 2000)


def payments(world: World, at: datetime) -> Iterator[Payment]:
    """The payments an hour brings: hour 0 the whole history, later ones new and late rows.

    Args:
        at: the server's clock when they are written; new rows carry it and the microseconds after it.
    """
    random = world.random("payments")
    late = late_payments(world)
    for index in range(new_payments(world)):
        if world.hour == 0:
            created = world.moment(index, world.rows, random)
            room = (world.began - QUIET - created) // timedelta(microseconds=1)
            updated = created + timedelta(microseconds=random.randrange(min(room, 7_200_000_000)))
        elif index >= new_payments(world) - late:
            created = at - timedelta(hours=random.randrange(2, 40), microseconds=random.randrange(10**6))
            updated = at - LATE + timedelta(microseconds=index)
        else:
            created = updated = at + timedelta(microseconds=index)
        yen = random.random() < 0.8
        units = random.randrange(100, 300_000) * 100 if yen else random.randrange(100, 5_000_000)
        kind = bad_kind(world, index)
        status = "LEGACY" if kind == "legacy" else random.choice(STATUSES)
        paid = created + timedelta(milliseconds=random.randrange(1000)) if status in PAID else None
        yield Payment(
            payment_id=first_payment(world) + index,
            merchant_id=random.randrange(1, world.merchants + 1),
            amount=Decimal(-units if kind == "negative" else units).scaleb(-2),
            currency="JPY" if yen else random.choice(("USD", "EUR")),
            status=status,
            memo=random.choice(MEMOS),
            phone=random.choice((None, f"+81-90-{random.randrange(10**8):08d}")),
            paid_at=paid and paid.replace(microsecond=paid.microsecond // 1000 * 1000),
            created_at=created,
            updated_at=updated,
        )


def new_payments(world: World) -> int:
    """How many payments an hour brings: at hour 0 all, then 1 % and at least 5, late ones included."""
    return world.rows if world.hour == 0 else max(5, world.share(10))


def late_payments(world: World) -> int:
    """How many of them are late: committed now, with a creation and a cursor value of before."""
    return world.share(1)


def first_payment(world: World) -> int:
    """The first id of an hour's payments."""
    if world.hour == 0:
        return 1
    return world.rows + 1 + (world.hour - 1) * new_payments(world)


def payment_changes(world: World, at: datetime) -> Iterator[PaymentChange]:
    """Older good payments that an hour changes: 0.5 % of the first rows."""
    random = world.random("payment changes")
    history = world.at_hour(0)
    good = [index + 1 for index in range(world.rows) if bad_kind(history, index) is None]
    for number, payment_id in enumerate(random.sample(good, world.share(5))):
        status = random.choice(("CAPTURED", "REFUNDED"))
        memo = f"changed in hour {world.hour} ✏️"
        paid = at.replace(microsecond=at.microsecond // 1000 * 1000)
        yield PaymentChange(status, memo, paid, at + timedelta(microseconds=number), payment_id)


def merchants(world: World, at: datetime) -> Iterator[Merchant]:
    """The merchants an hour brings: at hour 0 all, later one each."""
    random = world.random("merchants")
    for index in range(world.merchants if world.hour == 0 else 1):
        merchant_id = index + 1 if world.hour == 0 else world.merchants + world.hour
        created = world.moment(index, world.merchants, random) if world.hour == 0 else at
        yield Merchant(
            merchant_id=merchant_id,
            name=f"{random.choice(SHOPS)}{random.choice(TRADES)} {merchant_id}{'  ' if index % 25 == 3 else ''}",
            category=random.choice(CATEGORIES),
            region=random.choice(REGIONS),
            fee_rate=Decimal(random.randrange(100, 600)).scaleb(-4),
            created_at=created,
            updated_at=created,
        )


def merchant_changes(world: World, at: datetime) -> Iterator[MerchantChange]:
    """Older merchants that an hour changes: 1 % of the first ones."""
    random = world.random("merchant changes")
    for merchant_id in random.sample(range(1, world.merchants + 1), world.share(10, world.merchants)):
        yield MerchantChange(random.choice(REGIONS), Decimal(random.randrange(100, 600)).scaleb(-4), at, merchant_id)


def seed(world: World, connection: Connection[Cursor]) -> dict[str, Counts]:
    """Make the tables from scratch and fill them."""
    with connection.cursor() as cursor:
        for statement in SCHEMA:
            cursor.execute(statement)
        bad = sum(bad_kind(world, index) is not None for index in range(world.rows))
        written = databases.insert(cursor, "shop.payments", Payment._fields, payments(world, world.began))
        added_merchants = databases.insert(cursor, "shop.merchants", Merchant._fields, merchants(world, world.began))
        connection.commit()
        return {
            "payments": Counts(written, bad, databases.count(cursor, "shop.payments"), new=written),
            "merchants": Counts(added_merchants, 0, databases.count(cursor, "shop.merchants"), new=added_merchants),
        }


def play(world: World, connection: Connection[Cursor]) -> dict[str, Counts]:
    """Write an hour's rows and changes in one transaction, at the server's clock."""
    with connection.cursor() as cursor:
        at = databases.now(cursor)
        fresh = list(payments(world, at))
        databases.insert(cursor, "shop.payments", Payment._fields, fresh)
        added_merchants = databases.insert(cursor, "shop.merchants", Merchant._fields, merchants(world, at))
        changes, merchant_updates = list(payment_changes(world, at)), list(merchant_changes(world, at))
        cursor.executemany(
            "UPDATE shop.payments SET status = %s, memo = %s, paid_at = %s, updated_at = %s WHERE payment_id = %s",
            changes,
        )
        cursor.executemany(
            "UPDATE shop.merchants SET region = %s, fee_rate = %s, updated_at = %s WHERE merchant_id = %s",
            merchant_updates,
        )
        connection.commit()
        late = late_payments(world)
        return {
            "payments": Counts(
                rows=len(fresh) + len(changes),
                bad=sum(row.is_bad for row in fresh),
                total=databases.count(cursor, "shop.payments"),
                new=len(fresh) - late,
                changed=len(changes),
                late=late,
            ),
            "merchants": Counts(
                rows=added_merchants + len(merchant_updates),
                bad=0,
                total=databases.count(cursor, "shop.merchants"),
                new=added_merchants,
                changed=len(merchant_updates),
            ),
        }
