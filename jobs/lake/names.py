"""What Spark and PyIceberg must agree on. Nothing is imported here: Spark begins before PyIceberg is there."""

CATALOG = "lake"
"""Name of the catalog; the JDBC catalog keeps it in its rows."""
DATABASE_PREFIX = "database-prefix"
"""The catalog's property that says what the names of its databases begin with."""

RAW, CURATED, QUARANTINE = "raw", "curated", "quarantine"
"""Namespaces of the lake."""
