"""The condition of a correction: is it one expression of Spark SQL that says yes or no of each row?

Messages never hold the condition: its literals may be personal.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.logger import PySparkLogger

from connectors.errors import UsageError
from jobs.lake.java_api import java_class
from jobs.lake.spark_session import LOG_LEVEL
from jobs.runs.failures import condition_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_EXAMPLE = "Write one condition over the columns, such as amount > 999.99 AND currency = 'JPY'"


_PYSPARK_LOGGERS = ("SQLQueryContextLogger", "DataFrameQueryContextLogger")
"""The logger to which PySpark writes each SQL error, with the statement (`PySparkException._log_exception`)."""


def checked_condition(spark: SparkSession, rows: DataFrame, condition: str) -> None:
    """Check that a condition can be evaluated for these rows; no row is read.

    Raises:
        UsageError: it cannot be parsed, names a column that is missing, is no BOOLEAN, reads another table, or may give
            another answer when it is evaluated again.
    """
    from pyspark.sql import functions as F

    with asked_silently(rows):
        kind = rows.select(F.expr(condition).alias("_matches")).schema["_matches"].dataType.simpleString()
        if kind != "boolean":
            raise UsageError(f"the condition is of type {kind}, not BOOLEAN", where="--where", fix=_EXAMPLE)
        filtered: Any = rows.where(F.expr(condition))
        asked = filtered._jdf.queryExecution().analyzed().condition()
    expressions = "org.apache.spark.sql.catalyst.expressions"
    if not asked.deterministic() or java_class(spark, f"{expressions}.SubqueryExpression").hasSubquery(asked):
        raise UsageError(
            "the condition does not depend on the row alone: it asks another table or a random number",
            where="--where",
            fix=_EXAMPLE,
        )


@contextmanager
def asked_silently(rows: DataFrame) -> Iterator[None]:
    """Run a query that holds the condition: Spark's errors become ours, and PySpark logs none of them.

    Args:
        rows: whose columns the message names.

    Raises:
        UsageError: Spark does not take the condition, or cannot evaluate it for a row.
    """
    context = rows.sparkSession.sparkContext
    # A task that fails has Spark's executor log the statement, and the value at which it failed.
    context.setLogLevel("OFF")
    # PySpark passes these loggers fields that a plain logger refuses. The first call decides a logger's class.
    loggers = [PySparkLogger.getLogger(name) for name in _PYSPARK_LOGGERS]
    before = [logger.disabled for logger in loggers]
    for logger in loggers:
        logger.disabled = True
    try:
        yield
    except Py4JJavaError as error:
        # An error that an expression throws itself is no error of Spark: a broken regular expression, XML or Base64.
        raise _refused(condition_of(error)) from None
    except PySparkException as error:
        word = error.getCondition() or type(error).__name__
        if word.startswith("UNRESOLVED_COLUMN"):
            raise UsageError(
                "the condition names a column that the dataset does not have",
                where="--where",
                choices=[name for name in rows.columns if not name.startswith("_")],
                fix="Text stands in single quotes, a name with other characters in backticks",
            ) from None
        raise _refused(word) from None
    finally:
        context.setLogLevel(LOG_LEVEL)
        for logger, disabled in zip(loggers, before, strict=True):
            logger.disabled = disabled


def _refused(word: str) -> UsageError:
    return UsageError(f"Spark SQL refuses the condition ({word})", where="--where", fix=_EXAMPLE)
