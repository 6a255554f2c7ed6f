"""The `lakeferry` command, and what its commands show."""
