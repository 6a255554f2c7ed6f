"""What each stage does to one dataset's batch."""
