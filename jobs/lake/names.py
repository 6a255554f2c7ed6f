"""What Spark and PyIceberg must agree on. Nothing is imported here: Spark begins before PyIceberg is there."""

CATALOG = "lake"
"""Name of the catalog; the JDBC catalog keeps it in its rows."""
