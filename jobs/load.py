"""Entry of the load stage: `spark-submit jobs/load.py --plan URI [--through STAGE]`."""

import gc
import sys
from pathlib import Path

if __package__ in (None, ""):
    # A script's own folder comes first on the path; the packages lie one above it.
    sys.path[0] = str(Path(__file__).resolve().parents[1])


class _NoPandas:
    """Says that there is no pandas. None in its place would do for Python's own imports, not for those in C."""

    @staticmethod
    def find_spec(name: str, *_: object) -> None:
        if name == "pandas":
            raise ModuleNotFoundError("pandas is not imported for a load", name=name)


def _import_fast() -> None:
    """Import what a load needs. BigQuery's client and Arrow would import pandas only to make data frames, of which a
    load makes none: that takes as long as all else of the client. What modules create while
    they are imported lives as long as the process, so the garbage collector rests meanwhile."""
    sys.meta_path.insert(0, _NoPandas)
    gc.disable()
    try:
        import jobs.stages.load.load  # noqa: F401
    finally:
        gc.enable()
        sys.meta_path.remove(_NoPandas)


if __name__ == "__main__":
    _import_fast()

    from jobs.stages.loop import main

    sys.exit(main("load"))
