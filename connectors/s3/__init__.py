"""CSV files in S3 as a source."""

from connectors.s3.options import S3Options
from connectors.s3.source import S3Source

__all__ = ["S3Options", "S3Source"]
