"""The Spark session of the conformance suite."""

from connectors.testing.spark_session import spark

__all__ = ["spark"]
