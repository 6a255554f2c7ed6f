"""The check stage: a batch is proved, then published."""
