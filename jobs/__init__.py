"""The stages of a pipeline, and the commands people run."""
