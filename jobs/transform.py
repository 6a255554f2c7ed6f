"""Entry of the transform stage: `spark-submit jobs/transform.py --plan URI [--through STAGE]`."""

import sys
from pathlib import Path

if __package__ in (None, ""):
    # A script's own folder comes first on the path; the packages lie one above it.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from jobs.stages.loop import main

if __name__ == "__main__":
    sys.exit(main("transform"))
