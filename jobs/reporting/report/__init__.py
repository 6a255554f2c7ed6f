"""Charts of a pipeline's views in BigQuery, as one HTML file: to look at until there is a Data Studio report."""

from jobs.reporting.report.write import write_report

__all__ = ["write_report"]
