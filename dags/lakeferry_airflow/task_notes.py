"""What the web UI says of each task: what it does, and what to do where it failed."""

from __future__ import annotations

_RETRY = "Clear `plan` with downstream: only what failed is planned again."

NOTES = {
    "plan": "Freezes what the run moves: windows, snapshots, slices. A dataset that cannot be planned fails alone.",
    "extract": "Copies the planned rows into branches of the lake, and sets aside what cannot be kept exactly.",
    "transform": "Makes the derived rows from the planned snapshots of their inputs.",
    "check": f"Proves each batch against its source and its rules, then publishes it. {_RETRY}",
    "load": "Brings BigQuery up to what is published, then makes the views.",
    "verdict": f"Red where any task or dataset failed. {_RETRY}",
    "datasets": "What became of each dataset of the run, as a table.",
}
"""By the task's id."""


def note_of_dataset(description: str | None) -> str:
    """The note of a dataset's task."""
    return f"{description or 'One dataset'}: what became of it in this run, stage by stage. {_RETRY}"
