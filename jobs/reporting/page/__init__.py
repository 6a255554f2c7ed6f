"""The status page: one HTML file per language in the lake, drawn from the summaries that runs leave."""

from jobs.reporting.page.write import ENGLISH_KEY, leave_summary, page_note, refresh_page, write_page

__all__ = ["ENGLISH_KEY", "leave_summary", "page_note", "refresh_page", "write_page"]
