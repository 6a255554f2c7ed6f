"""The status page: one HTML file a language, written into the lake by every run and by `lakeferry page`."""

from jobs.page.write import ENGLISH_KEY, page_note, refresh_page, write_page

__all__ = ["ENGLISH_KEY", "page_note", "refresh_page", "write_page"]
