"""YAML that people write: read, bounded, and with the line of each key."""
