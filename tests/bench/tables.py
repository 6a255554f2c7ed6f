"""The tables that are measured: payments of 13 columns, made of row numbers by the server itself.

A table carries its name only once it is whole, so one that is there can be used again.
"""

from __future__ import annotations

import time

from tests.bench.progress import say
from tests.bench.server import DATABASE, Server

ROWS_PER_STATEMENT = 250_000
COLUMNS = (
    "id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY",
    "merchant_id BIGINT NOT NULL",
    "amount DECIMAL(18,2) NOT NULL",
    "currency CHAR(3) NOT NULL",
    "status ENUM('CREATED','AUTHORIZED','CAPTURED','REFUNDED','FAILED') NOT NULL",
    "memo VARCHAR(255) NULL",
    "phone VARCHAR(20) NULL",
    "created_at DATETIME(6) NOT NULL",
    "updated_at DATETIME(6) NOT NULL",
    "paid_at TIMESTAMP(3) NULL DEFAULT NULL",
    "items INT NOT NULL",
    "channel TINYINT NOT NULL",
    "fee_rate DOUBLE NOT NULL",
)
CHANGED = "id % 100 = 7"
"""One row in a hundred, all over the table."""
_DAYS = 500
_NUMBERS = "numbers"


def payments(rows: int) -> str:
    """The name of the table of that many payments."""
    return f"payments_{rows}"


def small(number: int) -> str:
    return f"small_{number:04d}"


def qualified(table: str) -> str:
    return f"{DATABASE}.{table}"


def make_database(server: Server) -> None:
    server.execute(f"CREATE DATABASE IF NOT EXISTS {DATABASE} DEFAULT CHARACTER SET utf8mb4")


def drop_database(server: Server) -> None:
    server.execute(f"DROP DATABASE IF EXISTS {DATABASE}")


def make_payments(server: Server, table: str, rows: int) -> None:
    """Make a table of payments, unless it is there."""
    if rows_of(server, table) == rows:
        return
    began = time.monotonic()
    draft = f"draft_{table}"
    create_empty(server, draft)
    done = 0
    while done < rows:
        last = min(done + ROWS_PER_STATEMENT, rows)
        server.execute(f"INSERT INTO {qualified(draft)} SELECT {_row(rows)} FROM {_numbers(server, done + 1, last)}")
        done = last
        if done % (8 * ROWS_PER_STATEMENT) == 0 and done < rows:
            say(f"  {table}: {done:,} rows")
    server.execute(f"ALTER TABLE {qualified(draft)} ADD KEY updated_at (updated_at)")
    server.execute(f"ANALYZE TABLE {qualified(draft)}")
    server.execute(f"DROP TABLE IF EXISTS {qualified(table)}")
    server.execute(f"RENAME TABLE {qualified(draft)} TO {qualified(table)}")
    if rows > ROWS_PER_STATEMENT:
        say(f"  {table}: {rows:,} rows in {time.monotonic() - began:.0f} s, {table_bytes(server, table) / 1e6:,.0f} MB")


def create_empty(server: Server, table: str) -> None:
    """Make a table of payments without rows and without the cursor's index, over one of that name."""
    server.execute(f"DROP TABLE IF EXISTS {qualified(table)}")
    server.execute(f"CREATE TABLE {qualified(table)} ({', '.join(COLUMNS)}) DEFAULT CHARACTER SET utf8mb4")


def rows_of(server: Server, table: str) -> int | None:
    """Counts the rows of `table`; None if there is no such table."""
    listed = server.rows(
        f"SELECT 1 FROM information_schema.tables WHERE table_schema = '{DATABASE}' AND table_name = '{table}'"
    )
    return int(server.value(f"SELECT COUNT(*) FROM {qualified(table)}")) if listed else None


def table_bytes(server: Server, table: str) -> int:
    """The size of a table as the server reports it, its indexes included."""
    return int(
        server.value(
            f"SELECT data_length + index_length FROM information_schema.tables WHERE table_schema = '{DATABASE}'"
            f" AND table_name = '{table}'"
        )
    )


def touch(server: Server, table: str) -> None:
    """Read a whole table once, so that nobody is the first to."""
    server.value(f"SELECT SUM(LENGTH(memo)) FROM {qualified(table)}")


def _row(rows: int) -> str:
    """The columns of payment number `seq`, from 1 to `rows`."""
    microseconds = _DAYS * 86_400_000_000 // rows
    created = f"TIMESTAMP'2024-01-01 00:00:00' + INTERVAL seq * {microseconds} MICROSECOND"
    return ", ".join(
        (
            "seq + seq DIV 5000",
            "1 + seq * 2654435761 % 50000",
            "seq * 40503 % 5000000 / 100",
            "ELT(1 + seq % 4, 'JPY', 'JPY', 'USD', 'EUR')",
            "1 + CRC32(seq) % 5",
            "CASE seq % 5 WHEN 0 THEN NULL WHEN 1 THEN NULL"
            " WHEN 2 THEN CONCAT('コーヒー豆 ', seq % 1000, ' g ☕')"
            " WHEN 3 THEN CONCAT('定期便 🚚 第', seq % 24, '回')"
            " ELSE CONCAT('order ', seq * 7919) END",
            "IF(seq % 3 = 0, NULL, CONCAT('+81-90-', LPAD(CRC32(seq) % 100000000, 8, '0')))",
            created,
            f"{created} + INTERVAL CRC32(seq) MICROSECOND",
            f"IF(CRC32(seq) % 5 IN (2, 3), {created} + INTERVAL seq % 1000 * 1000 MICROSECOND, NULL)",
            "1 + seq % 12",
            "seq % 4",
            "seq % 997 / 19940e0",
        )
    )


def _numbers(server: Server, first: int, last: int) -> str:
    """The rows `seq` from `first` to `last`: of the server's sequence engine, else of a table that is doubled."""
    engines = {str(row[0]).upper() for row in server.rows("SHOW ENGINES") if str(row[1]) in ("YES", "DEFAULT")}
    if "SEQUENCE" in engines:
        return qualified(f"seq_{first}_to_{last}")
    table = qualified(_NUMBERS)
    if rows_of(server, _NUMBERS) is None:
        server.execute(f"CREATE TABLE {table} (n BIGINT NOT NULL PRIMARY KEY)")
        server.execute(f"INSERT INTO {table} VALUES (1)")
        while (have := rows_of(server, _NUMBERS) or 0) < ROWS_PER_STATEMENT:
            server.execute(f"INSERT INTO {table} SELECT n + {have} FROM {table}")
    return f"(SELECT n + {first - 1} AS seq FROM {table} WHERE n <= {last - first + 1}) AS numbered"
