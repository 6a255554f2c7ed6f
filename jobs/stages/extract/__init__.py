"""The extract stage: brings rows of a source onto a branch of raw."""
