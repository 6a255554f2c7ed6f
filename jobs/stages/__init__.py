"""What the stages of a run do: a folder per stage, and what several of them share in `batch`."""
