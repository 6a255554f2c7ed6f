"""Charts of a pipeline's views in BigQuery, as one HTML file: to look at until there is a Data Studio report."""

from jobs.reporting.report.write import report_file, write_report

__all__ = ["report_file", "write_report"]
