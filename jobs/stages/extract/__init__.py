"""The extract stage: rows of a source onto a branch of raw."""
