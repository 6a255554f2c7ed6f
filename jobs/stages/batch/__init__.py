"""What the stages share of one dataset's batch."""
