"""The plan says which changes of a table's rows no window shows, and is quiet if there is no such change."""

from __future__ import annotations

import re

from connectors.mysql.windows.unseen_changes import ForeignKey, changing_foreign_keys
from tests.connectors.mysql.conftest import Server

MOVED = "updated_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)"


def warnings(server: Server, table: str, *, swept: bool = False, respell: bool = True, **more: object) -> list[str]:
    dataset = server.dataset(table, **more)  # type: ignore[arg-type]
    return list(server.source().unseen_changes(dataset, swept=swept, may_respell=respell))


def test_a_definition_is_read_whatever_its_names_are() -> None:
    definition = """CREATE TABLE `c` (
  `a``)` int(11) DEFAULT NULL COMMENT 'CONSTRAINT `x` FOREIGN KEY (`a`) REFERENCES `p` (`id`) ON UPDATE CASCADE',
  CONSTRAINT `deletes` FOREIGN KEY (`q`) REFERENCES `p` (`code`) ON DELETE CASCADE,
  CONSTRAINT `plain` FOREIGN KEY (`q`) REFERENCES `p` (`code`),
  CONSTRAINT `two``` FOREIGN KEY (`a``)`, `ON UPDATE`) REFERENCES `other db`.`p` (`id`, `x`) ON DELETE SET NULL ON UPDATE CASCADE,
  CONSTRAINT `nulls` FOREIGN KEY (`b`) REFERENCES `p` (`id`) ON DELETE NO ACTION ON UPDATE SET NULL
) ENGINE=InnoDB COMMENT='ON UPDATE CASCADE'"""  # noqa: E501
    assert changing_foreign_keys(definition) == [
        ForeignKey("two`", ("a`)", "ON UPDATE"), "other db.p", ("ON DELETE SET NULL", "ON UPDATE CASCADE")),
        ForeignKey("nulls", ("b",), "p", ("ON UPDATE SET NULL",)),
    ]


def test_a_foreign_key_that_changes_rows_is_reported_where_their_cursor_stays(server: Server) -> None:
    parent = server.table("id INT PRIMARY KEY, code VARCHAR(9) UNIQUE")
    tables = {
        name: server.table(f"id INT PRIMARY KEY, p INT, seen DATETIME(6) NOT NULL, {MOVED}, KEY (p){foreign}")
        for name, foreign in {
            "cascade": f", CONSTRAINT moves FOREIGN KEY (p) REFERENCES {parent} (id) ON UPDATE CASCADE",
            "nulls": f", FOREIGN KEY (p) REFERENCES {parent} (id) ON DELETE SET NULL",
            "deletes": f", FOREIGN KEY (p) REFERENCES {parent} (id) ON DELETE CASCADE",
            "restrict": f", FOREIGN KEY (p) REFERENCES {parent} (id)",
            "none": "",
        }.items()
    }
    [told] = warnings(server, tables["cascade"], cursor="seen", key=("id",))
    assert told == (
        f"foreign key 'moves' of {tables['cascade']} (ON UPDATE CASCADE) changes p when a row of "
        f"{parent.partition('.')[2]} changes, and leaves cursor 'seen' as it was: no run reads such a change. Set the "
        "cursor in the transaction that changes the parent, or leave cursor out, so that every run compares all rows"
    )
    assert len(warnings(server, tables["nulls"], cursor="seen", key=("id",), swept=True)) == 1
    # TiDB's cascades move a column that follows the clock, InnoDB's do not.
    of_clock = warnings(server, tables["cascade"], cursor="updated_at", key=("id",))
    assert len(of_clock) == (1 if server.source_type == "aurora" else 0)
    for name in ("deletes", "restrict", "none"):
        assert warnings(server, tables[name], cursor="seen", key=("id",)) == []
    # Read whole every time; and a sweep finds a key that moved.
    assert warnings(server, tables["cascade"], key=("id",)) == []
    assert warnings(server, tables["cascade"], cursor="seen", key=("id", "p"), swept=True) == []


def test_a_cascade_moves_a_column_of_the_clock_on_tidb_only(server: Server) -> None:
    parent = server.table("id INT PRIMARY KEY")
    child = server.table(
        f"id INT PRIMARY KEY, p INT, {MOVED}, FOREIGN KEY (p) REFERENCES {parent} (id) ON UPDATE CASCADE"
    )
    server.run(f"INSERT INTO {parent} VALUES (1)")
    server.run(f"INSERT INTO {child} (id, p, updated_at) VALUES (1, 1, '2026-01-01 00:00:00')")
    server.run(f"UPDATE {parent} SET id = 7")
    [(p, stayed)] = server.run(f"SELECT p, updated_at = '2026-01-01 00:00:00' FROM {child}")
    assert (p, stayed) == (7, 1 if server.source_type == "aurora" else 0)


def test_a_key_of_a_coarse_collation_is_reported(server: Server) -> None:
    coarse = server.table("code VARCHAR(9) COLLATE utf8mb4_general_ci, n INT, PRIMARY KEY (code, n), memo TEXT")
    [told] = warnings(server, coarse, key=("code", "n"))
    assert re.match(rf"primary_key 'code' of {coarse} has the collation utf8mb4_general_ci, which treats 'abc'", told)
    assert "deletes: sweep" in told
    assert warnings(server, coarse, key=("code", "n"), respell=False) == []
    assert warnings(server, coarse, key=("n",)) == []
    for exact in ("code VARCHAR(9) COLLATE utf8mb4_bin", "code VARBINARY(9)", "code BIGINT", "code ENUM('a')"):
        assert warnings(server, server.table(f"{exact} PRIMARY KEY"), key=("code",)) == []


def test_keys_that_end_in_blanks_are_reported_where_the_collation_ignores_them(server: Server) -> None:
    table = server.table("code VARCHAR(9) COLLATE utf8mb4_bin PRIMARY KEY, fixed CHAR(9) COLLATE utf8mb4_bin")
    server.run(f"INSERT INTO {table} VALUES ('abc', 'a '), ('ABC', 'a'), (' x', '')")
    assert warnings(server, table, key=("code", "fixed")) == []
    server.run(f"UPDATE {table} SET code = 'abc ' WHERE code = 'abc'")
    [told] = warnings(server, table, key=("code", "fixed"))
    assert "has the collation utf8mb4_bin, which treats 'a' and 'a ' (some keys end in a blank) as one key" in told
    no_pad = "utf8mb4_nopad_bin" if server.source_type == "aurora" else "utf8mb4_0900_bin"
    apart = server.table(f"code VARCHAR(9) COLLATE {no_pad} PRIMARY KEY")
    server.run(f"INSERT INTO {apart} VALUES ('a'), ('a ')")
    assert warnings(server, apart, key=("code",)) == []


def test_a_view_is_asked_like_a_table(aurora: Server) -> None:
    table = aurora.table("code VARCHAR(9) PRIMARY KEY, seen DATETIME")
    aurora.run(f"CREATE VIEW {table}_v AS SELECT BINARY code AS code, code AS other, seen FROM {table}")
    assert warnings(aurora, f"{table}_v", cursor="seen", key=("code",)) == []
    assert len(warnings(aurora, f"{table}_v", cursor="seen", key=("other",))) == 1
