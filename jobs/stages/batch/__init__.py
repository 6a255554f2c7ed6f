"""The parts of a dataset's batch that several stages share."""
