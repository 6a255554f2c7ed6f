"""The transform stage: rows of a derived dataset onto a branch of raw."""
