"""Logs of JSON records behind an HTTP API, as a source for Lakeferry."""

from lakeferry_http_log.source import HttpLogOptions, HttpLogSource

__all__ = ["HttpLogOptions", "HttpLogSource"]
