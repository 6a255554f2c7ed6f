"""`geography`: text in the lake, GEOGRAPHY in BigQuery; what BigQuery would alter or refuse is set aside.

On MariaDB: TiDB has no geometry.
"""

from __future__ import annotations

from tests.e2e.ferry import Ferry, OwnDatabase


def _write(ferry: Ferry, aurora: OwnDatabase, target: str, more: str, cluster: str = "[]") -> str:
    return ferry.spec(
        f"""\
        pipeline: g_{aurora.name}
        source: {{type: aurora, connection: aurora_payments}}
        datasets:
          - name: g_{aurora.name}
            table: {aurora.name}.t
            primary_key: [id]
            write_disposition: merge
            {more}
            bigquery: {{table: {target}, cluster_by: {cluster}}}
        """
    )


def test_geometry_arrives_as_geography(ferry: Ferry, aurora: OwnDatabase) -> None:
    target = f"{ferry.warehouse_dataset()}.t"
    aurora.execute("CREATE TABLE t (id INT PRIMARY KEY, `my place` POINT, area GEOMETRY, plain POINT, home POINT)")
    ring = "0 0, 0 1, 1 1, 1 0, 0 0"
    aurora.execute(
        "INSERT INTO t VALUES (1, POINT(139.7671, 35.6812),"
        f" ST_GeomFromText('POLYGON(({ring}))', 4326), POINT(500, 1), POINT(139.1, 35.1)),"
        " (2, NULL, ST_GeomFromText('GEOMETRYCOLLECTION EMPTY'), NULL, NULL)"
    )
    chosen = 'geography: ["my place", area, home]\n            mask: {home: hmac}'
    name = _write(ferry, aurora, target, chosen, "[area]")
    assert ferry.run(name).code == 0
    schema = {field.name: field.field_type for field in ferry.warehouse.get_table(target).schema}
    places = (schema["my_place"], schema["area"], schema["plain"], schema["home"])
    assert places == ("GEOGRAPHY", "GEOGRAPHY", "STRING", "STRING")
    columns = "id, ST_X(my_place) AS x, ST_Y(my_place) AS y, ST_ASTEXT(area) AS area, plain, LENGTH(home) AS hashed"
    first, second = sorted(ferry.warehouse_rows(target, columns), key=lambda row: row["id"])
    assert first == {
        "id": 1,
        "x": 139.7671,
        "y": 35.6812,
        "area": f"POLYGON (({ring}))",
        "plain": "SRID=0;POINT(500 1)",
        "hashed": 64,
    }
    assert second == {
        "id": 2,
        "x": None,
        "y": None,
        "area": "GEOMETRYCOLLECTION EMPTY",
        "plain": None,
        "hashed": None,
    }
    lake = {row["id"]: (row["my place"], row["area"]) for row in ferry.lake_rows("curated", name)}
    assert lake == {
        1: ("SRID=0;POINT(139.7671 35.6812)", "SRID=4326;POLYGON((0 0,0 1,1 1,1 0,0 0))"),
        2: (None, "SRID=0;GEOMETRYCOLLECTION EMPTY"),
    }
    told = ferry.cli("types", name).stdout
    assert "GEOGRAPHY" in told
    assert "mask: hmac" in told
    assert "139" in ferry.cli("show", name).stdout

    aurora.execute("UPDATE t SET `my place` = POINT(-0.5, 51.5) WHERE id = 2")
    assert ferry.run(name).code == 0
    moved = {row["id"]: row["p"] for row in ferry.warehouse_rows(target, "id, ST_ASTEXT(my_place) AS p")}
    assert moved == {1: "POINT (139.7671 35.6812)", 2: "POINT (-0.5 51.5)"}

    assert ferry.warehouse.get_table(target).clustering_fields == ["area"]

    _write(ferry, aurora, target, "mask: {home: hmac}", "[area]")
    [failure] = ferry.run(name).plan.failures.values()
    assert f"is GEOGRAPHY in {target} and would be STRING" in failure.error
    assert "Set geography back" in failure.error


def test_geometry_that_bigquery_cannot_hold_is_set_aside(ferry: Ferry, aurora: OwnDatabase) -> None:
    aurora.execute("CREATE TABLE t (id INT PRIMARY KEY, area GEOMETRY)")
    shapes = {
        1: "POINT(180 90)",
        2: "POINT(180.5 0)",
        3: "POLYGON((0 0,1 1,1 0,0 1,0 0))",
    }
    for number, shape in shapes.items():
        aurora.execute(f"INSERT INTO t VALUES ({number}, ST_GeomFromText('{shape}'))")
    aurora.execute("INSERT INTO t VALUES (4, ST_GeomFromText('POINT(1 2)', 3857))")
    target = f"{ferry.warehouse_dataset()}.t"
    name = _write(ferry, aurora, target, "geography: [area]")
    ran = ferry.run(name)
    check = ran.receipt("check", name)
    assert (ran.code, check.read, check.published, check.quarantined) == (0, 4, 1, 3)
    assert [row["id"] for row in ferry.warehouse_rows(target, "id")] == [1]
    reasons = sorted(row["reason"] for row in ferry.lake_rows("quarantine", name))
    assert reasons == [
        "BigQuery cannot hold area as GEOGRAPHY: a longitude in it is beyond 180 degrees",
        "BigQuery cannot hold area as GEOGRAPHY: it is no valid shape: Loop 0 is not valid: Edge 0 crosses edge 2",
        "BigQuery cannot hold area as GEOGRAPHY: its SRID is 3857, not 4326",
    ]


def test_what_is_no_geometry_is_told(ferry: Ferry, aurora: OwnDatabase) -> None:
    aurora.execute("CREATE TABLE t (id INT PRIMARY KEY, area GEOMETRY)")
    target = f"{ferry.warehouse_dataset()}.t"
    for chosen, told in (
        ("geography: [aera]", "geography 'aera' is not a column"),
        ("geography: [id]", "geography 'id' of"),
        ("json: [area]", "json 'area' of"),
    ):
        [failure] = ferry.run(_write(ferry, aurora, target, chosen)).plan.failures.values()
        assert told in failure.error
        assert ".yaml:8 " in failure.error
