"""An error raised in a Python worker arrives at the driver as the error it was, without Spark's wrapping."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import pytest

from connectors.errors import AccessDenied, LakeferryError, ObjectNotFound, ServiceUnavailable
from connectors.spark_errors import WorkerFailure, errors_for_the_driver, errors_of_workers, read_back

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession

ERRORS = [
    AccessDenied("db (db:3306) refused 'ferry': 'no' \\ \"quotes\" 日本🚢; (lakeferry-error:AAAA;)", fix="GRANT it"),
    ObjectNotFound("no such table", pipeline="p", dataset="d", where="p.yaml:3", choices=["a", "b"], key=("table",)),
    ServiceUnavailable("broke off\nin the middle of a line"),
]


def parts(error: LakeferryError) -> dict[str, object]:
    return {"class": type(error), "text": str(error), **vars(error)}


@pytest.mark.parametrize("error", ERRORS)
def test_all_of_an_error_is_read_back_from_a_text_around_it(error: LakeferryError) -> None:
    with pytest.raises(WorkerFailure) as caught, errors_for_the_driver():
        raise error
    assert error.problem in str(caught.value)
    found = read_back(
        f"Job aborted due to stage failure: Traceback …\n  WorkerFailure: {caught.value}\n\tat org.apache…"
    )
    assert found is not None
    assert parts(found) == parts(error)


def test_other_texts_tell_of_none() -> None:
    assert read_back("Traceback (most recent call last): ValueError: lakeferry-error") is None
    with pytest.raises(ZeroDivisionError), errors_for_the_driver():
        _ = 1 / 0


def test_an_error_in_a_task_reaches_the_driver(spark: SparkSession) -> None:
    def fail(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with errors_for_the_driver():
            yield from ()
            raise AccessDenied("refused", fix="GRANT it")

    rows = spark.range(0, 1, 1, 1).mapInArrow(fail, "id bigint")
    for act in (rows.collect, lambda: rows.write.format("noop").mode("overwrite").save()):
        with pytest.raises(AccessDenied, match=r"^refused. GRANT it.$"), errors_of_workers():
            act()
    with pytest.raises(Exception, match="DIVIDE_BY_ZERO"), errors_of_workers():
        spark.sql("SELECT raise_error('DIVIDE_BY_ZERO')").collect()
