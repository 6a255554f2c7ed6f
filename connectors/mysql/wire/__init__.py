"""Rows of the binary protocol, from the socket to Arrow."""
