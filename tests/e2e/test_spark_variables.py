"""`${env:X}` and `${system:X}` in texts of a source are texts: what they name on this machine stays on it.

Spark replaces such references in every SQL statement unless `spark.sql.variable.substitute` is false (Spark's guide,
"Configuration": Runtime SQL Configuration).
"""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from connectors.connection import find_connection
from jobs.lake.spark_session import session_with_properties
from jobs.launch.commands import local_command_of, local_environment
from tests.e2e.ferry import Ferry, OwnDatabase

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

VARIABLE = "AIRFLOW_CONN_MASK_KEY"
PROPERTY = "lakeferry.tests.secret"
NAME = f"${{env:{VARIABLE}}}"
REFERENCES = f"{NAME} ${{system:{PROPERTY}}}"
SESSIONS = """\
from jobs.runtime.settings import Settings
from jobs.lake.spark_session import open_session, session_with_properties

opened = open_session(Settings(), "tests")
sessions = {"opened": opened, "new": opened.newSession(), "properties": session_with_properties(opened, {"a": "b"})}
for name, session in sessions.items():
    print(name, session.sql("SELECT '${env:LAKEFERRY_TESTS_SECRET}' AS text").collect()[0].text)
"""


@pytest.fixture
def secrets(spark: SparkSession) -> Iterator[list[str]]:
    """What the references name in Spark's JVM: the key of the masks, and a system property."""
    system: Any = spark._jvm.java.lang.System  # type: ignore[union-attr]
    marked = f"secret-{uuid.uuid4().hex}"
    system.setProperty(PROPERTY, marked)
    key = find_connection("mask_key").password or ""
    # Otherwise nothing could leak, and the tests would prove nothing.
    assert key
    substituting = spark.newSession()
    substituting.conf.set("spark.sql.variable.substitute", "true")
    assert substituting.sql(f"SELECT '{REFERENCES}' AS text").collect()[0].text == f"{os.environ[VARIABLE]} {marked}"
    yield [key, marked]
    system.clearProperty(PROPERTY)


class Described:
    """A table `t` of the source with two rows, and its pipeline, whose second run merges."""

    def __init__(self, ferry: Ferry, database: OwnDatabase, column: str) -> None:
        self.ferry, self.database, self.name = ferry, database, f"v_{database.name}"
        self.target = f"{ferry.warehouse_dataset()}.t"
        database.execute(f"CREATE TABLE t (id INT PRIMARY KEY, updated_at DATETIME(6), {column}, KEY (updated_at))")
        database.insert("t", [(1, "2026-01-01", 1), (2, "2026-01-02", 2)])
        ferry.spec(
            f"pipeline: {self.name}\nsource: {{type: aurora, connection: aurora_payments}}\n"
            f"datasets:\n  - {{name: {self.name}, table: {database.name}.t, primary_key: [id], cursor: updated_at,"
            f" lag_seconds: 1, write_disposition: merge, bigquery: {{table: {self.target}}}}}\n"
        )

    def run_and_run_again_with(self, column: str) -> None:
        assert self.ferry.run(self.name).code == 0
        self.database.execute(f"ALTER TABLE t ADD COLUMN {column}")
        self.database.execute(f"UPDATE t SET updated_at = '{self.database.now()}' WHERE id = 2")
        self.database.settle()
        assert self.ferry.run(self.name).code == 0

    def lake_columns(self, namespace: str) -> dict[str, str | None]:
        """The names of the source's columns in a table of the lake, and their comments."""
        fields = self.ferry.catalog.load_table((namespace, self.name)).schema().fields
        return {field.name: field.doc for field in fields if not field.name.startswith("_")}

    def places(self) -> dict[str, bytes]:
        """All that the runs left: the lake's objects with the dataset's name, and BigQuery's schema."""
        root = self.ferry.settings.lake.removeprefix(f"s3://{self.ferry.settings.lake_bucket}/")
        bucket = boto3.resource("s3").Bucket(self.ferry.settings.lake_bucket or "")
        objects = [entry for entry in bucket.objects.filter(Prefix=f"{root}/") if self.name in entry.key]
        schema = self.ferry.warehouse.get_table(self.target).schema
        return {entry.key: entry.get()["Body"].read() for entry in objects} | {"BigQuery": str(schema).encode()}


def test_comments_arrive_as_they_are(ferry: Ferry, aurora: OwnDatabase, secrets: list[str]) -> None:
    table = Described(ferry, aurora, f"first INT COMMENT '{REFERENCES}'")
    table.run_and_run_again_with(f"added INT COMMENT 'added: {REFERENCES}'")
    comments = {"id": None, "updated_at": None, "first": REFERENCES, "added": f"added: {REFERENCES}"}
    assert table.lake_columns("raw") == table.lake_columns("curated") == comments
    described = {field.name: field.description for field in ferry.warehouse.get_table(table.target).schema}
    assert (described["first"], described["added"]) == (comments["first"], comments["added"])
    places = table.places()
    assert any(REFERENCES.encode() in body for place, body in places.items() if place.endswith(".metadata.json"))
    for secret in secrets:
        assert [place for place, body in places.items() if secret.encode() in body] == []


def test_names_are_what_they_are_when_rows_are_merged(ferry: Ferry, aurora: OwnDatabase, secrets: list[str]) -> None:
    table = Described(ferry, aurora, f"`{NAME}` INT")
    table.run_and_run_again_with(f"`{NAME}2` INT DEFAULT 4")
    names = ["id", "updated_at", NAME, f"{NAME}2"]
    assert list(table.lake_columns("raw")) == list(table.lake_columns("curated")) == names
    rows = {row["id"]: (row[NAME], row[f"{NAME}2"]) for row in ferry.lake_rows("curated", table.name)}
    assert rows == {1: (1, None), 2: (2, 4)}
    for secret in secrets:
        assert [place for place, body in table.places().items() if secret.encode() in body] == []


def test_a_session_beside_an_application_that_substitutes_does_not(spark: SparkSession, secrets: list[str]) -> None:
    beside = session_with_properties(spark, {"lakeferry.batch": "1"})
    [row] = beside.sql(f"SELECT '{REFERENCES}' AS `{REFERENCES}`").collect()
    assert row.asDict() == {REFERENCES: REFERENCES}


def test_no_session_of_a_submitted_application_substitutes(ferry: Ferry, tmp_path: Path) -> None:
    script = tmp_path / "sessions.py"
    script.write_text(SESSIONS)
    ran = subprocess.run(
        local_command_of(script, [], ferry.settings),
        env={**ferry.environment, **local_environment(ferry.settings), "LAKEFERRY_TESTS_SECRET": "hush"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    text = "${env:LAKEFERRY_TESTS_SECRET}"
    assert ran.stdout.splitlines() == [f"opened {text}", f"new {text}", f"properties {text}"]
