"""The transform stage: brings rows of a derived dataset onto a branch of raw."""
