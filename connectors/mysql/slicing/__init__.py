"""Slices of a read, of about equal numbers of rows."""
