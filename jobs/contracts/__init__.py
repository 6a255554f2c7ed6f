"""What must be true of a dataset before its rows move."""
