"""Columns whose types a spec declares, and the texts that are their values."""
