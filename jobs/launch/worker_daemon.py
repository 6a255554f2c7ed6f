"""The process that Spark forks its Python workers from, on one machine (`spark.python.daemon.module`, see "Debugging
PySpark" in Spark's documentation).

What copies slices is imported here, once, and not by every worker: that takes one and a half seconds each.
"""

import gc
from contextlib import suppress

import pyiceberg.io.pyarrow  # noqa: F401
from pyspark.daemon import manager

import jobs.stages.extract.slice_copy  # noqa: F401

with suppress(ModuleNotFoundError):  # without the extra `mysql` there is nothing of it to read
    import connectors.mysql.slice_reader  # noqa: F401

if __name__ == "__main__":
    # Workers collect garbage after each task: what they will never let go need not be looked at.
    gc.freeze()
    manager()  # type: ignore[no-untyped-call]
