"""Parses a DAG file as Airflow's DAG processor does: imports it, bags its DAGs, serializes each, and prints how many.

python tests/bench/dag_parsing.py FILE
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path


def main() -> int:
    """Print one JSON line: DAGs, import errors, seconds of each part, and the process's peak memory in bytes."""
    file = Path(sys.argv[1])
    began = time.perf_counter()
    from airflow.dag_processing.dagbag import BundleDagBag
    from airflow.serialization.serialized_objects import DagSerialization

    imported = time.perf_counter()
    bag = BundleDagBag(dag_folder=file, bundle_path=file.parent, bundle_name="bench", load_op_links=False)
    bagged = time.perf_counter()
    # The processor holds all documents until it sends them in one message.
    documents = [DagSerialization.to_dict(dag) for dag in bag.dags.values()]
    ended = time.perf_counter()
    found = {
        "dags": len(documents),
        "errors": bag.import_errors,
        "airflow_seconds": imported - began,
        "import_seconds": bagged - imported,
        "serialization_seconds": ended - bagged,
        "peak_bytes": _peak_bytes(),
    }
    print(json.dumps(found))
    return 0


def _peak_bytes() -> int:
    """The most this process held. `getrusage` would count what the process that started it held, too."""
    found = re.search(r"VmHWM:\s*([0-9]+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    return int(found[1]) * 1024 if found else 0


if __name__ == "__main__":
    sys.exit(main())
