"""Planning by listing and reading as planned, on moto's server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError
from pyspark.errors import PythonException

from connectors.base import Dataset, Window
from connectors.connection import Connection, find_connection
from connectors.errors import AccessDenied, ConfigurationError, ObjectNotFound, SourceMoved
from connectors.s3 import S3Options, S3Source
from connectors.s3.bucket import Access

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from tests.conftest import UniqueName


class World:
    """A bucket of its own, emptied and removed afterwards."""

    def __init__(self, unique_name: UniqueName) -> None:
        self.connection = find_connection("s3_landing")
        self.source = S3Source(self.connection)
        self.client = Access.of(self.connection).client()
        self.bucket = unique_name("files").replace("_", "-")
        self.client.create_bucket(Bucket=self.bucket)

    def dataset(self, **options: Any) -> Dataset:
        keys = {"path": f"s3://{self.bucket}/in/", "suffix": ".csv", "columns": {"a": "int", "s": "string"}}
        return Dataset("settlements", "files", ("a",), S3Options.model_validate(keys | options))

    def put(self, key: str, text: str) -> None:
        self.client.put_object(Bucket=self.bucket, Key=key, Body=text.encode())

    def close(self) -> None:
        for entry in self.client.list_objects_v2(Bucket=self.bucket).get("Contents", []):
            self.client.delete_object(Bucket=self.bucket, Key=entry["Key"])
        self.client.delete_bucket(Bucket=self.bucket)


@pytest.fixture
def world(settings: object, unique_name: UniqueName) -> Iterator[World]:
    made = World(unique_name)
    yield made
    made.close()


def keys(plan: Any) -> list[list[str]]:
    return [[entry["key"] for entry in piece.detail["files"]] for piece in plan.slices]


def test_only_files_that_are_new_or_replaced_are_planned(world: World) -> None:
    world.put("in/1.csv", "a,s\n1,x\n")
    world.put("in/2.csv", "a,s\n2,x\n")
    world.put("in/2.txt", "no")
    world.put("in/folder.csv/", "")
    world.put("in2/3.csv", "a,s\n3,x\n")
    dataset = world.dataset()
    first = world.source.plan(dataset, None, None)
    assert keys(first) == [["in/1.csv", "in/2.csv"]]
    assert world.source.plan(dataset, first.position, None).slices == ()
    world.put("in/2.csv", "a,s\n2,y\n")
    world.put("in/3.csv", "a,s\n3,x\n")
    second = world.source.plan(dataset, first.position, None)
    assert keys(second) == [["in/2.csv", "in/3.csv"]]
    assert world.source.plan(dataset, second.position, None).slices == ()


def test_slices_are_cut_by_bytes(world: World) -> None:
    for number in range(5):
        world.put(f"in/{number}.csv", "a,s\n" + "1,x\n" * 10)
    world.source.bytes_per_slice = 100
    plan = world.source.plan(world.dataset(), None, None)
    assert keys(plan) == [["in/0.csv", "in/1.csv"], ["in/2.csv", "in/3.csv"], ["in/4.csv"]]
    assert world.source.count(world.dataset(), plan) == {0: 20, 1: 20, 2: 10}


def test_a_window_takes_files_by_their_time_and_moves_no_position(world: World) -> None:
    world.put("in/1.csv", "a,s\n1,x\n")
    head = world.client.head_object(Bucket=world.bucket, Key="in/1.csv")
    modified = head["LastModified"].strftime("%Y-%m-%dT%H:%M:%SZ")
    inside = world.source.plan(world.dataset(), None, Window(start=modified))
    assert keys(inside) == [["in/1.csv"]]
    assert inside.position is None
    assert world.source.plan(world.dataset(), None, Window(end=modified)).slices == ()


def test_a_file_replaced_after_the_plan_is_never_read(world: World, spark: SparkSession) -> None:
    world.put("in/1.csv", "a,s\n1,x\n")
    dataset = world.dataset()
    plan = world.source.plan(dataset, None, None)
    frame = world.source.read(spark, dataset, plan)
    world.put("in/1.csv", "a,s\n2,y\n")
    with pytest.raises(PythonException, match="SourceMoved"):
        frame.collect()
    with pytest.raises(SourceMoved, match=r"in/1\.csv was replaced or deleted"):
        world.source.read(spark, dataset, plan)
    world.client.delete_object(Bucket=world.bucket, Key="in/1.csv")
    with pytest.raises(SourceMoved) as caught:
        world.source.count(dataset, plan)
    assert caught.value.dataset == "files"


def test_where_rows_come_from_travels_with_them(world: World, spark: SparkSession) -> None:
    world.put("in/dt=2026-11-20/1.csv", 's,extra,a\n"two\nlines",?,1\nx,?,2\n')
    dataset = world.dataset(columns={"dt": "date", "a": "int", "s": "string"})
    plan = world.source.plan(dataset, None, None)
    head = world.client.head_object(Bucket=world.bucket, Key="in/dt=2026-11-20/1.csv")
    frame = world.source.read(spark.newSession(), dataset, plan)
    rows = [
        tuple(row)
        for row in frame.selectExpr(
            "cast(dt as string)",
            "a",
            "s",
            "_s3_file",
            "_s3_etag",
            "_s3_line",
            "unix_seconds(_s3_modified_at)",
            "_rejected",
        ).collect()
    ]
    place = (f"s3://{world.bucket}/in/dt=2026-11-20/1.csv", head["ETag"].strip('"'))
    seconds = int(head["LastModified"].timestamp())
    assert rows == [
        ("2026-11-20", 1, "two\nlines", *place, 2, seconds, None),
        ("2026-11-20", 2, "x", *place, 4, seconds, None),
    ]


def test_a_file_without_a_declared_column_is_refused_whole(world: World, spark: SparkSession) -> None:
    world.put("in/1.csv", "a,other\n1,x\n2,y\n")
    world.put("in/2.csv", "a,s,a\n1,x,3\n")
    world.put("in/3.csv", "")
    world.put("in/4.csv", "a,s\n")
    dataset = world.dataset()
    plan = world.source.plan(dataset, None, None)
    rows = world.source.read(spark, dataset, plan).orderBy("_s3_file", "_s3_line").collect()
    assert [(row.a, row.s, row._rejected.record) for row in rows] == [
        (None, None, "1,x"),
        (None, None, "2,y"),
        (None, None, "1,x,3"),
    ]
    assert "has column s; the header is a, other" in rows[0]._rejected.reason
    assert "1.csv" in rows[0]._rejected.reason
    assert "the header has column a twice" in rows[2]._rejected.reason
    assert world.source.count(dataset, plan) == {0: 3}


def test_files_without_header_take_the_declared_order(world: World, spark: SparkSession) -> None:
    world.put("in/dt=2026-11-20/1.csv", "1;x\n2;y;z\n")
    columns = {"dt": "date", "a": "int", "s": "string"}
    dataset = world.dataset(columns=columns, header=False, delimiter=";")
    plan = world.source.plan(dataset, None, None)
    rows = world.source.read(spark, dataset, plan).orderBy("_s3_line").collect()
    assert [(row.a, row.s, row._s3_line) for row in rows] == [(1, "x", 1), (None, None, 2)]
    assert rows[1]._rejected.reason == "3 fields, not 2"
    assert world.source.count(dataset, plan) == {0: 2}


def test_an_unknown_bucket_lists_those_like_it(world: World) -> None:
    with pytest.raises(ObjectNotFound) as caught:
        world.source.describe(world.dataset(path=f"s3://{world.bucket}x/"))
    assert world.bucket in caught.value.choices


def test_a_secret_is_in_no_repr() -> None:
    access = Access.of(Connection.parse("s", "aws://KEY:s3cr3t@/?aws_session_token=t0k3n&region_name=us-east-1"))
    assert "s3cr3t" not in repr(access)
    assert "t0k3n" not in repr(access)


def test_a_plan_and_its_read_hold_no_secret(world: World, spark: SparkSession) -> None:
    world.put("in/1.csv", "a,s\n1,x\n")
    source = S3Source(
        Connection.parse(
            "s", f"aws://KEY:s3cr3t@/?region_name=us-east-1&endpoint_url={world.connection.extra['endpoint_url']}"
        )
    )
    dataset = world.dataset()
    plan = source.plan(dataset, None, None)
    frame = source.read(spark, dataset, plan)
    assert [row.a for row in frame.collect()] == [1]
    assert "s3cr3t" not in plan.model_dump_json()
    assert "s3cr3t" not in frame._jdf.queryExecution().toString()


def test_no_credentials_at_all_is_access_denied(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    endpoint = find_connection("s3_landing").extra["endpoint_url"]
    source = S3Source(Connection.parse("bare", f"aws:///?region_name=us-east-1&endpoint_url={endpoint}"))
    with pytest.raises(AccessDenied, match="AIRFLOW_CONN_BARE"):
        source.ping()


def test_an_extra_that_would_do_nothing_is_refused() -> None:
    with pytest.raises(ConfigurationError) as caught:
        S3Source(Connection.parse("s", "aws://?role_arn=x"))
    assert "role_arn" in str(caught.value)
    assert "endpoint_url" in caught.value.choices


@pytest.mark.parametrize(
    "wrong",
    [
        {"path": "bucket/in/"},
        {"path": "s3://bucket/in"},
        {"delimiter": ";;"},
        {"delimiter": '"'},
        {"format": "parquet"},
    ],
)
def test_options_that_could_not_work_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        S3Options.model_validate({"path": "s3://b/in/", "columns": {"a": "int"}} | wrong)
