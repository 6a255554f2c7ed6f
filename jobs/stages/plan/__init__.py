"""The plan stage: what a run will move, frozen before anything moves."""
