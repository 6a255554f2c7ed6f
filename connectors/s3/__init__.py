"""CSV files in S3 as a source."""

from connectors.s3.source import S3Options, S3Source

__all__ = ["S3Options", "S3Source"]
