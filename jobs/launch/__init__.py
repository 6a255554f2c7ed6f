"""How a stage becomes a process, and how that process ends."""
