"""Which geometries BigQuery holds as GEOGRAPHY: the others are set aside before they could fail a load, or be altered
by it.

BigQuery's are longitudes and latitudes in degrees on WGS 84 (SRID 4326), with geodesics between them, and what S2
calls a valid shape; of the two sides of a ring it takes the smaller ("GEOGRAPHY type" and "ST_GEOGFROMTEXT" in the
GoogleSQL reference). The library asked here is S2 too; what only rounding makes valid to it is not taken either: edges
of half the globe (BigQuery's are shorter, "ST_MAKELINE"), a corner twice, a polygon without area. A longitude beyond
180 degrees would come out as another number.
"""

from __future__ import annotations

import re
from itertools import pairwise
from math import cos, dist, radians, sin

_SRIDS = ("0", "4326")
"""0 is what a column has that was given none."""
_TEXT = re.compile(r"SRID=(\d+);(.*)", re.DOTALL)
_NUMBER = r"-?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?"
_CORNER = re.compile(rf"({_NUMBER}) ({_NUMBER})")
_LINE_OF_ONE = re.compile(r"LINESTRING ?\((?:(?:\([^()]*\), ?)*\()?[^,()]*\)")
_POINTS = re.compile(r"POINT ?\((?:[^()]|\([^()]*\))*\)")
_PATH = re.compile(r"\(([^()]+)\)")
_SAME = 1e-15
"""Corners so near to each other, in radians, are one: 6 nanometres."""
_LEAST_AREA = 1e-6
_SHAPE_PROBLEM = re.compile(r"(?:Loop \d+|Vert(?:ex|ices)) .*")
"""What S2 says of a shape; it names corners and edges by their number. Anything else is about the text."""


def geography_problem(text: str) -> str | None:
    """Why BigQuery could not hold this geometry (`SRID=n;` and WKT) as it is; None where it can. Names no value."""
    from spherely import area, from_wkt, to_wkt

    match = _TEXT.fullmatch(text)
    if match is None:
        return "it is not a geometry's text"
    srid, shape = match.groups()
    if srid not in _SRIDS:
        return f"its SRID is {srid}, not 4326"
    for longitude, latitude in _CORNER.findall(shape):
        if abs(float(longitude)) > 180:
            return "a longitude in it is beyond 180 degrees"
        if abs(float(latitude)) > 90:
            return "a latitude in it is beyond 90 degrees"
    if _LINE_OF_ONE.search(shape):
        return "a line in it has one corner"
    for path in _PATH.findall(_POINTS.sub("", shape)):
        corners = [_on_the_sphere(float(longitude), float(latitude)) for longitude, latitude in _CORNER.findall(path)]
        for one, two in pairwise(corners):
            if dist(one, two) < _SAME:
                return "a corner in it stands twice"
            if dist(one, [-part for part in two]) < _SAME:
                return "a line in it spans half the globe"
    try:
        geography = from_wkt(shape)
    except RuntimeError as error:
        problem = str(error)
        return f"it is no valid shape: {problem}" if _SHAPE_PROBLEM.fullmatch(problem) else "it is not WKT"
    polygons = _polygons(shape)
    if polygons and area(geography) < _LEAST_AREA:
        return "a polygon in it has no area"
    # S2 makes a polygon of its own of a hole that does not lie in one.
    return None if _polygons(to_wkt(geography)) == polygons else "a hole in it lies outside its polygon"


def _on_the_sphere(longitude: float, latitude: float) -> tuple[float, float, float]:
    across, up = radians(longitude), radians(latitude)
    return cos(up) * cos(across), cos(up) * sin(across), sin(up)


def _polygons(shape: str) -> int:
    bare = shape.replace(" ", "")
    return bare.count("POLYGON((") + bare.count(")),((")
