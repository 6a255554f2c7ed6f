"""Planning by listing and reading as planned, on moto's server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError, CredentialRetrievalError, NoRegionError
from pydantic import ValidationError
from pyspark.errors import PythonException

from connectors.base import SourceSettings, Window
from connectors.connection import Connection, find_connection
from connectors.errors import (
    AccessDenied,
    ConfigurationError,
    CredentialsMissing,
    ObjectNotFound,
    ServiceError,
    SourceMoved,
)
from connectors.s3 import S3Options, S3Source
from connectors.s3.bucket import Access, S3File
from tests.support.bucket_world import World, keys, listings, read_through

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


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
    world.source.settings = SourceSettings(bytes_per_slice=100)
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


def test_what_a_credential_process_printed_is_in_no_error() -> None:
    access = Access.of(Connection.parse("s", "aws://"))
    with pytest.raises(ServiceError) as caught, access.translated("b"):
        raise CredentialRetrievalError(provider="custom-process", error_msg="assumed with s3cr3t")
    assert "CredentialRetrievalError" in str(caught.value)
    assert "s3cr3t" not in str(caught.value)
    with pytest.raises(ConfigurationError, match=r"You must specify a region\. Correct"), access.translated("b"):
        raise NoRegionError


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


@pytest.mark.services
def test_no_credentials_at_all_are_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    endpoint = find_connection("s3_landing").extra["endpoint_url"]
    source = S3Source(Connection.parse("bare", f"aws:///?region_name=us-east-1&endpoint_url={endpoint}"))
    with pytest.raises(CredentialsMissing, match="AIRFLOW_CONN_BARE"):
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
        {"encoding": "latin-47"},
        {"copies": "maybe"},
    ],
)
def test_options_that_could_not_work_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        S3Options.model_validate({"path": "s3://b/in/", "columns": {"a": "int"}} | wrong)


def test_files_keep_the_listing_that_first_showed_them(world: World) -> None:
    dataset = world.dataset()
    world.put("in/1.csv", "a,s\n1,x\n")
    position = read_through(world, dataset, world.source.plan(dataset, None, None))
    world.put("in/2.csv", "a,s\n2,x\n")
    second = world.source.plan(dataset, position, None)
    assert listings(second) == {"in/2.csv": 2}
    position = read_through(world, dataset, second)
    world.put("in/3.csv", "a,s\n3,x\n")
    world.put("in/copy.csv", "a,s\n1,x\n")
    window = world.source.plan(dataset, position, Window(start="2020-01-01T00:00:00Z"))
    assert listings(window) == {"in/1.csv": 1, "in/2.csv": 2, "in/3.csv": 3}
    assert "in/copy.csv (as in/1.csv)" in window.warnings[0]


def test_an_archived_file_waits_and_keeps_its_place(world: World) -> None:
    dataset = world.dataset()
    world.put("in/2026.csv", "a,s\n1,new\n")
    archives: Any = world.client
    for name, kind in (("2019", "GLACIER"), ("2018", "DEEP_ARCHIVE"), ("2020", "GLACIER_IR"), ("2021", "STANDARD_IA")):
        archives.put_object(
            Bucket=world.bucket, Key=f"in/{name}.csv", Body=f"a,s\n1,{name}\n".encode(), StorageClass=kind
        )
    first = world.source.plan(dataset, None, None)
    assert keys(first) == [["in/2020.csv", "in/2021.csv", "in/2026.csv"]]
    path = f"s3://{world.bucket}/in/"
    assert first.warnings == (
        f"2 archived files wait, since they cannot be read: {path}2018.csv (DEEP_ARCHIVE), {path}2019.csv (GLACIER). "
        f"Restore them, or move them out of {path}",
    )
    position = read_through(world, dataset, first)
    world.put("in/2027.csv", "a,s\n1,newer\n")
    position = read_through(world, dataset, world.source.plan(dataset, position, None))

    world.client.restore_object(Bucket=world.bucket, Key="in/2019.csv", RestoreRequest={"Days": 1})
    third = world.source.plan(dataset, position, None)
    assert listings(third) == {"in/2019.csv": 1}
    assert "2018.csv" in third.warnings[0]
    assert "2019.csv" not in third.warnings[0]
    position = read_through(world, dataset, third)
    # A file that was read and is archived afterwards, as a lifecycle rule does, is nobody's concern.
    world.client.copy_object(
        Bucket=world.bucket, Key="in/2027.csv", CopySource=f"{world.bucket}/in/2027.csv", StorageClass="GLACIER"
    )
    world.client.delete_object(Bucket=world.bucket, Key="in/2018.csv")
    quiet = world.source.plan(dataset, position, None)
    assert (quiet.slices, quiet.warnings, quiet.notes) == ((), (), ())


def test_a_file_that_is_archived_after_the_plan_is_named(world: World, spark: SparkSession) -> None:
    world.put("in/1.csv", "a,s\n1,x\n")
    dataset = world.dataset()
    plan = world.source.plan(dataset, None, None)
    world.client.put_object(Bucket=world.bucket, Key="in/1.csv", Body=b"a,s\n1,x\n", StorageClass="GLACIER")
    frame = world.source.read(spark, dataset, plan)
    with pytest.raises(SourceMoved, match=r"in/1\.csv was archived since the plan"), world.source.connections(plan):
        frame.collect()


def test_segments_that_begin_with_a_dot_or_an_underscore_are_no_data(world: World) -> None:
    for key in (
        "_in/part-0.csv",
        "_in/_temporary/0/_temporary/attempt_1/part-0.csv",
        "_in/.part-0.csv.crc.csv",
        "_in/_delta_log/0.csv",
        "_in/day=1/_committed.csv",
        "_in/.hidden/1.csv",
        "_in/_day=2/part_1.csv",
        "_in/a_b/.../c.csv",
    ):
        world.put(key, "a,s\n1,x\n")
    world.put("_in/_SUCCESS", "")
    plan = world.source.plan(world.dataset(path=f"s3://{world.bucket}/_in/"), None, None)
    assert keys(plan) == [["_in/_day=2/part_1.csv", "_in/part-0.csv"]]
    assert plan.warnings == ()
    assert plan.notes == ("6 files are not data: a segment of their names begins with _ or .",)
    nothing = world.source.plan(world.dataset(path=f"s3://{world.bucket}/_in/_delta_log/"), None, None)
    assert keys(nothing) == [["_in/_delta_log/0.csv"]]
    hidden = world.source.plan(world.dataset(path=f"s3://{world.bucket}/_in/a_b/"), None, None)
    assert "all 1 files under" in hidden.warnings[0]


def test_a_refused_object_is_named(world: World) -> None:
    world.put("in/1.csv", "a,s\n1,x\n")
    file = S3File(world.bucket, "in/1.csv", "0", 8, "2026-11-20T00:00:00+00:00")
    answer = {"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
    with (
        pytest.raises(AccessDenied, match=rf"{file.uri}\) refuses: AccessDenied"),
        world.source._access.translated(file.bucket, file.key),
    ):
        raise ClientError(answer, "GetObject")  # type: ignore[arg-type]


def test_a_text_may_stand_for_null(world: World, spark: SparkSession) -> None:
    world.put("in/1.csv", "a,s\n1,\\N\n\\N,x\n2,\n")
    dataset = world.dataset(null_text="\\N")
    plan = world.source.plan(dataset, None, None)
    rows = world.source.read(spark, dataset, plan).orderBy("_s3_line").collect()
    assert [(row.a, row.s, row._rejected) for row in rows] == [(1, None, None), (None, "x", None), (2, "", None)]
