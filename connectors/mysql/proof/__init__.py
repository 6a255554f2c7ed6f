"""Fingerprints of rows, at the server and of what arrived."""
