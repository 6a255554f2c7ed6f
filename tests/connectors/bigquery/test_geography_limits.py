"""Geometries that BigQuery holds as GEOGRAPHY, and those it would refuse or alter."""

from __future__ import annotations

import pytest

from connectors.bigquery.geography_limits import geography_problem


@pytest.mark.parametrize(
    "text",
    [
        "SRID=0;POINT(139.7671 35.6812)",
        "SRID=4326;POINT(-180 90)",
        "SRID=0;POINT(-0.0000001 1e-7)",
        "SRID=0;LINESTRING(0 0,1 1,0 0)",
        "SRID=0;POLYGON((0 0,0 1,1 1,1 0,0 0),(0.2 0.2,0.4 0.2,0.4 0.4,0.2 0.4,0.2 0.2))",
        "SRID=0;MULTIPOINT(1 2,1 2)",
        "SRID=0;MULTIPOINT((1 2),(1 2))",
        "SRID=0;GEOMETRYCOLLECTION(MULTIPOINT(1 2,1 2),POINT(1 2))",
        "SRID=0;POLYGON((0 0,0 0.000001,0.000001 0.000001,0 0))",
        "SRID=0;MULTILINESTRING((0 0,1 1),(2 2,3 3))",
        "SRID=0;MULTIPOLYGON(((0 0,0 1,1 1,1 0,0 0)))",
        "SRID=0;MULTIPOLYGON(((0 0,0 1,1 1,1 0,0 0)),((5 5,5 6,6 6,6 5,5 5)))",
        "SRID=0;GEOMETRYCOLLECTION(POINT(1 2),GEOMETRYCOLLECTION(LINESTRING(0 0,1 1)))",
        "SRID=0;GEOMETRYCOLLECTION EMPTY",
    ],
)
def test_what_is_held(text: str) -> None:
    assert geography_problem(text) is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("SRID=3857;POINT(1 2)", "its SRID is 3857, not 4326"),
        ("SRID=0;POINT(180.0000001 2)", "a longitude in it is beyond 180 degrees"),
        ("SRID=0;LINESTRING(0 0,-1.8e2 0,-181 0)", "a longitude in it is beyond 180 degrees"),
        ("SRID=0;POINT(2 -90.5)", "a latitude in it is beyond 90 degrees"),
        ("SRID=0;POINT(2 1.7976931348623157e308)", "a latitude in it is beyond 90 degrees"),
        (
            "SRID=0;POLYGON((0 0,1 1,1 0,0 1,0 0))",
            "it is no valid shape: Loop 0 is not valid: Edge 0 crosses edge 2",
        ),
        ("SRID=0;LINESTRING(0 0,0 0)", "a corner in it stands twice"),
        ("SRID=0;LINESTRING(0 90,10 90)", "a corner in it stands twice"),
        ("SRID=0;LINESTRING(-180 1,180 1)", "a corner in it stands twice"),
        ("SRID=0;POLYGON((-180 -90,180 -90,180 90,-180 90,-180 -90))", "a corner in it stands twice"),
        ("SRID=0;LINESTRING(1 1,0 0,180 0)", "a line in it spans half the globe"),
        ("SRID=0;POLYGON((0 0,0 1,0 2,0 0))", "a polygon in it has no area"),
        ("SRID=0;LINESTRING(0 0)", "a line in it has one corner"),
        ("SRID=0;MULTILINESTRING((0 0,1 1),(2 2))", "a line in it has one corner"),
        ("SRID=0;POLYGON((0 0,0 1,1 1,1 0,0 0),(2 2,2 3,3 3,3 2,2 2))", "a hole in it lies outside its polygon"),
        ("SRID=0;POINT(x y)", "it is not WKT"),
        ("POINT(1 2)", "it is not a geometry's text"),
    ],
)
def test_what_is_not(text: str, problem: str) -> None:
    assert geography_problem(text) == problem
